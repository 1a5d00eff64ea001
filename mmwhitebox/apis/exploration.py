"""What a look into a model found on one image, to keep, to send and to show."""
import numpy as np

from .array_book import ArrayBook
from .array_container import pack, quantize


class Exploration:
    """What :func:`mmwhitebox.apis.explore` found.

    Attributes:
        header (dict): What JSON can say: the model, the image, its prediction, the layers and their rates, with the
            names of arrays.
        arrays (dict[str, np.ndarray]): Name -> array, float32 or uint8.
    """

    def __init__(self, header: dict, book: ArrayBook) -> None:
        self.header = header
        self._book = book

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return self._book.arrays

    def to_bytes(self, bits: int = 16) -> bytes:
        """Header and arrays as one block, see :mod:`mmwhitebox.apis.array_container`.

        Args:
            bits (int): Of a number: 8, 16, or 32, which quantises nothing. Defaults to 16.
        """
        return pack(self.header, {
            name: quantize(array, bits, self._book.group_axes.get(name, 0))
            if bits < 32 and array.dtype == np.float32 and np.isfinite(array).all() else array
            for name, array in self.arrays.items()})
