"""Plots of a table: time against the number of tokens, ratios of models."""
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


def model_plot(frame: pd.DataFrame) -> Figure:
    """Ratios to each reference with their quartiles: a panel for each case."""
    titles = [name for name in frame if name.startswith('x_') and f'{name}_low' in frame]
    labels = list(frame)[:list(frame).index('contestant')]
    bars = [(case, f'{row["contestant"]} / {title[2:]}', title, row)
            for case, rows in frame.groupby(labels, sort=False) for _, row in rows.iterrows()
            for title in titles if pd.notna(row[title])]
    cases = list(dict.fromkeys(bar[0] for bar in bars))
    heights = [0.6 + 0.15 * sum(bar[0] == case for bar in bars) for case in cases]  # inches
    figure = Figure((9, sum(heights)), layout='constrained')
    panels = figure.subplots(len(cases), 1, squeeze=False, gridspec_kw=dict(height_ratios=heights))[:, 0]
    for panel, case in zip(panels, cases):
        own = [bar for bar in bars if bar[0] == case]
        for i, (_, _, title, row) in enumerate(own):
            error = [[row[title] - row[f'{title}_low']], [row[f'{title}_high'] - row[title]]]
            panel.barh(i, row[title], xerr=error, color=colour(titles.index(title)), height=0.7)
        panel.set_yticks(range(len(own)), [label for _, label, _, _ in own], fontsize=7)
        panel.invert_yaxis()
        panel.axvline(1, color='0.3', linewidth=0.8)
        panel.set_title(' '.join(map(str, case)), fontsize=9)
        panel.tick_params(axis='x', labelsize=7)
        panel.spines[['top', 'right']].set_visible(False)
    panels[-1].set_xlabel('times as fast as the reference', fontsize=8)
    return figure


def save_plot(frame: pd.DataFrame, path: Path) -> None:
    """Write the plot of a table as a PNG, if there is something to plot."""
    timed = frame[frame['ms'].notna()]
    figure = operator_plot(timed) if 'tokens' in frame else model_plot(timed)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
