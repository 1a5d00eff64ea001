"""DMSA: attention with a membership that is learned apart from the subspaces."""

from torch import Tensor, nn

from mmwhitebox.models.sizes import check_choices
from mmwhitebox.ops import dmsa, dmsa_gate, dmsa_membership, rope_2d
from mmwhitebox.ops.dmsa import GATES, MEMBERSHIPS
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention


@ATTENTIONS.register_module()
class DMSA(SubspaceAttention):
    """Decoupled Membership-Subspace Attention (DMST), see :mod:`mmwhitebox.ops.dmsa`.

        S = X W_S (the full space),    L = rope(X) W_P (logits),    out = DMSA(S, L)

    The paper's ablations are settings of the two activations:

    =======  ==============  ========
    name     membership_act  gate_act
    =======  ==============  ========
    DMSA     'softmax'       'st'
    TPUSA    'st_tokens'     None
    TPSUSA   'st_tokens'     'st'
    =======  ==============  ========

    and its comparison of gates sets ``gate_act`` to 'st', 'sigmoid', 'relu' or 'gelu'.

    Args:
        embed_dims (int): Token width D; divisible by 4 with ``rope``.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of W_S; True in DMST, as in ToST. Defaults to False.
        membership_act (str, optional): Membership Pi from the logits: 'softmax' over the heads,
            'st_tokens', soft thresholding over the tokens, or None for Pi = 1, gated channel attention
            (eq. 19-21). Defaults to 'softmax'.
        gate_act (str, optional): Selection gate G from the logits: 'st', soft thresholding over the
            heads, 'sigmoid', 'relu', 'gelu', or None for G = 1. Defaults to 'st'.
        rope (bool): Rotate X by the position in the grid before W_P. Defaults to True.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.

    **reading**: W_P is one D -> K map without bias, the same logits give Pi and G, and the rotation is
    a 2-D axial one over all D features; the paper states none of them.
    """

    has_kernels = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 qkv_bias: bool = False,
                 membership_act: str | None = 'softmax',
                 gate_act: str | None = 'st',
                 rope: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, qkv_bias, impl=impl)
        check_choices(self, membership_act=(membership_act, MEMBERSHIPS), gate_act=(gate_act, GATES))
        if membership_act is None and gate_act is None:
            raise ValueError('DMSA: without membership_act and gate_act the logits have no use. '
                             "That operator is type='Channel'.")
        if rope and embed_dims % 4:
            raise ValueError(f'DMSA: rope needs embed_dims divisible by 4, got {embed_dims}. '
                             'Change it, or set rope=False.')
        self.membership_act = membership_act
        self.gate_act = gate_act
        self.rope = rope
        self.to_logits = nn.Linear(embed_dims, num_heads, bias=False)  # W_P

    def logits(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """L = rope(X) W_P, (B, K, N)."""
        self.check_tokens(x, hw_shape)
        return self.to_logits(rope_2d(x, hw_shape, impl=self.impl) if self.rope else x).transpose(1, 2)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        logits = self.logits(x, hw_shape)
        return self.project_out(
            dmsa(self.subspace_tokens(x), logits, self.membership_act, self.gate_act, self.impl))

    def membership(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Pi, (B, K, N): the share of every token in every subspace."""
        return dmsa_membership(self.logits(x, hw_shape), self.membership_act, self.impl)

    def gate(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """G, (B, K, N): how far every token selects every subspace."""
        return dmsa_gate(self.logits(x, hw_shape), self.gate_act, self.impl)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """N * p * K as for TSSA, which has the same second moment."""
        return (hw_shape[0] * hw_shape[1] + num_extra) * self.inner_dims
