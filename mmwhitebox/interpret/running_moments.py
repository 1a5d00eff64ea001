"""Mean and standard deviation of a stream of arrays, in constant memory."""
import numpy as np


class RunningMoments:
    """Mean and unbiased standard deviation along a stream, one array at a time (Welford), in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self._squares: np.ndarray = np.zeros(())

    def update(self, values) -> None:
        """Take in one more array; all have one shape."""
        values = np.asarray(values, np.float64)
        self.count += 1
        delta = values - self.mean
        self.mean = self.mean + delta / self.count
        self._squares = self._squares + delta * (values - self.mean)

    @property
    def std(self) -> np.ndarray:
        """Unbiased standard deviation; zero while there is only one array."""
        return np.sqrt(self._squares / max(self.count - 1, 1))
