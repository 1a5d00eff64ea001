"""What the values or colours of masks stand for: names of classes, or nothing that counts."""
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmwhitebox.errors import AnnotationError, ConfigError, ImageReadError, joined

from .formats import Findings, Pairs
from .formats.pairs import NAMED
from .formats.values import nearest_shares, read_mask
from .label_map import packed

VOID = 255
BLACK = (0, 0, 0)
VOID_NAMES = ('void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', 'dont care', "don't care")
MOST_CLASSES = 254
SHOWN = 6
STRAY = 1e-3  # share of the pixels, and
STRAY_FILES = 0.01  # of the masks, up to which a value may be a slip
ENOUGH = 5  # masks, to judge that


@dataclass
class Meaning:
    """The classes of masks.

    Attributes:
        names (dict): Value or colour -> name of its class, in the order of the labels.
        ignored (list): Values or colours that do not count.
        coloured (bool): Whether they are colours.
        nearest (bool): Whether the masks are not exact, so that the nearest value counts.
        shares (dict): Value or colour -> share of the pixels looked at; of inexact masks of those nearest to it.
        words (list[str]): What was taken for granted or answered, a sentence each.
    """
    names: dict[Any, str] = field(default_factory=dict)
    ignored: list = field(default_factory=list)
    coloured: bool = False
    nearest: bool = False
    shares: dict[Any, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names in the order of the labels, each once."""
        return list(dict.fromkeys(self.names.values()))

    @property
    def class_shares(self) -> list[float]:
        """Share of the pixels of each class."""
        return [sum(self.shares.get(value, 0.) for value, name in self.names.items() if name == one)
                for one in self.classes]


def meaning_of(pairs: Pairs, found: Findings, decide: Callable[[str, str, str], str], names: Sequence[str] = (),
               ignored: Sequence = ()) -> Meaning:
    """Name the values of masks. 0 (or black), 255 and values that hardly occur can be meant in two ways: ``decide`` is
    asked.

    Args:
        pairs (Pairs): Of masks; what they know of names and colours is used.
        found (Findings): A look at them.
        decide (Callable): Called with what it is about ('background' | 'void' | 'stray'), a question and the usual
            answer, 'class' or 'ignore'; gives one of the two.
        names (Sequence[str]): Names in the order of the values that count. Defaults to none: those of the folder.
        ignored (Sequence): Values or colours that do not count, whatever ``decide`` says.

    Raises:
        AnnotationError: The masks hold no values, fractions, one value alone, or more than are classes.
        ConfigError: ``names`` of another number, ``ignored`` that do not occur.
    """
    if found.kind in (None, 'float'):
        raise AnnotationError(f'{pairs.root}: ' + (' '.join(found.problems) or 'no mask could be read.'))
    values = [value.value for value in found.values] if found.exact else list(found.nearest)
    if not found.exact and found.kind == 'rgb' and pairs.colours:  # stated ones need not be guessed
        values = [tuple(colour) for colour in pairs.colours.values()]
    meaning = Meaning(coloured=found.kind == 'rgb', nearest=not found.exact)
    what = 'colours' if meaning.coloured else 'values'
    if not values or len(values) > MOST_CLASSES:
        raise AnnotationError(f'{pairs.root}: the masks hold {len(found.values)} {what}'
                              + (f', more than {MOST_CLASSES} classes' if values else ', each of them rare')
                              + ': they may be photographs, depths or instances. A mask has one value or colour a '
                              'class.')
    absent = [value for value in ignored if value not in values]
    if absent:
        raise ConfigError(f'--ignore {joined(absent)}: no mask holds that; there are {joined(values, 12)}.')
    meaning.ignored = list(ignored)
    known = known_names(pairs, values, found)
    shares = nearest_shares(found.read, values) if meaning.nearest else {
        value.value: value.share for value in found.values}
    files = {value.value: value.files for value in found.values}
    if meaning.nearest:
        meaning.words.append(f'the masks are not exact: each pixel counts as the nearest of {joined(values, SHOWN)}')
    strays = [value for value in values if value not in known and not meaning.nearest and found.masks >= ENOUGH
              and shares[value] < STRAY and files[value] <= max(1, STRAY_FILES * found.masks)]
    sure = [value for value in values if value not in (*strays, VOID)]
    zero = BLACK if meaning.coloured else 0
    asked = [(zero, 'background', 'class'),
             *((value, 'stray', 'ignore') for value in strays if value not in (zero, VOID))]
    if not meaning.coloured and len(sure) > 1:  # 0 and 255 alone are two classes
        asked.append((VOID, 'void', 'ignore'))
    void = [value for value, name in known.items() if name.lower().replace('_', ' ') in VOID_NAMES]
    asked = [*(row for row in asked if row[0] not in known or row[:2] == (zero, known[row[0]])),
             *((value, 'void', 'ignore') for value in void)]
    for value, about, usual in asked:
        if value not in values or value in ignored:
            continue
        shown = 'black' if value == BLACK else value
        holders = [path.name for path in holding(pairs, value)] if about == 'stray' else []
        at = (f'{shown} ({100 * shares[value]:.2g} % of the pixels'
              + ('' if meaning.nearest else f', in {files[value]} of {found.masks} masks')
              + (f': {joined(holders)}' if holders else '') + ')')
        answer = decide(about, f'{at}: a class of its own, or ignored?', usual)
        shown = at if about == 'stray' else f'{shown} in the masks'
        if answer == 'ignore':
            meaning.ignored.append(value)
            meaning.words.append(f'{shown} is ignored')
        else:
            if about != 'stray':
                known.setdefault(value, about)
            meaning.words.append(f'{shown} is a class of its own')
    known = {value: name for value, name in known.items() if value not in meaning.ignored}
    counted = [value for value in (known if known.keys() >= set(values) - set(meaning.ignored) else values)
               if value not in meaning.ignored]
    counted = counted if meaning.coloured else sorted(counted)  # as LabelMap numbers them
    if names:
        if len(names) != len(counted):
            raise ConfigError(f'--classes has {len(names)} names, the masks {len(counted)} {what} that count: '
                              f'{joined(counted, 12)}.')
        moved = [f'{known[value]} would be called {name}' for value, name in zip(counted, names)
                 if known.get(value, name) != name and name in known.values()]
        if moved:
            raise ConfigError(f'--classes has names of the folder in another order: {joined(moved)}. The order is '
                              f'{joined([known.get(value, value) for value in counted], 12)}; leave --classes out, or '
                              'write it so.')
        known = dict(zip(counted, names))
        meaning.words += [f'{joined([value for value in counted if known[value] == name], SHOWN)} are {name} together'
                          for name in dict.fromkeys(names) if list(names).count(name) > 1]
    meaning.shares = shares
    meaning.names = {value: known.get(value) or default_name(value, counted) for value in counted}
    if len(meaning.classes) < 2:
        of_them = f', of which {joined(meaning.ignored)} is ignored' if meaning.ignored else ''
        raise AnnotationError(f'{pairs.root}: the masks hold {joined(values, SHOWN)}{of_them}: one class alone, so '
                              'there is nothing to tell apart. If what is not drawn is background, make it a class '
                              '(--background class, --void class).')
    return meaning


def holding(pairs: Pairs, value: Any) -> list[Path]:
    """The first few masks that hold a value or colour."""
    code = packed(value) if isinstance(value, tuple) else value
    return list(itertools.islice((path for sample in pairs.samples for path in sample.annotation
                                  if holds(path, code)), NAMED))


def holds(path: Path, code: int) -> bool:
    """Whether a mask can be read and holds a value or packed colour."""
    try:
        return bool((read_mask(path).labels == code).any())
    except ImageReadError:
        return False


def known_names(pairs: Pairs, values: list, found: Findings) -> dict:
    """Value or colour -> name, as the folder states it, in its order."""
    if found.kind == 'rgb':
        stated = {tuple(colour): name for name, colour in pairs.colours.items()}
        return stated if set(values) & set(stated) else {}
    names = pairs.classes or []
    if found.kind == 'palette' and pairs.colours and not names:
        stated = {tuple(colour): name for name, colour in pairs.colours.items()}
        return {value: stated[tuple(found.palette[value])] for value in values
                if tuple(found.palette.get(value, ())) in stated}
    inner = [value for value in values if value != VOID]
    if not names or not inner:
        return {}
    if max(inner) < len(names):
        return dict(enumerate(names))
    if min(inner) == 1 and max(inner) == len(names):
        return {index: name for index, name in enumerate(names, 1)}
    if 0 in inner and max(inner) == len(names):  # the names are those of the foreground
        return {index: name for index, name in enumerate(names, 1)}
    return dict(zip(values, names)) if len(values) == len(names) else {}


def default_name(value: Any, counted: list) -> str:
    """A name for a value that has none."""
    if isinstance(value, tuple):
        return 'background' if value == BLACK else 'colour_{:02x}{:02x}{:02x}'.format(*value)
    return 'foreground' if len(counted) == 2 and 0 in counted and value else f'class_{value}'
