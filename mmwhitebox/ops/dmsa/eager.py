"""DMSA for any device, fast: the step shared with TSSA, with the gate inside; see :mod:`mmwhitebox.ops.dmsa`."""
from torch import Tensor

from ..tssa.eager import scale_by_second_moment
from .naive import dmsa_gate, dmsa_membership


def dmsa(s: Tensor,
         logits: Tensor,
         membership_act: str | None = 'softmax',
         gate_act: str | None = 'st') -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.dmsa`."""
    gate = None if gate_act is None else dmsa_gate(logits, gate_act)
    return scale_by_second_moment(s, dmsa_membership(logits, membership_act), gate)
