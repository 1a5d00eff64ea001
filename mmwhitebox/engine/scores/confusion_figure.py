"""A confusion matrix as a picture."""
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .confusion import Confusion

WITH_COUNTS, WITH_SHARES, WITH_NAMES = 12, 40, 200  # classes up to which a picture has them
COLOURS = 'cividis'  # equally bright steps, alike for people who do not tell red from green


def confusion_figure(confusion: Confusion, title: str = '') -> Figure:
    """Rows are true classes, each as shares of its own; with percents, counts and names as far as they can be read.

    Colours follow the square root of the share, so that small confusions show. A class that does not occur has a grey
    row.

    Args:
        confusion (Confusion): The matrix.
        title (str): Above it. Defaults to none.
    """
    counts, classes = confusion.matrix, confusion.classes
    number = len(classes)
    totals = confusion.counts[:-1].sum(1, keepdims=True)
    with np.errstate(invalid='ignore'):
        shares = np.where(totals > 0, 100 * counts / totals, np.nan)
    inches = 0.75 * number if number <= WITH_COUNTS else 0.36 * number if number <= WITH_SHARES else \
        0.16 * number if number <= WITH_NAMES else 16
    names = [name if len(name) <= 30 else f'{name[:29]}…' for name in classes]
    inches, margin = max(inches, 3), 0.075 * max(map(len, names), default=1) + 0.6
    figure = Figure((inches + margin + 1.2, inches + margin + 0.4), dpi=110, layout='constrained')
    axes = figure.subplots()
    axes.set_facecolor('0.85')
    norm = PowerNorm(0.5, 0, 100)
    image = axes.imshow(shares, cmap=COLOURS, norm=norm, interpolation='nearest')
    size = 9 if number <= WITH_COUNTS else 7 if number <= WITH_SHARES else 6
    if number <= WITH_NAMES:
        axes.set_xticks(range(number), labels=names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(number), labels=names, fontsize=size, parse_math=False)
    axes.set_xlabel('predicted class' if number <= WITH_NAMES else 'predicted class (index)')
    axes.set_ylabel('true class' if number <= WITH_NAMES else 'true class (index)')
    bar = figure.colorbar(image, ax=axes, shrink=min(1, 4 / inches) if number > WITH_COUNTS else 1,
                          ticks=[0, 1, 5, 20, 50, 100])
    bar.set_label(f'share of the {confusion.unit} of the true class (%)')
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    short = EngFormatter(places=1, sep='')
    for row in np.flatnonzero(totals == 0) if number <= WITH_SHARES else ():
        axes.text((number - 1) / 2, row, 'does not occur', ha='center', va='center', fontsize=7)
    for row, column in np.ndindex(counts.shape) if number <= WITH_SHARES else ():
        share, count = shares[row, column], counts[row, column]
        if np.isnan(share):
            continue
        written = count if count < 100_000 else short(count)
        text = f'{share:.0f}' if number > WITH_COUNTS else f'{share:.1f} %\n{written}'
        if number <= WITH_COUNTS or share >= 0.5:
            axes.text(column, row, text, ha='center', va='center', fontsize=7 if number <= WITH_COUNTS else 6,
                      color='black' if norm(share) > 0.6 else 'white')
    return figure
