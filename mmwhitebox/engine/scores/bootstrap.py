"""Bootstrap intervals of scores that are computed from sums over images.

What is resampled are the images, as many as there are, with replacement; their counts are summed anew and the scores
computed from the sums, as they are from those of all images. The ends of an interval are percentiles of the scores so
found. It says how much a score would vary with other images of the same kind, for the one trained model: not how much
it would with another seed of the training.
"""
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

BLOCK = 1 << 22  # draws that are in memory at a time

Scores = Mapping[str, np.ndarray]


class Bootstrap:
    """How intervals are found.

    Args:
        samples (int): Times that the images are drawn. Defaults to 1000.
        seed (int): Of the draws. Defaults to 0.
        level (float): Share of the draws within an interval. Defaults to 0.95.

    Raises:
        ValueError: A number out of its range.
    """

    def __init__(self, samples: int = 1000, seed: int = 0, level: float = 0.95) -> None:
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 100:
            raise ValueError(f'bootstrap: samples={samples!r} must be a whole number, 100 at the least.')
        if not 0 < level < 1:
            raise ValueError(f'bootstrap: level={level!r} must lie between 0 and 1.')
        self.samples, self.seed, self.level = samples, seed, level

    @classmethod
    def of(cls, value: Any) -> 'Bootstrap | None':
        """What a config says: None or 0 for none, a number of samples, or a dict of the arguments."""
        if not value:
            return None
        return cls(**value) if isinstance(value, Mapping) else cls(value)

    def intervals(self, sums: np.ndarray | sparse.csr_array, score: Callable[[np.ndarray], Scores]) -> dict:
        """Intervals of all scores.

        Args:
            sums (np.ndarray | csr_array): (N, F), what every image adds to the sums.
            score (Callable): Takes sums (B, F) of B draws, returns name -> (B, ...).

        Returns:
            dict[str, np.ndarray]: Name -> (2, ...), the ends. Draws in which a score is NaN (no image of a class was
            drawn) are left out of its interval.
        """
        count = sums.shape[0]
        generator = np.random.default_rng(self.seed)
        found: dict[str, list[np.ndarray]] = {}
        block = max(1, BLOCK // count)
        for start in range(0, self.samples, block):
            size = min(block, self.samples - start)
            draws = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
            times = np.bincount(draws.ravel(), minlength=size * count).reshape(size, count)
            for name, values in score(times.astype(np.float64) @ sums).items():
                found.setdefault(name, []).append(values)
        ends = (1 - self.level) / 2, (1 + self.level) / 2
        return {name: quantiles(np.concatenate(values), ends) for name, values in found.items()}


def quantiles(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Quantiles of (B, ...) over B without the NaNs, (2, ...); NaN where all are."""
    missing = np.isnan(values).all(axis=0)
    return np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, values), ends, axis=0))
