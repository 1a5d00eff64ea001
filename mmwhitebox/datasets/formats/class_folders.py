"""A folder of each class, with or without splits, nested or not."""
import collections

from .masks import mixed_suffixes
from .pairs import Pairs, Sample, noted
from .paths import parent
from .splits import missing_classes
from .walking import Found
from .words import Place


def find_classes(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'classes'; None if no image lies in a folder that says more than a split or a role."""
    rests = {path: where[parent(path)].rest for path in found.images}
    inner = [rest for rest in rests.values() if rest]
    if not inner:
        return None
    common = 0  # folders above all classes
    while all(len(rest) > common + 1 for rest in inner) and len({rest[common] for rest in inner}) == 1:
        common += 1
    samples, loose = [], []
    for path, rest in rests.items():
        if rest:
            place = where[parent(path)]
            samples.append(Sample(found.root / path, (), ('/'.join(rest[common:]), ), place.split))
        else:
            loose.append(path)
    classes = sorted({sample.names[0] for sample in samples})
    pairs = Pairs(found.root, 'classes', samples, classes,
                  unlabelled=[found.root / path for path in loose])
    problems = mixed_suffixes('images', list(rests)) + named_twice(classes) + missing_classes(samples, pairs)
    problems += noted('images outside the class folders', loose, 'put them into one; they are left out.')
    above = [name for name in classes if any(other.startswith(f'{name}/') for other in classes)]
    problems += noted('classes whose folders hold images beside the folders of other classes', above,
                      'each folder with images is a class; move them if they are not.')
    return pairs.but(problems=problems)


def named_twice(classes: list[str]) -> list[str]:
    """A line if names of classes differ in capitals, spaces or signs alone."""
    same = collections.defaultdict(list)
    for name in classes:
        same[''.join(filter(str.isalnum, name.lower())) or name].append(name)
    twice = [' = '.join(names) for names in same.values() if len(names) > 1]
    return noted('classes named twice', twice, 'give each one spelling.')
