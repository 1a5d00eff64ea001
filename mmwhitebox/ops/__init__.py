"""White-box operators as functions of tensors: no parameters, torch only, one file an operator."""
from .agent_attention import agent_attention
from .cbsa import broadcast, cbsa, contract, extract, pool_representatives
from .channel_attention import channel_attention
from .dmsa import dmsa, dmsa_gate, dmsa_membership
from .ista import ista
from .linear_attention import spectral_attention
from .mssa import msca, mssa
from .relu_linear_attention import relu_linear_attention
from .resampling import adaptive_avg_pool, resize_positions
from .rope import rope_2d
from .sparsemax import sparsemax
from .tssa import scale_by_second_moment, tssa, tssa_membership

__all__ = [
    'adaptive_avg_pool', 'agent_attention', 'broadcast', 'cbsa', 'channel_attention', 'contract', 'dmsa',
    'dmsa_gate', 'dmsa_membership', 'extract', 'ista', 'msca', 'mssa', 'pool_representatives',
    'relu_linear_attention', 'resize_positions', 'rope_2d', 'scale_by_second_moment', 'sparsemax',
    'spectral_attention', 'tssa', 'tssa_membership'
]
