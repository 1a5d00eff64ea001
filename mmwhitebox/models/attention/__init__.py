"""Attention modules: they own the parameters and call :mod:`mmwhitebox.ops`."""
from .base import BaseAttention, build_attention
from .cbsa import CBSA
from .mhsa import MHSA
from .mssa import MSCA, MSSA

__all__ = ['CBSA', 'MHSA', 'MSCA', 'MSSA', 'BaseAttention', 'build_attention']
