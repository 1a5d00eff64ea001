"""What autograd keeps of a computation for its backward pass."""
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def saved_storages(forward: Callable[[], Any], own: Iterable[Tensor] = ()) -> list[int]:
    """Bytes of every storage that autograd saves in ``forward``, each once.

    Args:
        forward (Callable): Runs the computation.
        own (Iterable[Tensor]): Tensors that are not counted, such as parameters and buffers.
    """
    left_out = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept = {}  # the storages stay alive, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in left_out:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # noqa: F841  held while the storages are counted
    return [storage.nbytes() for storage in kept.values()]
