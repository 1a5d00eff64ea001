"""bfloat16 without a GPU."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmwhitebox.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast on the model's own device; parameters and optimizer stay float32.

    mmengine's ``AmpOptimWrapper`` asks for a GPU. bfloat16 has the exponents of float32 and needs no loss scaling,
    and CPUs with bfloat16 instructions gain from it too. Arguments as in ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a training step's forward pass."""
        with super().optim_context(model), torch.autocast(next(model.parameters()).device.type, torch.bfloat16):
            yield
