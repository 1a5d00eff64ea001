"""The config of a folder: what it holds, what that means, and by which rules a training of it begins."""
import argparse
import collections
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmwhitebox.config.own_images import of_images
from mmwhitebox.config.starting import Start, choose, config_text, model_for
from mmwhitebox.datasets.formats import CLASSIFICATION, KINDS, Findings, Pairs, find_pairs, look, rasterize, split
from mmwhitebox.datasets.meanings import Meaning, meaning_of
from mmwhitebox.errors import UserError, joined

MODELS = {'seg': 'cbt_decoder_cbt_mini', 'cls': 'cbt_mini'}
MOST_LEFT_OUT = 20  # broken pairs that a config names


class Looked(NamedTuple):
    """A folder that was looked at.

    Attributes:
        pairs (Pairs): Its samples; of polygons with the masks that were drawn.
        kind (str): What annotates them, in words.
        task (str): 'seg' or 'cls'.
        found (Findings): What images and masks hold.
        own (dict): What ``own_data`` says of the folder.
    """
    pairs: Pairs
    kind: str
    task: str
    found: Findings
    own: dict[str, Any]


class Described(NamedTuple):
    """The config of a folder.

    Attributes:
        pairs (Pairs): The samples that are used.
        classes (list[str]): Their names.
        meaning (Meaning | None): Of masks.
        start (Start): What the training is like.
        own (dict): ``own_data``.
        rules (list[str]): What was chosen of the images, and why.
        notes (list[str]): What was taken for granted, answered or left out.
    """
    pairs: Pairs
    classes: list[str]
    meaning: Meaning | None
    start: Start
    own: dict[str, Any]
    rules: list[str]
    notes: list[str]

    def text(self, *comments: str) -> str:
        """The config's text, with comments above."""
        return config_text(self.start, self.own, comments, bool(self.pairs.of('test')))


def look_at(args: argparse.Namespace, cache: Callable[[Path], Path]) -> Looked:
    """Find and read what a folder holds.

    Args:
        args (argparse.Namespace): Arguments of ``mmwhitebox new``.
        cache (Callable): Takes the folder, returns that for masks which are drawn of polygons or of several files.

    Raises:
        UserError: It holds no data set, or one for another task or model.
    """
    pairs, own = divided(args)
    kind = KINDS[pairs.kind]
    task = 'cls' if pairs.kind in CLASSIFICATION else 'seg'
    if args.task not in (None, task):
        raise UserError(f'--task {args.task}: {args.folder} holds {kind}.')
    model_for(task, args.model or MODELS[task])
    if task == 'seg' and pairs.kind != 'masks':
        own['cache'] = str(cache(Path(own['root'])))
        pairs = rasterize(pairs, own['cache'])
    found = look(pairs, args.look, channels=args.channels, channel_axis=args.channel_axis,
                 replace_nan=args.replace_nan)
    return Looked(pairs, kind, task, found, own)


def describe(looked: Looked, args: argparse.Namespace, decide: Callable[[str, str, str], str],
             keep_broken: bool = False) -> Described:
    """The config of a folder.

    Args:
        looked (Looked): From :func:`look_at`.
        args (argparse.Namespace): Arguments of ``mmwhitebox new``.
        decide (Callable): Answers what can be meant in two ways, see :func:`.meanings.meaning_of`.
        keep_broken (bool): Keep samples that cannot be used, for a check that names them. Defaults to False.

    Raises:
        UserError: Nothing of it can be trained on, or options do not fit it.
    """
    pairs, _, task, found, own = looked
    own, rules, notes = dict(own), [], []
    own.update(of_images(found, rules, args.channels, args.channel_axis, args.value_range, args.replace_nan))
    if not keep_broken:
        pairs = without_broken(pairs, found, own, notes)
    meaning, shares = None, []
    if task == 'seg':
        asked: set[str] = set()

        def noted(about: str, question: str, usual: str) -> str:
            asked.add(about)
            return decide(about, question, usual)

        meaning = with_swapped_colours(pairs, found) or meaning_of(pairs, found, noted, args.classes, args.ignore)
        classes, shares = meaning.classes, meaning.class_shares
        notes = [*meaning.words, *notes, *(
            f'--{about} {getattr(args, about)} changes nothing: the masks hold no such value'
            for about in ('background', 'void', 'stray') if getattr(args, about) and about not in asked)]
        own.update(of_masks(meaning))
    else:
        classes = own['classes'] = labels_of(pairs, args.classes)
    start = choose(task, args.model or MODELS[task], found.sizes, len(pairs.of('train')), len(pairs.of('val')), shares,
                   args.crop, tuple(args.scale) if args.scale else None, args.batch, args.epochs,
                   not args.no_class_weight)
    return Described(pairs, classes, meaning, start, own, rules, notes)


