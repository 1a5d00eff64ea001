"""The plots of the page: loss and validation against iterations, coding rates in training and in depth."""
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmwhitebox.drawing import LINE_COLORS, to_array
from mmwhitebox.interpret.plot_style import colour, layer_ticks, new_figure

from .page import METRICS, RATES, all_trainings, layer_number, layer_rates, rate_logs
from .suites import SUITES, Suite

DPI = 110


def band(axes: Axes, x: Sequence[float], curves: Sequence[Sequence[float]], color: object, label: str | None = None,
         **style: object) -> None:
    """The mean of some curves as a line, their range as a band."""
    y = np.asarray(curves, float)
    axes.plot(x, y.mean(0), color=color, label=label, **{'linewidth': 1.6, 'markersize': 4, **style})
    axes.fill_between(x, y.min(0), y.max(0), color=color, alpha=0.15, linewidth=0)


def common(runs: dict[int, dict], points: Callable[[dict], dict[int, float]]) -> tuple:
    """Steps that every seed has, and each seed's values there."""
    found = [points(log) for log in runs.values()]
    steps = sorted(set.intersection(*(set(curve) for curve in found)))
    return steps, [[curve[step] for step in steps] for curve in found]


def training_figure(suite: Suite, table: str, logs: Path) -> Figure | None:
    """Training loss and validation metric against iterations, a colour for each row; None without a log."""
    runs = all_trainings(logs, suite, suite.tables[table])
    if not runs:
        return None
    figure, (loss, metric) = new_figure(2, 4.6, 3.3)
    for i, row in enumerate(suite.tables[table]):
        if row.name in runs:
            line = '-' if i < len(LINE_COLORS) else '--'  # colours repeat
            steps, curves = common(runs[row.name], lambda log: dict(zip(log['train']['step'], log['train']['loss'])))
            band(loss, steps, curves, colour(i), row.title, linestyle=line)
            steps, curves = common(
                runs[row.name], lambda log: {values['step']: values[suite.metric] for values in log['val']})
            band(metric, steps, curves, colour(i), marker='o', linestyle=line)
    loss.set(title='Training loss', xlabel='iterations')
    metric.set(title=f'Validation, {METRICS[suite.metric]}', xlabel='iterations', ylabel='%')
    for panel in (loss, metric):
        panel.set_xlim(left=0)
    figure.legend(loc='outside lower center', ncols=4 if len(runs) > 6 else 6, fontsize=9, frameon=False)
    return figure


def rates_in_training(logs: Path) -> Figure | None:
    """R_c after the attention of every layer against iterations: a panel for each attention, light layers are deep."""
    found = rate_logs(logs)
    if not found:
        return None
    figure, panels = new_figure(len(found), 3.1, 3.1)
    for panel, (row, runs) in zip(panels, found.values()):
        rates = next(iter(runs.values()))['coding_rate']
        keys = sorted((key for key in rates if key.startswith('compression/')), key=layer_number)
        for i, key in enumerate(keys):
            steps, curves = common(
                runs, lambda log, key=key: dict(zip(log['coding_rate']['step'], log['coding_rate'][key])))
            band(panel, steps, curves, colormaps['viridis'](0.9 * i / max(1, len(keys) - 1)), f'layer {i}')
        panel.set(title=row.title, xlabel='iterations')
    panels[0].set_ylabel(r'$R_c$, nats')
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=6, fontsize=9, frameon=False)
    return figure


def rates_in_depth(logs: Path) -> Figure | None:
    """R_c against the layers, in the first look (dashed) and in the last one: a panel for each kind of R_c."""
    found = rate_logs(logs)
    if not found:
        return None
    figure, panels = new_figure(len(RATES), 3.9, 3.3)
    titles = (r'$R_c$ after the attention', r'$R_c$, tokens of unit length', r'$R_c$ after the feed-forward')
    for panel, quantity, title in zip(panels, RATES, titles):
        for i, (row, runs) in enumerate(found.values()):
            for when, style, name in ((0, dict(linestyle='--', marker='s', markerfacecolor='white'), 'first'),
                                      (-1, dict(linestyle='-', marker='o'), 'last')):
                curves = [layer_rates(log, quantity, when) for log in runs.values()]
                band(panel, range(len(curves[0])), curves, colour(i), f'{row.title}, {name} look', **style)
        panel.set(title=title)
        layer_ticks(panel, range(len(curves[0])))
    panels[0].set_ylabel('nats')
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=4, fontsize=9, frameon=False)
    return figure


def draw_all(logs: Path, images: Path) -> list[Path]:
    """Draw what there are logs for.

    Args:
        logs (Path): With a folder for each suite.
        images (Path): Where they go.

    Returns:
        list[Path]: The files written.
    """
    figures = {f'{suite.name}_{table}': training_figure(suite, table, logs)
               for suite in SUITES.values() for table in suite.tables}
    figures.update(coding_rate_training=rates_in_training(logs), coding_rate_depth=rates_in_depth(logs))
    images.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        if figure is not None:
            figure.set_dpi(DPI)
            written.append(images / f'{name}.png')
            Image.fromarray(to_array(figure)).quantize().save(written[-1], optimize=True)
    return written
