"""The attention layers of a built model, and those among them that compress all tokens in learned subspaces."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import timm.layers
from timm.layers.attention import AttentionRope
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from .access import shown_part
from .attention import AgentAttention, BaseAttention
from .attention.base import SubspaceProjection
from .feedforward import ISTA
from .layers import TransposedLayer

TIMM_ATTENTIONS = (timm.layers.Attention, AttentionRope, EvaAttention)


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Attention modules in the order in which they run: those of this package and those of timm's ViTs.

    Args:
        model (nn.Module): A segmentor, a classifier, a backbone or a head.

    Returns:
        dict[str, nn.Module]: Name within the model -> module; empty if there are none.
    """
    return {name: module for name, module in shown_part(model).named_modules()
            if isinstance(module, (BaseAttention, *TIMM_ATTENTIONS))}


def layer_numbers(model: nn.Module, names: Iterable[str]) -> list[int]:
    """Numbers of attention layers, given by name, among all of a model: what ``--layers`` takes and figures show."""
    order = list(attention_layers(model))
    return [order.index(name) for name in names]


def subspace_projection(attention: nn.Module) -> nn.Linear | None:
    """The map X U of an attention that uses one map in every role; None if it has no such map.

    White-box attentions and Agent Attention with ``shared_qkv`` have one. A ViT's queries, keys and values
    are three maps, so its heads have no subspace.
    """
    if isinstance(attention, SubspaceProjection):
        return attention.proj
    return attention.qkv if isinstance(attention, AgentAttention) and attention.shared_qkv else None


def subspace_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Attention modules with learned subspaces, name -> module, in the order in which they run."""
    return {name: attention for name, attention in attention_layers(model).items()
            if subspace_projection(attention) is not None}


@dataclass
class CompressionLayer:
    """A layer whose attention has subspaces: its parts that tell the tokens before, between and after its steps.

    Attributes:
        name (str): Name of the attention within the model.
        attention (nn.Module): It projects tokens by one map U.
        norm (nn.Module): The norm before it; its input are the tokens that enter the attention.
        next_norm (nn.Module, optional): The norm before the feed-forward; its input are the tokens after the
            attention. None in a layer that ends with its attention.
        layer (nn.Module): Its output are the tokens that leave the layer.
        is_sparse (bool): Whether the feed-forward is ISTA, so that these tokens are sparse.
    """

    name: str
    attention: nn.Module
    norm: nn.Module
    next_norm: nn.Module | None
    layer: nn.Module
    is_sparse: bool

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules whose calls tell the tokens, by the names that :meth:`tokens` looks up."""
        parts = dict(norm=self.norm, layer=self.layer, **({'next_norm': self.next_norm} if self.next_norm else {}))
        return {f'{self.name}/{part}': module for part, module in parts.items()}

    def tokens(self, calls: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tokens Z at each stage of the layer, (B, N, D): 'input', 'attention' and, if there is one, 'feedforward'."""
        first, last = calls[f'{self.name}/norm'].args[0], calls[f'{self.name}/layer'].output
        if self.next_norm is None:
            return dict(input=first, attention=last)
        return dict(input=first, attention=calls[f'{self.name}/next_norm'].args[0], feedforward=last)

    def project(self, z: Tensor) -> Tensor:
        """Tokens as this layer's subspaces see them, norm(Z) U_k: (B, N, D) -> (B, K, N, p)."""
        projection = subspace_projection(self.attention)
        x = self.norm(z.to(projection.weight.dtype))
        return self.attention.split_heads(projection(x))


def compression_layers(model: nn.Module) -> list[CompressionLayer]:
    """Layers whose attention compresses all tokens in learned subspaces, in the order in which they run.

    Not among them: a ViT's layers, whose heads have no subspace, and cross-attention.
    """
    found = []
    for name, attention in subspace_layers(model).items():
        layer = model.get_submodule(name.rpartition('.')[0])
        if isinstance(layer, TransposedLayer):  # its attention comes last
            norm, next_norm = layer.norm2, None
        else:
            norm, next_norm = getattr(layer, 'norm1', getattr(layer, 'norm', None)), getattr(layer, 'norm2', None)
        if attention.updates_all_tokens and norm is not None:
            found.append(CompressionLayer(name, attention, norm, next_norm, layer,
                                          isinstance(getattr(layer, 'ffn', None), ISTA)))
    return found