def divided(args: argparse.Namespace) -> tuple[Pairs, dict[str, Any]]:
    """The pairs of the folder with their splits, and what ``own_data`` says of both."""
    own: dict[str, Any] = dict(root=str(args.folder.expanduser().resolve()))
    if args.kind:
        own['kind'] = args.kind
    try:
        pairs = split(find_pairs(args.folder, args.kind), args.val_share, args.seed, args.group_prefix)
    except ValueError as error:
        raise UserError(str(error)) from error
    if pairs.split_source == 'seeded':
        own.update(val_share=args.val_share, seed=args.seed)
        if args.group_prefix is not None:
            own['group_prefix'] = args.group_prefix
    return pairs, own


def without_broken(pairs: Pairs, found: Findings, own: dict[str, Any], notes: list[str]) -> Pairs:
    """The pairs that can be used; the others are named in ``own_data`` and ``notes``.

    Raises:
        UserError: They are too many, or none is left in a split.
    """
    bad = {*found.unreadable, *found.mismatched}
    broken = [sample for sample in pairs.samples if sample.image in bad or bad.intersection(sample.annotation)]
    names = [Path(os.path.relpath(sample.image, pairs.root)).as_posix() for sample in broken]
    if len(names) > MOST_LEFT_OUT:
        raise UserError(f'{pairs.root}: {len(names)} images cannot be used ({joined(names, 3)}), see above: mend them '
                        'first.')
    pairs = pairs.but(samples=[sample for sample in pairs.samples if sample not in broken])
    lacking = [split for split in ('train', 'val') if not pairs.of(split)]
    if lacking:
        raise UserError(f'{pairs.root}: no image that can be used is there for {joined(lacking)}.')
    if names:
        own['left_out'] = names
        notes.append(f'{joined(names)} cannot be used and {"is" if len(names) == 1 else "are"} left out')
    return pairs


def of_masks(meaning: Meaning) -> dict[str, Any]:
    """What ``own_data`` says of the masks."""
    if meaning.coloured:
        palette: dict[str, Any] = {}
        for colour, name in meaning.names.items():
            several = palette.get(name)
            palette[name] = colour if several is None else [*(several if isinstance(several, list) else [several]),
                                                            colour]
        own: dict[str, Any] = dict(palette=palette)
    else:
        own = dict(mapping=meaning.names)
    if meaning.ignored:
        own['ignored'] = meaning.ignored
    return {**own, 'nearest': True} if meaning.nearest else own


def labels_of(pairs: Pairs, names: Sequence[str]) -> list[str]:
    """Classes of a classification.

    Raises:
        UserError: ``names`` lack one, or there is one alone.
    """
    counts = collections.Counter(sample.names[0] for sample in pairs.samples)
    classes = list(names or pairs.classes or sorted(counts))
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        images = sum(counts[name] for name in unknown)
        raise UserError(f'--classes does not name {joined(unknown)}, which {images} images have; own_data.ignored of '
                        'the config leaves labels out.')
    if len(classes) < 2:
        raise UserError(f'{pairs.root}: one class, {classes[0]}, so there is nothing to tell apart.')
    return classes


def with_swapped_colours(pairs: Pairs, found: Findings) -> Meaning | None:
    """The classes that a file of colours names, if the masks have these with red and blue swapped; else None."""
    stated: dict[Any, str] = {tuple(colour): name for name, colour in pairs.colours.items()}
    seen = {value.value for value in found.values} if found.kind == 'rgb' else set()
    swapped = seen and not seen <= set(stated) and {colour[::-1] for colour in seen} <= set(stated)
    return Meaning(stated, coloured=True) if swapped else None
