"""What is wrong with a whole set, or between the splits: judged from what was counted when its samples were read."""
from collections.abc import Iterator, Sequence

import numpy as np

from mmwhitebox.errors import joined

from .check_report import BIT_DEPTHS, CheckedSet, class_names, class_table
from .checking import Finding
from .copies import find_copies
from .offset import common_offset
from .transforms import LoadImage

UNEVEN = 20  # the largest class has so many times the pixels of the smallest
ENOUGH_AREAS = 10  # of a class, to judge their size
EMPTY_CROPS = 0.05  # share of the crops
NAMED = 3


def judge(sets: Sequence[CheckedSet]) -> None:
    """Add what is wrong with each set as a whole, and between them, once all are read."""
    for checked in sets:
        checked.findings.extend(set_findings(checked))
        checked.findings.extend(absent_classes(checked, [other for other in sets if other is not checked]))
    find_copies(sets)


def set_findings(checked: CheckedSet) -> Iterator[Finding]:
    """Findings about one set, once its samples are read."""
    yield from bit_depth_findings(checked)
    if checked.is_segmentation:
        yield from label_findings(checked)
        yield from offset_findings(checked)
    if 'train' in checked.splits:
        yield from balance_findings(checked)
        yield from tiny_class_findings(checked)
        yield from empty_crop_findings(checked)


def bit_depth_findings(checked: CheckedSet) -> Iterator[Finding]:
    """A note if the images of more than 8 bits use fewer than 16, so that their high bytes are dark or black."""
    load_image = checked.checker.load_image
    keeps_high_byte = isinstance(load_image, LoadImage) and load_image.bit_depth is None and \
        load_image.value_range is None or getattr(load_image, 'color_type', 'unchanged') != 'unchanged'
    used = next((bits for bits in BIT_DEPTHS if checked.widest < 1 << bits), None)
    if checked.widest and used and keeps_high_byte:
        yield Finding('bit depth', set_name(checked),
                      f'all values of the images of more than 8 bits are below {1 << used}: set bit_depth={used} of '
                      f'mmwhitebox.LoadImage, or they come out {"black" if used == 8 else "dark"}.', values=(used, ))


def offset_findings(checked: CheckedSet) -> Iterator[Finding]:
    """Masks that all lie beside their images."""
    offset = common_offset(checked.edges)
    if offset is not None:
        ways = zip(offset, (('down', 'up'), ('right', 'left')))
        where = [f'{abs(by)} pixels {words[by < 0]}' for by, words in ways if by]
        yield Finding('offset masks', set_name(checked), f'the borders of {len(checked.edges)} masks fit the edges of '
                      f'their images best if all are moved {" and ".join(where)}: export them again, or move them.',
                      values=offset)


def label_findings(checked: CheckedSet) -> Iterator[Finding]:
    """Masks of 0 and 255, and of classes counted from 1."""
    number, ignored = checked.checker.num_classes, checked.checker.ignore_index
    seen = set(np.flatnonzero(checked.images).tolist())
    if seen == {0, ignored} and number > 1:
        yield Finding('0/255 mask', set_name(checked), f'all masks together hold 0 and {ignored} only, and {ignored} '
                      f'is ignored. If {ignored} means a class, save that class as 1.')
    counted = seen - {ignored}
    mapped = getattr(checked.checker.load_mask, 'label_map', None) is not None
    if not mapped and counted and (min(counted), max(counted)) == (1, number) and \
            not checked.checker.dataset.reduce_zero_label:
        files = [finding.file for finding in checked.findings if number in finding.values]
        yield Finding('labels from one', set_name(checked), f'{checked.masks} masks hold labels from 1 to '
                      f'{number} and never 0, where the classes are 0 to {number - 1}; {number} is in '
                      f'{checked.images[number]} ({joined(files[:NAMED])}).')


