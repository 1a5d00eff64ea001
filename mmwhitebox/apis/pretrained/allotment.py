"""A bound on what building a model may take: its config may claim any size, its weights have one."""
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmwhitebox.errors import CheckpointError


class Allotment(TorchDispatchMode):
    """A context in which new tensors may have so many bytes in all; what asks for more is refused before it is made.

    Args:
        most (int): Bytes.
        source (Path): What is built, for the message.
    """

    def __init__(self, most: int, source: Path) -> None:
        super().__init__()
        self.left = most
        self.source = source

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket._qualified_op_name in ('aten::empty', 'aten::zeros', 'aten::ones', 'aten::full',
                                                      'aten::rand', 'aten::randn', 'aten::eye') and args:
            size = args[0] if isinstance(args[0], (list, tuple)) else args[:1]
            count = 4
            for side in size:
                count *= side
            self._check(count)
        made = func(*args, **(kwargs or {}))
        if not any(result.alias_info for result in func._schema.returns):
            self.left -= sum(leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
            self._check(0)
        return made

    def _check(self, wanted: int) -> None:
        if wanted > self.left:
            raise CheckpointError(f'{self.source} was refused: its config describes a model far larger than its '
                                  'weights.')
