r"""Agent Attention (ECCV 2024): softmax attention through m agents R0, linear in the number of tokens.

    V'  = softmax(s R0 K^T) V              the agents read the tokens
    out = softmax(s Q R0^T) V'             the tokens read the agents

With Q = K = V = W this is CBSA without its contraction and with a softmax of its own in the broadcast. The contraction
(eq. 8 of CBSA) can stand between the two: V' <- softmax(s V' V'^T) V'.
"""
from torch import Tensor

from .softmax_attention import softmax_attention


def agent_attention(q: Tensor, k: Tensor, v: Tensor, r0: Tensor, impl: str = 'auto',
                    contraction: bool = False) -> Tensor:
    """Attention of the tokens to each other through the agents.

    Args:
        q (Tensor): Queries, (B, K, N, p).
        k (Tensor): Keys, (B, K, N, p).
        v (Tensor): Values, (B, K, N, p).
        r0 (Tensor): Agents, (B, K, m, p), see :func:`mmwhitebox.ops.pool_representatives`.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.
        contraction (bool): What the agents have read attends to itself before the tokens read it. Defaults to False.

    Returns:
        Tensor: softmax(s Q R0^T) softmax(s R0 K^T) V, (B, K, N, p).
    """
    read = softmax_attention(r0, k, v, impl)
    if contraction:
        read = softmax_attention(read, read, read, impl)
    return softmax_attention(q, r0, read, impl)
