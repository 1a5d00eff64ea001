"""The plot of a table of operators: time against the number of tokens."""
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwhitebox.interpret.plot_style import colour, new_figure

STYLES = {'plain': '--', 'fused': '-', 'compiled': '-.'}


def line_style(name: str) -> str:
    """Dashes say the form: our eager one is dotted, the fused one solid."""
    return STYLES.get(name.rpartition('-')[2], ':' if '-' not in name and name != 'mhsa' else '-')


def operator_plot(frame: pd.DataFrame) -> Figure:
    """Time of a call against N, both logarithmic: a panel for each mode."""
    modes = dict(list(frame.groupby('mode', sort=False)))
    figure, panels = new_figure(len(modes), 5.4, 4.4)
    kinds = list(frame['contestant'].str.partition('-')[0].unique())
    for panel, (mode, cases) in zip(panels, modes.items()):
        for name, series in cases.groupby('contestant', sort=False):
            panel.plot(series['tokens'], series['ms'], line_style(name), label=name, marker='.',
                       color=colour(kinds.index(name.partition('-')[0])))
        title = 'forward and backward' if mode == 'training' else 'forward'
        panel.set(xscale='log', yscale='log', title=title, xlabel='tokens N', ylabel='ms')
    panels[-1].legend(fontsize=7, loc='upper left', bbox_to_anchor=(1, 1))
    return figure


def save_plot(frame: pd.DataFrame, path: Path) -> None:
    """Write the plot of a table of operators as a PNG, if any of them was timed."""
    timed = frame[frame['ms'].notna()] if 'ms' in frame else frame[:0]
    if len(timed):
        figure = operator_plot(timed)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=110)
