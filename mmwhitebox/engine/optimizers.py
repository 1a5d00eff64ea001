"""Optimizers that torch lacks: timm's Lion, as ``optimizer=dict(type='mmwhitebox.Lion', ...)``."""
from timm.optim import Lion

from mmwhitebox.registry import OPTIMIZERS

OPTIMIZERS.register_module(module=Lion)
