"""What encoders and decoders are stacked of: an attention with its norm, and what comes after it."""
import torch
from mmcv.cnn import build_norm_layer
from timm.layers import DropPath, LayerScale
from torch import Tensor, nn

from mmwhitebox.models.attention import ClassAttention, build_attention
from mmwhitebox.models.feedforward import MLP, build_feedforward
from mmwhitebox.models.unwatched import is_unwatched
from mmwhitebox.ops.dispatch import is_naive

XAVIER = dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.)
TRUNC_NORMAL = dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.)


def build_layer_scale(embed_dims: int, init_value: float) -> nn.Module:
    """A learned factor per channel, or nothing for 0."""
    return LayerScale(embed_dims, init_value) if init_value else nn.Identity()


def add_update(x: Tensor, update: Tensor, scale: nn.Module, drop_path: nn.Module) -> Tensor:
    """x + drop_path(scale(update)): scaled and added in one pass over the tokens, written out in the naive form."""
    if is_unwatched(scale, LayerScale) and not is_naive('auto'):
        return torch.addcmul(x, scale.gamma, drop_path(update))
    return x + drop_path(scale(update))


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each after its norm: (B, N, D) -> (B, N, D).

    The attention is a residual update; so is the feed-forward, unless it replaces the tokens (ISTA). Without a
    feed-forward (None) the layer is its attention alone. LayerScale and drop path act on the residual updates.
    """

    def __init__(self, embed_dims: int, num_heads: int, attention: dict, feedforward: dict | None, norm_cfg: dict,
                 layer_scale_init_value: float, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = build_attention(attention, embed_dims=embed_dims, num_heads=num_heads)
        if not self.attn.updates_all_tokens:
            raise ValueError(f'{type(self.attn).__name__} does not update every token, so it cannot be the '
                             'attention of an encoder layer.')
        self.norm2 = self.ffn = None
        if feedforward is not None:
            self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
            self.ffn = build_feedforward(feedforward, embed_dims=embed_dims)
        self.scale1 = build_layer_scale(embed_dims, layer_scale_init_value)
        self.scale2 = build_layer_scale(
            embed_dims, layer_scale_init_value if self.ffn is not None and self.ffn.is_residual else 0)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        x = add_update(x, self.attn(self.norm1(x), hw_shape), self.scale1, self.drop_path)
        if self.ffn is None:
            return x
        y = self.ffn(self.norm2(x))
        return add_update(x, y, self.scale2, self.drop_path) if self.ffn.is_residual else y


class TransposedLayer(nn.Module):
    """CRATE-MAE's decoder layer, an encoder layer run backwards: first the feed-forward's part, then the attention's.

        G = LN1(X) A^T,      X <- G - Attention(LN2(G))

    The layer of the encoder compresses, X + Attention(LN(X)), and then codes sparsely; this one leaves the code by
    :class:`.feedforward.DictionaryMap` and takes the compression back, hence the minus. (B, N, D) -> (B, N, D).
    """

    def __init__(self, embed_dims: int, num_heads: int, attention: dict, feedforward: dict, norm_cfg: dict) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = build_feedforward(feedforward, embed_dims=embed_dims)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = build_attention(attention, embed_dims=embed_dims, num_heads=num_heads)
        if not self.attn.updates_all_tokens or self.ffn.is_residual:
            raise ValueError(f'{type(self).__name__} takes an attention that updates every token and a feed-forward '
                             f'that replaces them, not {type(self.attn).__name__} and {type(self.ffn).__name__}.')

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        x = self.ffn(self.norm1(x))
        return x - self.attn(self.norm2(x), hw_shape)


class ClassAttentionLayer(nn.Module):
    """ToST's class-attention layer, as released, for a class token c and patches P.

        c <- c + gamma1 ClassAttention(LN1(c, P)),      P <- P + gamma1 LN1(P)
        c, P <- LN2(c), LN2(P)
        c <- c + gamma2 MLP(c),                         P <- 2 P
    """

    def __init__(self, embed_dims: int, num_heads: int, norm_cfg: dict,
                 layer_scale_init_value: float) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = ClassAttention(embed_dims, num_heads)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = MLP(embed_dims)
        self.scale1 = build_layer_scale(embed_dims, layer_scale_init_value)
        self.scale2 = build_layer_scale(embed_dims, layer_scale_init_value)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        y = self.norm1(x)
        x = x + self.scale1(torch.cat([self.attn(y, hw_shape), y[:, 1:]], dim=1))
        x = self.norm2(x)
        cls, patches = x[:, :1], x[:, 1:]
        return torch.cat([cls + self.scale2(self.ffn(cls)), 2 * patches], dim=1)


class AttentionLayer(nn.Module):
    """X + Attention(LayerNorm(X)): (B, N, D) -> (B, N, D)."""

    def __init__(self, embed_dims: int, attention: dict, norm_cfg: dict) -> None:
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = build_attention(attention, embed_dims=embed_dims)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        return x + self.attn(self.norm(x), hw_shape)


class CrossAttentionLayer(AttentionLayer):
    """Q + Attention(Q, LayerNorm(X)): (B, M, D) -> (B, M, D); the norm acts on the keys and values only (DEPICT-CA)."""

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        return queries + self.attn(queries, self.norm(x))
