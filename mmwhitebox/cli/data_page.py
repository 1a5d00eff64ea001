"""The page of ``mmwhitebox check-data --page``: what was found, with pictures and what to type, in one HTML file."""
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmwhitebox.config.remedies import HOW
from mmwhitebox.datasets.check_report import CheckedSet, class_table
from mmwhitebox.datasets.checking import KINDS, NOTES, Finding
from mmwhitebox.datasets.image_io import read_image
from mmwhitebox.drawing import AREA_COLORS, blend
from mmwhitebox.errors import UserError

from .findings import Found, Group, total
from .html_page import data_uri, encoded, page, shrunk, text
from .options import write_text

THUMBNAILS = 60  # of a page
OF_A_KIND = 6
MOST_LINES = 100  # of the files of a kind
MOST_SIZES = 8  # that are shown one by one
MOST_CLASSES = 60
WRONG = (255, 0, 255)
STYLE = '''.rows { display: grid; grid-template-columns: minmax(5rem, max-content) 1fr max-content; gap: .15rem .6rem;
  font-size: .85rem; align-items: center; margin: .4rem 0 1rem; }
.rows i { display: block; height: .8rem; min-width: 1px; border-radius: 2px; outline: 1px solid var(--line); }
.kind { border-left: 4px solid #d55e00; padding: .1rem .8rem; margin: 1.2rem 0; } .kind.note { border-color: #56b4e9; }
.kind ul { margin: .3rem 0; padding-left: 1.2rem; font-size: .85rem; }
.kind pre { background: color-mix(in srgb, var(--text) 8%, transparent); padding: .5rem; margin: .2rem 0;
  white-space: pre-wrap; max-height: 12rem; overflow-y: auto; }
.thumbs { display: flex; flex-wrap: wrap; gap: .6rem; } .thumbs figure { margin: .3rem 0; max-width: 100%; }
.thumbs img { max-width: min(100%, 17.5rem); } .thumbs figcaption { font-size: .75rem; max-width: 35rem; }
details { font-size: .85rem; }
'''


