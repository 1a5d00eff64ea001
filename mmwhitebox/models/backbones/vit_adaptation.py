"""Attention of linear cost for a pretrained ViT, its weights kept (CBSA, NeurIPS 2025, figure 9).

    'agent':              R = 8 x 8 pool of Q;  softmax(s Q R^T) softmax(s R K^T) V       no contraction, no step sizes
    'agent_contraction':  the same with V' = softmax(s R K^T) V contracted: softmax(s Q R^T) softmax(s V' V'^T) V'
    'relu_linear':        phi(Q) (phi(K)^T V), normalised, phi = relu

**reading**: the paper shows both with and without the contraction; the published code has it without, so where the
contraction stands is read from eq. 8.

Queries, keys, values and the output map are those of the ViT, under the names timm gives them, so every
checkpoint of the ViT is one of the adapted model and the other way round.
"""
from collections.abc import Sequence
from functools import partial

import timm.layers
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwhitebox.models.attention import AgentAttention, BaseAttention, ReLULinearAttention
from mmwhitebox.ops.dispatch import recompute_contexts


class AdaptedAttention(BaseAttention):
    """What the adapted attentions share: the parameters of a timm attention, and its patch grid.

    A timm block calls its attention with the tokens alone. The patch grid is therefore kept here while
    the block runs, see :func:`run_block`, and joins the arguments in a hook.
    """

    hw_shape: tuple[int, int] | None = None

    def adopt(self, attention: timm.layers.Attention) -> None:
        """Take over the parameters of a timm attention, under its names ``qkv`` and ``proj``.

        The dropout of the output stays; one of the attention matrix has no place, since there is none.
        """
        del self.to_out
        self.qkv, self.proj, self.proj_drop = attention.qkv, attention.proj, attention.proj_drop
        self.register_forward_pre_hook(self._add_grid, with_kwargs=True)

    @staticmethod
    def _add_grid(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return (args if len(args) > 1 else (*args, self.hw_shape)), {}

    def project_out(self, heads: Tensor) -> Tensor:
        return self.proj_drop(self.proj(self.merge_heads(heads)))


class AdaptedAgent(AdaptedAttention, AgentAttention):
    """Softmax attention through a pool of the queries.

    Args:
        attention (timm.layers.Attention): Attention of a ViT.
        pool_size (int): Side of the pool. Defaults to 8.
        pool_tokens (str): 'patch', or 'official' for the window of the published code, as in
            :class:`mmwhitebox.models.attention.CBSA`. Defaults to 'patch'.
        contraction (bool): As in :class:`mmwhitebox.models.attention.AgentAttention`. Defaults to False.
    """

    def __init__(self,
                 attention: timm.layers.Attention,
                 pool_size: int = 8,
                 pool_tokens: str = 'patch',
                 contraction: bool = False) -> None:
        super().__init__(
            attention.qkv.in_features, attention.num_heads, attention.head_dim, pool_size=pool_size,
            pool_tokens=pool_tokens, shared_qkv=False, contraction=contraction)
        self.adopt(attention)


class AdaptedReLULinear(AdaptedAttention, ReLULinearAttention):
    """Linear attention with ReLU features.

    Args:
        attention (timm.layers.Attention): Attention of a ViT.
    """

    def __init__(self, attention: timm.layers.Attention) -> None:
        super().__init__(attention.qkv.in_features, attention.num_heads, attention.head_dim)
        self.adopt(attention)


ADAPTATIONS = dict(agent=AdaptedAgent, agent_contraction=partial(AdaptedAgent, contraction=True),
                   relu_linear=AdaptedReLULinear)


def is_plain(attention: nn.Module) -> bool:
    """Whether an attention is Linear maps and a softmax: no norms, gates or rotary positions."""
    return type(attention) is timm.layers.Attention and attention.gate is None and all(
        isinstance(norm, nn.Identity) for norm in (attention.q_norm, attention.k_norm, attention.norm))


def adapt(vit: nn.Module, attention: str, **options) -> None:
    """Exchange the attention of every block.

    Args:
        vit (nn.Module): timm VisionTransformer.
        attention (str): A name in ``ADAPTATIONS``.
        **options: Arguments of the adapted attention.

    Raises:
        ValueError: The attention of the model is no plain one.
    """
    for block in vit.get_submodule('blocks').children():
        if not is_plain(getattr(block, 'attn', None)):
            raise ValueError(f"TimmViT: attention='{attention}' does not apply to a {type(vit).__name__} "
                             'whose attention is more than q, k, v, softmax and an output map.')
        block.attn = ADAPTATIONS[attention](block.attn, **options)


def run_block(block: nn.Module, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """A block on tokens (B, N, D) of an H x W grid, extra tokens first."""
    block.attn.hw_shape = hw_shape
    try:
        return block(x)
    finally:
        block.attn.hw_shape = None


def run_adapted(vit: nn.Module, images: Tensor, indices: Sequence[int],
                with_cp: bool) -> tuple[list[Tensor], tuple[int, int]]:
    """Forward pass of an adapted ViT.

    Args:
        vit (nn.Module): timm VisionTransformer with adapted attention, built for any image size.
        images (Tensor): (B, C, height, width).
        indices (Sequence[int]): Blocks whose output is returned; negative ones count from the last.
        with_cp (bool): Recompute activations in the backward pass to save memory.

    Returns:
        tuple[list[Tensor], tuple[int, int]]: The outputs after the final norm, (B, N, D), in the order of
        the blocks, and the patch grid (H, W).
    """
    x = vit.patch_embed(images)  # (B, H, W, D)
    hw_shape = tuple(x.shape[1:3])
    x = vit.norm_pre(vit.patch_drop(vit._pos_embed(x)))
    kept = {index % len(vit.blocks) for index in indices}
    outs = []
    for i, block in enumerate(vit.blocks):
        if with_cp and torch.is_grad_enabled():
            x = checkpoint(run_block, block, x, hw_shape, use_reentrant=False, context_fn=recompute_contexts)
        else:
            x = run_block(block, x, hw_shape)
        if i in kept:
            outs.append(vit.norm(x))
    return outs, hw_shape
