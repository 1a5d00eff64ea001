"""Attention modules: they own the parameters and call :mod:`mmwhitebox.ops`."""
from .agent import AgentAttention
from .base import BaseAttention, CrossAttention, SelfAttention, build_attention
from .cbsa import CBSA
from .channel import ChannelAttention
from .class_attention import ClassAttention
from .dmsa import DMSA
from .mhsa import MHSA
from .mssa import MSCA, MSSA
from .relu_linear import ReLULinearAttention
from .spectral import LinearAttention, SpectralAttention
from .tssa import TSSA

__all__ = [
    'CBSA', 'DMSA', 'MHSA', 'MSCA', 'MSSA', 'TSSA', 'AgentAttention', 'BaseAttention', 'ChannelAttention',
    'ClassAttention', 'CrossAttention', 'LinearAttention', 'ReLULinearAttention', 'SelfAttention', 'SpectralAttention',
    'build_attention'
]
