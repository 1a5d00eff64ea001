"""Drawing that knows no model: palettes, overlays, legends, label maps as files."""
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw, ImageFont

LINE_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
"""Okabe and Ito's colours, which colour-blind readers tell apart; yellow is left out (too light for lines)."""
AREA_COLORS = np.array([to_rgb(color) for color in (
    '#E69F00', '#56B4E9', '#009E73', '#F0E442', '#0072B2', '#D55E00', '#CC79A7', '#999999',
    '#FFE0A3', '#BFE4FA', '#8FDDC4', '#7A7300', '#002F4D', '#6B2F00', '#F2D5E3', '#333333')])
"""All of them, then lighter and darker ones for more areas, (16, 3) RGB in [0, 1]."""
PANEL_INCHES = 3.2
LEGEND_INCHES = 1.5
DPI = 110
LEAST_TEXT = 13  # pixels: the smallest letters of a legend
TEXT_SHARE = 45  # a legend's letters are the longer side of the picture by this, if that is more
PERCENTILES = (2, 98)  # of the values of a channel, between which a picture of more than 8 bits goes


class View(NamedTuple):
    """A picture of an image.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        note (str): Which channels these are and which values are black and white, a line each; empty of photographs.
    """
    image: np.ndarray
    note: str = ''


def show_channels(array: np.ndarray, display: Sequence[int]) -> View:
    """Three channels of an image as red, green and blue, or one as grey.

    Bytes are shown as they are; other values are stretched between the percentiles 2 and 98 of their channel.

    Args:
        array (np.ndarray): (H, W, C) of any type.
        display (Sequence[int]): Three numbers of channels, or one, from 1.
    """
    layers, lines = [], []
    for number in display:
        values, line = array[..., number - 1], f'channel {number}'
        if values.dtype != np.uint8:
            finite = values[np.isfinite(values)].astype(np.float64)
            low, high = np.percentile(finite, PERCENTILES) if finite.size else (0., 0.)
            if low == high and finite.size:
                low, high = finite.min(), finite.max()
            line += f': {low:.4g} to {high:.4g}'
            values = np.nan_to_num(values.astype(np.float64), nan=low).clip(low, high)
            values = ((values - low) * (255 / ((high - low) or 1))).round().astype(np.uint8)
        layers.append(values)
        lines.append(line)
    return View(np.stack(layers if len(layers) == 3 else layers * 3, axis=2), '\n'.join(lines))


def write_note(axes: Axes, note: str, size: float = 6) -> None:
    """Write the note of a view into the corner of its panel, in letters of so many points."""
    if note:
        axes.text(0.01, 0.01, note, transform=axes.transAxes, fontsize=size, va='bottom',
                  bbox=dict(facecolor='white', alpha=0.7, edgecolor='none', pad=1))


def to_array(figure: Figure) -> np.ndarray:
    """Pixels of a figure, (h, w, 3) uint8 RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def colorize(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colours of a label map: (H, W) class indices -> (H, W, 3) uint8 RGB; other labels are black."""
    table = np.zeros((256, 3), np.uint8)
    table[:len(palette)] = palette
    return table[labels.astype(np.uint8)]


def blend(image: np.ndarray, labels: np.ndarray, palette: Sequence, opacity: float) -> np.ndarray:
    """Overlay of a label map on an RGB image, (H, W, 3) uint8; labels without a class leave it as is."""
    mixed = (1 - opacity) * image + opacity * colorize(labels, palette)
    return np.where((labels < len(palette))[..., None], mixed.round(), image).astype(np.uint8)


