"""Drawing without knowledge of models: palettes, label maps over images, panels with a legend."""
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

OKABE_ITO = ('#E69F00', '#56B4E9', '#009E73', '#F0E442', '#0072B2', '#D55E00', '#CC79A7')
"""Okabe and Ito's colours, which readers with any kind of colour vision tell apart."""
PANEL_INCHES = 3.2
LEGEND_INCHES = 1.5
DPI = 110


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
                opacity: float = 0.7) -> np.ndarray:
    """Image and label maps side by side, with the names and colours of the classes shown.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        label_maps (dict[str, np.ndarray]): Title -> (H, W) class indices, drawn from left to right.
        classes (Sequence[str]): Class names.
        palette (Sequence): One RGB colour per class.
        opacity (float): Weight of the colours over the image. Defaults to 0.7.

    Returns:
        np.ndarray: The picture, (h, w, 3) uint8 RGB.
    """
    num_panels = 1 + len(label_maps)
    height = PANEL_INCHES * min(image.shape[0] / image.shape[1], 3) + 0.35
    figure = Figure((num_panels * PANEL_INCHES + LEGEND_INCHES, max(height, 1.2)), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        1, num_panels + 1, width_ratios=[PANEL_INCHES] * num_panels + [LEGEND_INCHES],
        left=0.01, right=0.99, bottom=0.02, top=1 - 0.3 / max(height, 1.2), wspace=0.03)
    panels = {'image': image}
    panels.update({title: blend(image, labels, palette, opacity) for title, labels in label_maps.items()})
    for i, (title, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i])
        axes.imshow(panel)
        axes.set_title(title, fontsize=10)
        axes.axis('off')
    shown = [i for i in np.unique(np.concatenate([m.ravel() for m in label_maps.values()]))
             if i < len(classes)]
    legend = figure.add_subplot(grid[-1])
    legend.axis('off')
    legend.legend(
        handles=[Patch(facecolor=np.array(palette[i]) / 255, edgecolor='0.3', label=classes[i])
                 for i in shown],
        loc='center left', fontsize=8, frameon=False, borderaxespad=0, handlelength=1.2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