def absent_classes(checked: CheckedSet, others: Sequence[CheckedSet]) -> Iterator[Finding]:
    """The classes without a sample: in training a fault where one could be missed, elsewhere a note."""
    number, names, name = checked.checker.num_classes, class_names(checked), set_name(checked)
    absent = np.flatnonzero(checked.images[:number] == 0).tolist()
    if 'train' in checked.splits:
        missed = {}
        for label in absent:
            there = [other for other in others if class_names(other) == names and other.images[label]
                     and 'train' not in other.splits]
            if there or not checked.is_segmentation:
                missed[label] = ''.join(f', {other.images[label]} in {other.name}' for other in there)
        if not any('train' in other.splits and other.images[label] for other in others for label in missed):
            add = 'masks' if checked.is_segmentation else 'pictures'
            yield from (Finding('empty class', name, f'{names[label]} ({label}): none here{where}: add {add} of it, or '
                                'take the class out.', values=(names[label], )) for label, where in missed.items())
            absent = [label for label in absent if label not in missed]
    if absent:
        shown = [f'{names[label]} ({label})' for label in absent]
        text = f'{len(absent)} of {number} classes: {", ".join(shown)}.'
        trained = [names[label] for label in absent if any(
            'train' in other.splits and class_names(other) == names and other.images[label] for other in others)]
        if trained and 'train' not in checked.splits:
            text += f' Training has {joined(trained)}: no score here tells how well that is learned.'
        if checked.is_segmentation and checked.checker.dataset.reduce_zero_label and number - 1 in absent:
            text += (' reduce_zero_label=True ignores what is 0 in the files and lowers the others: set it to False if '
                     '0 is a class.')
        yield Finding('class never occurs', name, text, values=tuple(names[label] for label in absent))


def balance_findings(checked: CheckedSet) -> Iterator[Finding]:
    """A note if a class is much rarer than another and the loss does not weigh them."""
    rows = sorted((row for row in class_table(checked) if row['share']), key=lambda row: row['share'])
    if len(rows) > 1 and rows[-1]['share'] > UNEVEN * rows[0]['share'] and not checked.weighed:
        what = 'pixels' if checked.is_segmentation else 'images'
        most, least = rows[-1], rows[:NAMED]
        shown = [f'{row["name"]} {row["share"]:.2%} ({row["images"]} images)' for row in least]
        yield Finding('uneven classes', set_name(checked), f'{most["name"]} has {most["share"]:.2%} of the {what}, the '
                      f'rarest are {joined(shown)}: a loss that weighs all alike learns the rare ones late or never.')


def tiny_class_findings(checked: CheckedSet) -> Iterator[Finding]:
    """A note for each class most of which lies in areas smaller than a patch of the model."""
    patch, names = checked.checker.view.patch, class_names(checked)
    totals, (number, pixels, areas) = checked.areas.sum(1), checked.small.T
    for label in np.flatnonzero((areas >= ENOUGH_AREAS) & (2 * pixels > totals)).tolist():
        yield Finding('tiny class', set_name(checked), f'{names[label]}: {number[label]:.0f} of its '
                      f'{areas[label]:.0f} areas, {pixels[label] / totals[label]:.0%} of its pixels, in '
                      f'{checked.images[label]} images, are smaller than a patch ({patch} x {patch} pixels) of the '
                      'model at the size to which the training resizes.', values=(label, ))


def empty_crop_findings(checked: CheckedSet) -> Iterator[Finding]:
    """A note if many crops of the training hold no pixel that counts."""
    shares = checked.empty_crops[:, 0]
    if checked.masks and shares.sum() > EMPTY_CROPS * checked.masks:
        height, width = checked.checker.view.crop or (0, 0)
        worst = [index for index in np.argsort(-shares, kind='stable')[:NAMED].tolist() if shares[index]]
        shown = [f'{checked.checker.name(index)} {shares[index]:.0%}' for index in worst]
        yield Finding('empty crops', set_name(checked), f'{shares.sum() / checked.masks:.0%} of the places of a crop '
                      f'of {width} x {height} hold no pixel that counts, in {np.count_nonzero(shares)} masks, most in '
                      f'{joined(shown)}.', worst[0])


def set_name(checked: CheckedSet) -> str:
    """The class of the data set, in place of a file."""
    return type(checked.checker.dataset).__name__