def draw_panels(image: np.ndarray, label_maps: dict, classes: Sequence[str], palette: Sequence,
                opacity: float = 0.7, note: str = '') -> np.ndarray:
    """Image and label maps side by side, with the names and colours of the classes shown.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        label_maps (dict[str, np.ndarray]): Title -> (H, W) class indices, drawn from left to right.
        classes (Sequence[str]): Class names.
        palette (Sequence): One RGB colour per class.
        opacity (float): Weight of the colours over the image. Defaults to 0.7.
        note (str): Written into the image, see :class:`View`. Defaults to ''.

    Returns:
        np.ndarray: The picture, (h, w, 3) uint8 RGB.
    """
    num_panels = 1 + len(label_maps)
    height = PANEL_INCHES * min(image.shape[0] / image.shape[1], 3) + 0.35
    figure = Figure((num_panels * PANEL_INCHES + LEGEND_INCHES, max(height, 1.2)), dpi=DPI)
    grid = figure.add_gridspec(
        1, num_panels + 1, width_ratios=[PANEL_INCHES] * num_panels + [LEGEND_INCHES],
        left=0.01, right=0.99, bottom=0.02, top=1 - 0.3 / max(height, 1.2), wspace=0.03)
    panels = {'image': image,
              **{title: blend(image, labels, palette, opacity) for title, labels in label_maps.items()}}
    for i, (title, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i])
        axes.imshow(panel)
        axes.set_title(title, fontsize=10)
        axes.axis('off')
        write_note(axes, note if i == 0 else '')
    shown = [i for i in np.unique(np.concatenate([m.ravel() for m in label_maps.values()]))
             if i < len(classes)]
    legend = figure.add_subplot(grid[-1])
    legend.axis('off')
    legend.legend(
        handles=[Patch(facecolor=np.array(palette[i]) / 255, edgecolor='0.3', label=classes[i])
                 for i in shown],
        loc='center left', fontsize=8, frameon=False, borderaxespad=0, handlelength=1.2)
    return to_array(figure)


def with_legend(picture: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Sequence) -> np.ndarray:
    """A picture above the names and colours of the classes in it, those of most pixels first.

    A picture that is narrower than a name gets a margin on its right; its own pixels do not change.

    Args:
        picture (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (H, W) class indices; others are not named.
        classes (Sequence[str]): Class names.
        palette (Sequence): One RGB colour per class.

    Returns:
        np.ndarray: (H + legend, at least W, 3) uint8 RGB.
    """
    height, width = picture.shape[:2]
    size = max(LEAST_TEXT, max(height, width) // TEXT_SHARE)
    counts = np.bincount(labels.ravel(), minlength=len(classes))[:len(classes)]
    shown = [int(i) for i in np.argsort(-counts, kind='stable') if counts[i]]
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'), size)
    gap, line = size // 2, size + size // 2
    widths = [round(font.getlength(str(classes[i]))) + size + 3 * gap for i in shown]
    width = max([width, *(each + gap for each in widths)])
    places, x, y = [], gap, height + gap
    for each in widths:
        if x + each > width:
            x, y = gap, y + line
        places.append((x, y))
        x += each
    canvas = np.full((y + line + gap // 2 if shown else height, width, 3), 255, np.uint8)
    canvas[:height, :picture.shape[1]] = picture
    if shown:
        legend = Image.fromarray(canvas[height:])
        draw = ImageDraw.Draw(legend)
        for i, (x, y) in zip(shown, places):
            y -= height
            draw.rectangle((x, y, x + size, y + size), fill=tuple(map(int, palette[i])), outline=(90, 90, 90))
            draw.text((x + size + gap, y + size // 2), str(classes[i]), fill=(0, 0, 0), font=font, anchor='lm')
        canvas[height:] = np.asarray(legend)
    return canvas


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """An image below its text, (h, w, 3) uint8 RGB."""
    figure = Figure((3.6, 2.9), layout='constrained')
    axes = figure.subplots()
    axes.imshow(image)
    axes.set_title(text, fontsize=9, loc='left')
    axes.axis('off')
    return to_array(figure)


def save_labels(file: str | Path, labels: np.ndarray, palette: Sequence | None = None) -> None:
    """Write a label map as PNG: 8 bit, with the colours of a palette if there is one; 16 bit if labels exceed 255.

    Args:
        file (str | Path): PNG file.
        labels (np.ndarray): (H, W) integers, 0 to 65535.
        palette (Sequence, optional): RGB colours, one for each label. Defaults to None, grey.
    """
    if labels.max(initial=0) > 255:
        Image.fromarray(labels.astype(np.uint16)).save(file, 'PNG')
        return
    image = Image.fromarray(labels.astype(np.uint8))
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8)[:256].ravel().tolist())
    image.save(file, 'PNG')
