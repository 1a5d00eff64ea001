"""Scores of classes from counts: pixels or images that are of a class, are taken for it, or both."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from prettytable import PrettyTable
from scipy import sparse

from .bootstrap import Bootstrap


def class_scores(right: np.ndarray, predicted: np.ndarray, true: np.ndarray, metrics: Sequence[str],
                 beta: float = 1) -> dict[str, np.ndarray]:
    """Scores of the classes, and ``aAcc``, the share of all that is right.

    Args:
        right (np.ndarray): (..., K), what is of a class and taken for it.
        predicted (np.ndarray): (..., K), what is taken for a class.
        true (np.ndarray): (..., K), what is of a class.
        metrics (Sequence[str]): Of ``mIoU``, ``mDice``, ``mFscore``.
        beta (float): Weight of the recall in the F-score. Defaults to 1.

    Returns:
        dict[str, np.ndarray]: Name -> (..., K) in [0, 1], aAcc (...); NaN where there is nothing to divide by.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        recall = right / true
        scores = dict(aAcc=right.sum(-1) / true.sum(-1))
        if 'mIoU' in metrics:
            scores.update(IoU=right / (predicted + true - right), Acc=recall)
        if 'mDice' in metrics:
            scores.update(Dice=2 * right / (predicted + true), Acc=recall)
        if 'mFscore' in metrics:
            scores.update(Fscore=(1 + beta**2) * right / (predicted + beta**2 * true), Precision=right / predicted,
                          Recall=recall)
    return scores


def over_classes(scores: dict[str, np.ndarray], nan_to_num: float | None = None) -> dict[str, np.ndarray]:
    """Add to scores (..., K) their means (...) over the classes that have them, ``m<name>``.

    Args:
        scores (dict[str, np.ndarray]): Name -> (..., K); aAcc (...).
        nan_to_num (float, optional): What a class without a score counts as. Defaults to None: it is left out.
    """
    if nan_to_num is not None:
        scores = {name: np.nan_to_num(values, nan=nan_to_num) for name, values in scores.items()}
    means = {}
    for name, values in scores.items():
        if name != 'aAcc':
            with np.errstate(invalid='ignore'):
                means[f'm{name}'] = np.nansum(values, axis=-1) / np.isfinite(values).sum(-1)
    return {**scores, **means}


def percent(value: float, ends: Sequence[float] | None = None) -> str:
    """A share as a text in percent, with its interval if there is one; '-' if there is no value."""
    if not np.isfinite(value):
        return '-'
    text = f'{100 * value:.2f}'
    return text if ends is None or not np.isfinite(ends).all() else f'{text} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]'


def table(columns: Mapping[str, Sequence]) -> str:
    """A table as mmseg prints them, its first column at the left and the others at the right."""
    drawn = PrettyTable()
    for name, values in columns.items():
        drawn.add_column(name, list(values), align='r' if drawn.field_names else 'l')
    return drawn.get_string()


@dataclass
class ScoredClasses:
    """Scores of the classes and their means over a number of images, with intervals if they are asked for.

    Args:
        classes (Sequence[str]): Names.
        images (int): Images that were scored.
        scores (dict[str, np.ndarray]): Name -> (K, ) or (), in [0, 1].
        bootstrap (Bootstrap, optional): How the intervals are found. Defaults to None.
        intervals (dict[str, np.ndarray], optional): Name -> (2, K) or (2, ); empty without intervals.
    """
    classes: Sequence[str]
    images: int
    scores: dict[str, np.ndarray]
    bootstrap: Bootstrap | None = None
    intervals: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Sequence[str], sums: np.ndarray | sparse.csr_array,
           score: Callable[[np.ndarray], dict[str, np.ndarray]], bootstrap: Bootstrap | None = None) -> 'ScoredClasses':
        """Score all images, and draws of them.

        Args:
            classes (Sequence[str]): Names.
            sums (np.ndarray | csr_array): (N, F), what every image adds to the sums.
            score (Callable): Takes sums (..., F), returns name -> (..., K) or (...).
            bootstrap (Bootstrap, optional): Gives the intervals; of a single image there are none. Defaults to None.
        """
        images = sums.shape[0]
        drawn = bootstrap is not None and images > 1
        return cls(classes, images, score(np.asarray(sums.sum(axis=0))), bootstrap if drawn else None,
                   bootstrap.intervals(sums, score) if drawn else {})

    def of_classes(self) -> dict[str, np.ndarray]:
        """The scores that every class has."""
        return {name: values for name, values in self.scores.items() if np.ndim(values)}

    def means(self) -> dict[str, float]:
        """aAcc and the means over the classes."""
        return {name: float(values) for name, values in self.scores.items() if not np.ndim(values)}

    def in_percent(self) -> dict[str, float]:
        """The means in percent, ``<name>_low`` and ``<name>_high`` of those that have an interval."""
        ends = {f'{name}_{end}': value for name in self.means() if name in self.intervals
                for end, value in zip(('low', 'high'), self.intervals[name])}
        return {name: round(100 * float(value), 2) for name, value in {**self.means(), **ends}.items()}

    def table(self, shown: np.ndarray, **more: np.ndarray) -> str:
        """Scores of the classes of a mask (K, ), and further columns (K, ), as a table."""
        columns = {'Class': [str(name) for name, show in zip(self.classes, shown) if show]}
        for name, values in self.of_classes().items():
            ends = self.intervals.get(name)
            columns[name] = [percent(values[i], None if ends is None else ends[:, i]) for i in np.flatnonzero(shown)]
        return table({**columns, **{name: values[shown] for name, values in more.items()}})

    def said_intervals(self) -> str:
        """The means with their intervals, in a sentence."""
        means = ', '.join(f'{name} {percent(value, self.intervals[name])}' for name, value in self.means().items())
        return (f'{100 * self.bootstrap.level:g} % intervals, bootstrap over the {self.images} images with '
                f'{self.bootstrap.samples} draws (seed {self.bootstrap.seed}): {means}')

    def as_json(self) -> dict:
        """The classes' scores and intervals in percent; a score that there is not is None."""
        def value(number: float) -> float | None:
            return round(100 * float(number), 4) if np.isfinite(number) else None

        def of_names(arrays: Mapping[str, np.ndarray], convert: Callable) -> dict:
            return {name: {str(label): convert(arrays[name][..., i]) for i, label in enumerate(self.classes)}
                    for name in self.of_classes() if name in arrays}

        def interval(ends: np.ndarray) -> list[float | None]:
            return [value(end) for end in ends]

        found = dict(images=self.images, classes=of_names(self.scores, value))
        if self.bootstrap is not None:
            found['class_intervals'] = of_names(self.intervals, interval)
            found['bootstrap'] = dict(level=self.bootstrap.level, draws=self.bootstrap.samples,
                                      seed=self.bootstrap.seed)
        return found