def write_page(path: Path, name: str, found: Found) -> None:
    """Write the page.

    Args:
        path (Path): HTML file.
        name (str): What was checked, as it was typed.
        found (Found): All sets, judged, with their findings in groups.

    Raises:
        UserError: The file cannot be written.
    """
    pictured = sum(any(finding.sample is not None for finding in group.findings) for _, those in found
                   for group in those)
    each = max(1, min(OF_A_KIND, THUMBNAILS // max(1, pictured)))
    left, parts, links = THUMBNAILS, [], {}
    for number, (checked, those) in enumerate(found):
        links[f'set{number}'] = f'{checked.name} ({sum(len(group.findings) for group in those)})'
        parts.append(f'<h2 id="set{number}">{text(checked.name)}: {text(type(checked.checker.dataset).__name__)}, '
                     f'{len(checked.checker)} samples</h2>')
        for group in those:
            pictures = thumbnails(checked, group, min(each, left))
            left -= sum(figure.count('<img ') for figure in pictures)
            parts.append(section(group, pictures))
        if not those:
            parts.append('<p>Nothing wrong.</p>')
        parts += [class_bars(checked), size_bars(checked)]
    content = page(f'The data of {name}', f'{total(found)}.', links, '\n'.join(parts), STYLE)
    write_text('--page', path, content)


def section(group: Group, pictures: Sequence[str]) -> str:
    """A kind of finding: what it means, the files, what to type, pictures."""
    lines = [f'<li>{text(finding.file)}: {text(finding.message)}</li>' for finding in group.findings[:MOST_LINES]]
    more = len(group.findings) - len(lines)
    rest = ''.join(lines[3:]) + (f'<li>and {more} more: --out lists all</li>' if more else '')
    what = group.remedy and f'<p class="facts">{text(HOW[group.remedy.how])}</p><pre>{text(group.remedy.text)}</pre>'
    return ''.join([
        f'<section class="kind{" note" if group.kind in NOTES else ""}">'
        f'<h3>{text(group.kind)}: {len(group.findings)}</h3><p class="facts">{text(KINDS[group.kind])}</p>'
        f'<ul>{"".join(lines[:3])}</ul>', rest and f'<details><summary>the others</summary><ul>{rest}</ul></details>',
        what or '', f'<div class="thumbs">{"".join(pictures)}</div>' if pictures else '', '</section>'])


def bars(rows: Sequence[tuple[str, float, str, str]]) -> str:
    """A row for each (name, length from 0 to 1, what it says, colour)."""
    return '<div class="rows">' + ''.join(
        f'<span>{text(name)}</span><i style="width:{100 * length:.2f}%;background:{colour}"></i>'
        f'<span>{text(says)}</span>'
        for name, length, says, colour in rows) + '</div>'


def class_bars(checked: CheckedSet) -> str:
    """Share of each class, the largest first."""
    rows = sorted(class_table(checked), key=lambda row: -row['share'])
    colours, most = palette(checked), max((row['share'] for row in rows), default=0) or 1
    shown = [(row['name'], row['share'] / most, f'{row["share"]:.2%}, {row["images"]} images',
              'rgb({},{},{})'.format(*colours[row['index']])) for row in rows[:MOST_CLASSES]]
    more = f'<p class="facts">and {len(rows) - MOST_CLASSES} rarer ones</p>' if len(rows) > MOST_CLASSES else ''
    what = 'pixels that count' if checked.is_segmentation else 'images'
    return f'<h3>Classes, share of the {what}</h3>{bars(shown)}{more}'


def size_bars(checked: CheckedSet) -> str:
    """Images of each size; of many sizes, of each range of the longer side."""
    if not checked.sizes:
        return ''
    if len(checked.sizes) <= MOST_SIZES:
        counts = {f'{width} x {height}': count for (width, height), count in checked.sizes.most_common()}
        title = 'Sizes of the images'
    else:
        ranges: dict[int, int] = {}
        for size, count in checked.sizes.items():
            step = math.floor(2 * math.log2(max(size)))
            ranges[step] = ranges.get(step, 0) + count
        counts = {f'{math.ceil(2 ** (step / 2))} to {math.ceil(2 ** ((step + 1) / 2)) - 1}': ranges.get(step, 0)
                  for step in range(min(ranges), max(ranges) + 1)}
        title = f'Longer side of the images, {len(checked.sizes)} sizes'
    most = max(counts.values())
    rows = [(name, count / most, str(count), 'var(--bar)') for name, count in counts.items()]
    return f'<h3>{title}</h3>{bars(rows)}'


def palette(checked: CheckedSet) -> np.ndarray:
    """(classes, 3) uint8 RGB: those of the data set, or else ours over and over."""
    number = checked.checker.num_classes
    own = np.asarray(checked.checker.dataset.metainfo.get('palette') or np.empty((0, 3)), np.uint8).reshape(-1, 3)
    if len(own) >= number:
        return own[:number]
    return np.resize((255 * AREA_COLORS).round().astype(np.uint8), (number, 3))


def thumbnails(checked: CheckedSet, group: Group, most: int) -> list[str]:
    """Figures of the first few findings, of at most so many pictures in all."""
    figures: list[str] = []
    done: set[int | None] = {None}
    for finding in group.findings:
        if finding.sample in done or most < 1 + bool(finding.other):
            continue
        done.add(finding.sample)
        pictures = thumbnail(checked, finding)
        most -= len(pictures)
        if pictures:
            images = ' '.join(f'<img alt="{text(Path(file).name)}" src="{data_uri(picture, "jpeg")}">'
                              for picture, file in zip(pictures, (finding.file, finding.other)))
            caption = ' | '.join(filter(None, (finding.file, finding.other)))
            figures.append(f'<figure>{images}<figcaption>{text(caption)}</figcaption></figure>')
    return figures


def thumbnail(checked: CheckedSet, finding: Finding) -> list[bytes]:
    """JPEGs of a sample: of pictures that occur twice both, else the image under its mask; none if it cannot be read.

    Labels that are no class are magenta, pixels that do not count are left as they are.
    """
    if finding.other:
        both = [read_picture(finding.file), read_picture(finding.other)]
        return [encoded(picture) for picture in both if picture is not None]
    image, labels = checked.checker.look(finding.sample)
    if image is None:
        return []
    image = shrunk(image[..., ::-1])
    if labels is not None:
        colours = np.full((256, 3), WRONG)
        colours[:checked.checker.num_classes] = palette(checked)[:256]
        labels = np.asarray(Image.fromarray(np.clip(labels, 0, 255).astype(np.uint8)).resize(
            image.shape[1::-1], Image.NEAREST))
        image = np.where((labels == checked.checker.ignore_index)[..., None], image, blend(image, labels, colours, 0.5))
        return [encoded(image)]
    mask = read_picture(str(checked.checker.dataset.get_data_info(finding.sample).get('seg_map_path', '')))
    return [encoded(image)] if mask is None else [encoded(np.concatenate([image, np.asarray(
        Image.fromarray(mask).resize(image.shape[1::-1], Image.NEAREST))], 1))]


def read_picture(file: str) -> np.ndarray | None:
    """An image file or a mask as RGB, small; None if it cannot be read."""
    try:
        return shrunk(read_image(file)[..., ::-1])
    except UserError:
        return None
