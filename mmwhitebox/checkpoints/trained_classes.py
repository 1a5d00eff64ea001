"""The names of the classes that a checkpoint was trained with, beside those that it meets."""
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmwhitebox.errors import CheckpointError, joined

MOST = 6


def trained_classes(checkpoint_meta: dict) -> list[str] | None:
    """Names of the classes in the ``meta`` of a checkpoint, where mmseg 1.x or 0.x writes them; None if there are none.
    """
    names = (checkpoint_meta.get('dataset_meta') or {}).get('classes') or checkpoint_meta.get('CLASSES')
    return [str(name) for name in names] if isinstance(names, (list, tuple)) and names else None


def compare_classes(checkpoint_meta: dict, classes: Sequence[Any] | None, path: str, refuse: bool = True) -> None:
    """Refuse a checkpoint whose outputs stand for the classes of a data set in another order; say if names differ.

    Args:
        checkpoint_meta (dict): ``meta`` of the checkpoint.
        classes (Sequence, optional): Names of the data set's classes; None is not compared.
        path (str): The checkpoint, for the message.
        refuse (bool): Another order is an error instead of a warning. Defaults to True.

    Raises:
        CheckpointError: Another order.
    """
    trained, met = trained_classes(checkpoint_meta), [str(name) for name in classes or ()]
    if not trained or not met or trained == met or len(trained) != len(met):
        return
    index = next(i for i, (one, other) in enumerate(zip(trained, met)) if one != other)
    where = f'label {index} is {trained[index]!r} there and {met[index]!r} in the data set'
    if sorted(trained) != sorted(met):
        print_log(f'Checkpoint {path} was trained with other names of classes ({where}).', 'current', logging.WARNING)
        return
    text = f'Checkpoint {path} was trained with these classes in another order ({where})'
    if refuse:
        names = joined([repr(name) for name in trained], MOST)
        raise CheckpointError(f'{text}, so every score would be of other classes: give metainfo.classes in the order '
                              f'of the checkpoint ({names}), with the labels to match.')
    print_log(f'{text}: the head starts with outputs of other classes.', 'current', logging.WARNING)
