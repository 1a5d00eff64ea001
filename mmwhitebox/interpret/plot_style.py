"""How the curves and scatter plots of the analysis commands look."""
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwhitebox.drawing import OKABE_ITO

PALETTE = (*(OKABE_ITO[i] for i in (4, 5, 2, 6, 0, 1)), '#000000')  # without yellow, too light for lines


def new_figure(num_panels: int, width: float = 3.6, height: float = 2.9) -> tuple[Figure, np.ndarray]:
    """A figure with a row of panels of a size in inches each, and its axes."""
    figure = Figure((num_panels * width, height), layout='constrained')
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    for panel in axes:
        tidy(panel)
    return figure, axes


def tidy(axes: Axes) -> None:
    """No frame at the top and the right, a light grid, readable ticks."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    axes.title.set_fontsize(11)


def colour(index: int) -> str:
    """Colour of a series; they repeat after seven."""
    return PALETTE[index % len(PALETTE)]


def layer_ticks(axes: Axes, numbers: Sequence[int]) -> None:
    """Whole numbers for the layers shown, not more than a dozen of them."""
    shown = sorted(set(numbers))
    axes.set_xticks(shown[::-(-len(shown) // 12)])
    axes.set_xlabel('layer')


def to_array(figure: Figure) -> np.ndarray:
    """Pixels of a figure, (h, w, 3) uint8 RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
