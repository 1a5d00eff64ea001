"""What is asked of a model."""
from collections.abc import Sequence
from typing import NamedTuple


class Asked(NamedTuple):
    """One run.

    Attributes:
        model (int): Number of the model.
        id (str): Of the image.
        name (str): What people call the image.
        image (str | bytes): Path of its file, or what is in it.
        what_if (Sequence[dict]): Disturbances, see :func:`mmwhitebox.apis.explore`. Defaults to none.
    """
    model: int
    id: str
    name: str
    image: str | bytes
    what_if: Sequence[dict] = ()
