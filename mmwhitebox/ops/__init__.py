"""White-box operators as functions of tensors: no parameters, torch only.

An operator with more than one form is a folder: ``naive.py`` the equation, ``eager.py`` the fast form for any device,
``triton.py`` the kernels. :mod:`.dispatch` says which of them runs, and :func:`use` changes it around a model.
"""
from .agent import agent_attention
from .cbsa import broadcast, cbsa, contract, extract
from .channel import channel_attention
from .dispatch import use
from .dmsa import dmsa, dmsa_gate, dmsa_membership
from .ista import ista
from .mssa import msca, mssa
from .odl import odl
from .pool import adaptive_avg_pool, pool_representatives
from .relu_linear import relu_linear_attention
from .resampling import resize_positions
from .rope import rope_2d
from .softmax_attention import softmax_attention
from .sparsemax import sparsemax
from .spectral import spectral_attention
from .tssa import tssa, tssa_membership

__all__ = [
    'adaptive_avg_pool', 'agent_attention', 'broadcast', 'cbsa', 'channel_attention', 'contract', 'dmsa',
    'dmsa_gate', 'dmsa_membership', 'extract', 'ista', 'msca', 'mssa', 'odl', 'pool_representatives',
    'relu_linear_attention', 'resize_positions', 'rope_2d', 'softmax_attention', 'sparsemax',
    'spectral_attention', 'tssa', 'tssa_membership', 'use'
]
