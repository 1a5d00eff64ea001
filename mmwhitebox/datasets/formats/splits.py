"""A seeded split of samples."""
import collections
import hashlib
import math

from mmwhitebox.errors import DatasetLayoutError

from .pairs import CLASSIFICATION, Pairs, Sample


def split(pairs: Pairs, val_share: float = 0.2, seed: int = 0, group_prefix: str | int | None = None) -> Pairs:
    """Divide samples into 'train' and 'val'. Pairs that have a split 'val' come back as they are; 'test' is left alone.

    The order is that of a hash of the seed and the name, the same on every machine; of a classification each class is
    divided by itself. Groups are taken where they bring the number nearer to the share.

    Args:
        pairs (Pairs): Samples without splits, or with 'train' (and 'test') alone.
        val_share (float): Share of the samples that becomes 'val', above 0 and below 1. Defaults to 0.2.
        seed (int): Another seed, another split. Defaults to 0.
        group_prefix (str | int, optional): Images whose names begin alike stay together (patients, films, tiles of a
            scene): a number takes so many characters, a text all before its first occurrence ('_' makes groups of
            ``p01_3.png`` and ``p01_4.png``). Defaults to None: each image by itself.

    Returns:
        Pairs: With ``split_source='seeded'``; ``problems`` gains a line for classes that one side lacks.

    Raises:
        ValueError: ``val_share`` or ``group_prefix`` out of range.
        DatasetLayoutError: Fewer than two samples, or groups, to divide.
    """
    if not 0 < val_share < 1:
        raise ValueError(f'val_share={val_share!r} must lie between 0 and 1.')
    if group_prefix is not None and not (isinstance(group_prefix, str) or type(group_prefix) is int) or \
            group_prefix in ('', 0) or (isinstance(group_prefix, int) and group_prefix < 0):
        raise ValueError(f'group_prefix={group_prefix!r} must be a number of characters or the text that ends a group.')
    if pairs.of('val'):
        return pairs
    free = [sample for sample in pairs.samples if sample.split != 'test']
    by_class = pairs.kind in CLASSIFICATION and group_prefix is None
    strata = collections.defaultdict(lambda: collections.defaultdict(list))
    for sample in free:
        stratum = sample.names if by_class else ()
        strata[stratum][_group(sample, pairs, group_prefix)].append(sample)
    if sum(map(len, strata.values())) < 2:
        raise DatasetLayoutError(f'{pairs.root}: {len(free)} samples' + (
            '' if group_prefix is None else f' of one group (group_prefix={group_prefix!r})')
            + ' cannot be divided into train and val.')
    val = set()
    for groups in strata.values():
        order = sorted(groups, key=lambda name: _hash(seed, name))
        whole = sum(map(len, groups.values()))
        wanted, count = math.floor(val_share * whole + .5), 0
        for name in order:
            more = count + len(groups[name])
            if abs(more - wanted) < abs(count - wanted) and more < whole:
                count = more
                val.update(sample.image for sample in groups[name])
    if not val:  # the groups are larger than what is wanted, or the classes smaller
        smallest = min((group for groups in strata.values() for group in groups.items()),
                       key=lambda group: (len(group[1]), _hash(seed, group[0])))
        val.update(sample.image for sample in smallest[1])
    samples = [sample if sample.split == 'test' else
               sample._replace(split='val' if sample.image in val else 'train') for sample in pairs.samples]
    return pairs.but(samples=samples, split_source='seeded', problems=[
        *pairs.problems, *(line for line in missing_classes(samples, pairs) if line not in pairs.problems)])


def _hash(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f'{seed} {name}'.encode()).digest()


def _group(sample: Sample, pairs: Pairs, group_prefix: str | int | None) -> str:
    path = sample.image.relative_to(pairs.root) if sample.image.is_relative_to(pairs.root) else sample.image
    if group_prefix is None:
        return path.as_posix()
    name = path.stem
    return name[:group_prefix] if isinstance(group_prefix, int) else name.partition(group_prefix)[0]


def missing_classes(samples: list[Sample], pairs: Pairs) -> list[str]:
    """A line for each split that lacks a class of a classification."""
    if pairs.kind not in CLASSIFICATION:
        return []
    lines = []
    every = {name for sample in samples for name in sample.names}
    for name in ('train', 'val'):
        here = {label for sample in samples if sample.split == name for label in sample.names}
        lacking = sorted(every - here)
        if here and lacking:
            lines.append(f'{len(lacking)} classes without a sample in {name} ({", ".join(lacking[:3])}'
                         f'{", ..." if len(lacking) > 3 else ""}): add images of them there, or divide anew.')
    return lines
