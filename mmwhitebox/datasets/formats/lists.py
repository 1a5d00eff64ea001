"""Lists of a split (train.txt, val.txt): stems or paths, with masks or labels in a second column."""
import collections

from ..image_io import IMAGE_SUFFIXES
from .pairs import Pairs, Sample, noted
from .paths import parent, stem
from .walking import Finder, Found
from .words import split_of

LISTS = ('.txt', '.lst', '.list')


class Listed:
    """The list files of a folder, those that name images.

    Attributes:
        rows (dict[str, list[tuple[str, str | None, str]]]): Split -> (image, second column or None, list file).
        problems (list[str]): Lines.
    """

    def __init__(self, found: Found, images: list[str]) -> None:
        self.rows, self.problems = collections.defaultdict(list), []
        folders = collections.defaultdict(dict)
        paths = [path for path in found.with_suffix(*LISTS) if split_of(stem(path))]
        finder = Finder(images if paths else ())
        for path in paths:
            split = split_of(stem(path))
            rows, lost = _read(found, path, finder, split)
            if 2 * len(rows) > len(lost) + len(rows):
                folders[parent(path)].setdefault(split, []).append((rows, lost, path))
            elif rows:
                self.problems += noted(f'lines of {path} that name no image with an annotation', lost,
                                       'the list is left out; correct it.')
        if not folders:
            return
        chosen = max(sorted(folders), key=lambda name: (
            'seg' in name.lower(), sum(len(rows) for lists in folders[name].values() for rows, _, _ in lists)))
        others = [path for name in folders if name != chosen for lists in folders[name].values() for *_, path in lists]
        self.problems += noted('other lists of splits', others, f'those in {chosen}/ are taken; move the others away.')
        for split, lists in folders[chosen].items():
            for rows, lost, path in lists:
                self.rows[split] += rows
                self.problems += noted(f'lines of {path} that name no image with an annotation', lost,
                                       'correct the list, or add the files.')


def _read(found: Found, path: str, finder: Finder, split: str) -> tuple[list, list[str]]:
    """Rows of a list that name an image, and the lines that do not."""
    rows, lost = [], []
    near = parent(path)
    try:
        text = (found.root / path).read_text('utf-8-sig')
    except (OSError, UnicodeDecodeError):
        return [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        for separator in ('\t', ',', ' '):
            first, _, second = line.partition(separator)
            image = finder.find(first, near, split) if second else None
            if image:
                break
        else:  # one column, of a name with spaces perhaps
            image, second = finder.find(line, near, split), None
        if image is None:
            lost.append(line)
        else:
            rows.append((image, second.strip() if second else None, path))
    return rows, lost


def apply_lists(pairs: Pairs, found: Found) -> Pairs:
    """Splits by list files, where there are any; what they do not name is left out."""
    root = pairs.root
    by_path = {sample.image.relative_to(root).as_posix(): sample for sample in pairs.samples}
    listed = Listed(found, list(by_path))
    if not listed.rows:
        return pairs.but(problems=[*pairs.problems, *listed.problems])
    problems = [*pairs.problems, *listed.problems]
    masks = Finder(path for path in found.images if path not in by_path)
    samples, split_of_image, twice = [], {}, []
    for split, rows in listed.rows.items():
        for path, second, _ in rows:
            if path in split_of_image:
                if split_of_image[path] != split:
                    twice.append(path)
                continue
            split_of_image[path] = split
            samples.append(_paired(by_path[path]._replace(split=split), second, masks, pairs))
    problems += noted('images in two lists', twice, 'they are taken for the first alone, '
                      f'{" before ".join(listed.rows)}; take them out of one.')
    rest = [path for path in by_path if path not in split_of_image]
    problems += noted('images with an annotation that no list names', rest, 'they are left out; add them to '
                      'a list, or delete the lists.')
    return pairs.but(samples=sorted(samples, key=lambda s: s.image), split_source='lists', problems=problems)


def _paired(sample: Sample, second: str | None, masks: Finder, pairs: Pairs) -> Sample:
    """The mask that the second column names, if it names one."""
    if second and pairs.kind == 'masks' and second.lower().endswith(IMAGE_SUFFIXES):
        mask = masks.find(second)
        if mask:
            return sample._replace(annotation=(pairs.root / mask, ))
    return sample
