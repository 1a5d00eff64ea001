"""White-box operators as functions of tensors: no parameters, torch only, one file an operator."""
from .cbsa import broadcast, cbsa, contract, extract, pool_representatives
from .channel_attention import channel_attention
from .linear_attention import spectral_attention
from .mssa import msca, mssa

__all__ = [
    'broadcast', 'cbsa', 'channel_attention', 'contract', 'extract', 'msca', 'mssa',
    'pool_representatives', 'spectral_attention'
]
