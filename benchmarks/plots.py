"""Plots of a report: time against the number of tokens, ratios of models."""
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwhitebox.interpret.plot_style import colour, new_figure

from .operators import HALF

STYLES = {'plain': '--', 'fused': '-', 'compiled': '-.'}


def line_style(name: str) -> str:
    """Dashes say the form: our eager one is dotted, the fused one solid."""
    return STYLES.get(name.rpartition('-')[2], ':' if '-' not in name and name != 'mhsa' else '-')


def operator_plot(report: dict) -> Figure:
    """Time of a call against N, both logarithmic: a panel for each mode."""
    modes = list(dict.fromkeys(case['labels']['mode'] for case in report['cases']))
    figure, panels = new_figure(len(modes), 5.4, 4.4)
    for panel, mode in zip(panels, modes):
        series: dict[str, list[tuple]] = {}
        for case in report['cases']:
            if case['labels']['mode'] == mode:
                for name, row in case['contestants'].items():
                    if row.get('seconds') and not name.endswith(HALF):
                        series.setdefault(name, []).append((case['labels']['tokens'], row['median'] * 1e3))
        kinds = list(dict.fromkeys(name.partition('-')[0] for name in series))
        for name, points in series.items():
            hue = colour(kinds.index(name.partition('-')[0]))
            panel.plot(*zip(*points), line_style(name), color=hue, label=name, marker='.')
        title = 'forward and backward' if mode == 'training' else 'forward'
        panel.set(xscale='log', yscale='log', title=title, xlabel='tokens N', ylabel='ms')
    panels[-1].legend(fontsize=7, loc='upper left', bbox_to_anchor=(1, 1))
    return figure


def model_plot(report: dict) -> Figure:
    """Ratios to each reference with their quartiles: a panel for each case."""
    cases = report['cases']
    all_bars = [[(f'{name} / {title}', values, title) for name, row in case['contestants'].items()
                 for title, values in row.get('ratios', {}).items()] for case in cases]
    titles = list(dict.fromkeys(title for bars in all_bars for _, _, title in bars))
    heights = [0.6 + 0.15 * len(bars) for bars in all_bars]  # inches
    figure = Figure((9, sum(heights)), layout='constrained')
    panels = figure.subplots(len(cases), 1, squeeze=False, gridspec_kw=dict(height_ratios=heights))[:, 0]
    for panel, case, bars in zip(panels, cases, all_bars):
        for i, (_, values, title) in enumerate(bars):
            error = [[values['median'] - values['low']], [values['high'] - values['median']]]
            panel.barh(i, values['median'], xerr=error, color=colour(titles.index(title)), height=0.7)
        panel.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=7)
        panel.invert_yaxis()
        panel.axvline(1, color='0.3', linewidth=0.8)
        panel.set_title(' '.join(map(str, case['labels'].values())), fontsize=9)
        panel.tick_params(axis='x', labelsize=7)
        panel.spines[['top', 'right']].set_visible(False)
    panels[-1].set_xlabel('times as fast as the reference', fontsize=8)
    return figure


def save_plot(report: dict, path: Path) -> None:
    """Write the plot of a report as a PNG."""
    figure = operator_plot(report) if report['suite'] == 'operators' else model_plot(report)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)
