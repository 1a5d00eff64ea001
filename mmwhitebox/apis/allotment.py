"""A bound on what building a model of a stranger may take: its config may claim any size, its weights have one."""
from typing import Any

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.errors import CheckpointError

from .data import building

OF_A_SIZE = {f'aten::{name}' for name in ('empty', 'zeros', 'ones', 'full', 'rand', 'randn', 'eye')}
# For every byte and every tensor of the weights; initial values take some, too. Small models get the second number.
BYTES, LEAST_BYTES = 16, 1 << 28
CALLS, LEAST_CALLS = 100, 5000


class Allotment(TorchDispatchMode):
    """A context in which new tensors may have so many bytes in all; what asks for more is refused before it is made.

    Args:
        most_bytes (int): Of all tensors that are made.
        most_calls (int): Calls of torch's operators.
        source (str): What is built, for the message.
    """

    def __init__(self, most_bytes: int, most_calls: int, source: str) -> None:
        super().__init__()
        self.bytes = most_bytes
        self.calls = most_calls
        self.source = source

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls -= 1
        wanted = 0
        if func.overloadpacket._qualified_op_name in OF_A_SIZE and args:
            wanted = 4
            for side in args[0] if isinstance(args[0], (list, tuple)) else args[:2]:
                wanted *= int(side)
        if wanted > self.bytes or self.calls < 0:
            raise CheckpointError(f'{self.source} was refused: its config describes a model far larger than its '
                                  'weights.')
        made = func(*args, **(kwargs or {}))
        if not any(result.alias_info for result in func._schema.returns):
            self.bytes -= sum(leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        return made


def built(cfg: Config) -> Any:
    """The model of a config, built in its scope; one of a pretrained folder within bounds.

    Raises:
        CheckpointError: It takes far more than its weights do.
        ConfigError: It cannot be built with its values.
    """
    weights = cfg.get('pretrained_weights')
    with building(cfg):
        if weights is None:
            return revert_sync_batchnorm(MODELS.build(cfg.model))
        folder = weights['folder']
        try:
            with named_build_errors(cfg), Allotment(max(BYTES * weights['bytes'], LEAST_BYTES),
                                                    CALLS * weights['tensors'] + LEAST_CALLS, folder):
                return revert_sync_batchnorm(MODELS.build(cfg.model))
        except (MemoryError, RecursionError) as error:
            raise CheckpointError(f'{folder}: its model cannot be built ({type(error).__name__}).') from error
