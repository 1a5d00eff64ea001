"""Maps over an image in one labelled grid: a row for each layer, a column for each head."""
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmwhitebox.drawing import AREA_COLORS, write_note

COLORMAP = 'inferno'
PANEL_INCHES = 1.35
GAP_INCHES = 0.06
LABEL_INCHES = 0.36
TOP_INCHES = 0.5
BOTTOM_INCHES = 0.52


@dataclass
class MapRow:
    """One row of the grid.

    Attributes:
        label (str): Its name, e.g. :func:`layer_label`.
        maps (np.ndarray): Maps at the resolution of the image, (columns, height, width), not negative.
        labels (np.ndarray, optional): A label map, (height, width), drawn in colours at the end of the row.
    """

    label: str
    maps: np.ndarray
    labels: np.ndarray | None = None


def layer_label(name: str) -> str:
    """Short name of an attention layer: 'backbone.layers.3.attn' -> 'encoder 3'."""
    part = 'decoder' if name.startswith(('decode_head', 'neck')) else 'encoder'
    kind = ' class' if 'class_layers' in name else ''
    number = re.findall(r'\d+', name)
    return f'{part}{kind} {number[-1]}' if number else f'{part}{kind}'


def heat(image: np.ndarray, values: np.ndarray, high: float) -> np.ndarray:
    """A map in colours over the grey image.

    Args:
        image (np.ndarray): (height, width, 3) uint8 RGB.
        values (np.ndarray): (height, width); ``high`` and more is the brightest, 0 the darkest colour.
        high (float): See above; of a map of zeros, 0.

    Returns:
        np.ndarray: (height, width, 3) float RGB in [0, 1].
    """
    level = np.clip(values / high, 0, 1) if high > 0 else np.zeros(values.shape)
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    colors = matplotlib.colormaps[COLORMAP](level)[..., :3]
    return 0.3 * grey + 0.7 * colors


def paint(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A label map in :data:`AREA_COLORS` over the grey image, (height, width, 3) float RGB in [0, 1]."""
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    return 0.35 * grey + 0.65 * AREA_COLORS[labels % len(AREA_COLORS)]


def draw_map_grid(image: np.ndarray,
                  rows: Sequence[MapRow],
                  columns: Sequence[str],
                  title: str,
                  meaning: str,
                  shared_scale: bool = False,
                  label_title: str = '',
                  mark: tuple[float, float] | None = None,
                  note: str = '') -> Figure:
    """Draw maps over an image: the image, then one column for each map.

    Args:
        image (np.ndarray): What the model sees, (height, width, 3) uint8 RGB.
        rows (Sequence[MapRow]): From top to bottom.
        columns (Sequence[str]): Titles of the map columns.
        title (str): Title of the figure.
        meaning (str): What the colours mean, for the scale.
        shared_scale (bool): Whether the maps of a row share their colour scale, from 0 to their maximum;
            otherwise each has its own. The maximum stands in the panels. Defaults to False.
        label_title (str): Title of the column of label maps, if there are any. Defaults to ''.
        mark (tuple[float, float], optional): A pixel (x, y) to mark in every panel. Defaults to None.
        note (str): Written into the image, see :class:`mmwhitebox.drawing.View`. Defaults to ''.
    """
    shown = sorted({int(k) for row in rows if row.labels is not None for k in np.unique(row.labels)})
    num_columns = 1 + len(columns) + bool(shown)
    ratio = min(max(image.shape[0] / image.shape[1], 0.4), 2.5)
    size = num_columns * PANEL_INCHES + LABEL_INCHES, len(rows) * PANEL_INCHES * ratio + TOP_INCHES + BOTTOM_INCHES
    figure = Figure((max(size[0], 4.2), size[1]))

    def place(i: int, j: int) -> tuple[float, float, float, float]:
        """Axes of row i, column j as shares of the figure."""
        x = j * PANEL_INCHES + (LABEL_INCHES if j else 0)
        y = size[1] - TOP_INCHES - (i + 1) * PANEL_INCHES * ratio
        width, height = figure.get_size_inches()
        return (x + GAP_INCHES) / width, y / height, (PANEL_INCHES - GAP_INCHES) / width, \
            (PANEL_INCHES - GAP_INCHES) * ratio / height

    def panel(i: int, j: int, pixels: np.ndarray, name: str) -> Axes:
        axes = figure.add_axes(place(i, j))
        axes.imshow(pixels)
        axes.set_axis_off()
        if i == 0:
            axes.set_title(name, fontsize=8, pad=3)
        if mark is not None:
            axes.plot(*mark, marker='+', color='#56B4E9', markersize=8, markeredgewidth=1.6)
        return axes

    write_note(panel(0, 0, image, 'input'), note, 4)
    for i, row in enumerate(rows):
        highs = row.maps.max((1, 2))
        if shared_scale:
            highs = np.full(len(highs), highs.max())
        for j, (values, high) in enumerate(zip(row.maps, highs), 1):
            axes = panel(i, j, heat(image, values, high), columns[j - 1])
            if not shared_scale or j == 1:
                axes.text(0.97, 0.04, f'{high:.2g}', transform=axes.transAxes, fontsize=6, color='w', ha='right',
                          va='bottom', bbox=dict(facecolor='k', alpha=0.55, lw=0, pad=1))
        if row.labels is not None:
            panel(i, num_columns - 1, paint(image, row.labels), label_title)
        x, y, _, height = place(i, 1)
        figure.text(x - 0.5 * LABEL_INCHES / figure.get_size_inches()[0], y + height / 2, row.label, fontsize=8,
                    ha='center', va='center', rotation=90)
    top = 1 - 0.08 / size[1]
    figure.text(GAP_INCHES / figure.get_size_inches()[0], top, title, fontsize=9.5, va='top', weight='bold')
    _draw_scale(figure, meaning, 'row maximum' if shared_scale else 'panel maximum')
    if shown:
        patches = [Patch(color=AREA_COLORS[k % len(AREA_COLORS)], label=f'head {k}') for k in shown]
        figure.legend(handles=patches, loc='lower right', bbox_to_anchor=(1, 0), fontsize=7, frameon=False,
                      handlelength=1, ncols=min(len(shown), 2 * num_columns - 4), columnspacing=1, handletextpad=0.4)
    return figure


def _draw_scale(figure: Figure, meaning: str, high: str) -> None:
    """A horizontal colour bar from 0 to the maximum, at the bottom left."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.12 / width, 0.2 / height, 1.2 / width, 0.09 / height))
    axes.imshow(np.linspace(0, 1, 256)[None], aspect='auto', cmap=COLORMAP)
    axes.set_yticks([])
    axes.set_xticks([0, 255], ['0', high], fontsize=6.5)
    axes.tick_params(length=2, pad=1)
    axes.set_title(meaning, fontsize=7, pad=2, loc='left')
