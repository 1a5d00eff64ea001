"""What every attention module shares: heads, the token layout, and the errors about both."""
from abc import ABC, abstractmethod
from typing import Optional, Tuple

from torch import Tensor, nn

from mmwhitebox.registry import ATTENTIONS


class BaseAttention(nn.Module, ABC):
    """Base of the attention modules: owns the head layout, subclasses own parameters and call ops.

    Tokens are (B, N, D) with N = E + H*W: the E extra tokens (class tokens) first, then the H x W patch
    grid, row major.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K, one subspace each.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.

    Raises:
        ValueError: If ``embed_dims`` is not divisible by ``num_heads`` and ``head_dims`` is not given.
    """

    def __init__(self, embed_dims: int, num_heads: int, head_dims: Optional[int] = None) -> None:
        super().__init__()
        if head_dims is None:
            if embed_dims % num_heads:
                raise ValueError(
                    f'{type(self).__name__}: embed_dims ({embed_dims}) is not divisible by num_heads '
                    f'({num_heads}). Change one of them, or give head_dims explicitly.')
            head_dims = embed_dims // num_heads
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.head_dims = head_dims

    @property
    def inner_dims(self) -> int:
        """Width of all heads together, K*p."""
        return self.num_heads * self.head_dims

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, K*p) -> (B, K, N, p)."""
        return x.unflatten(-1, (self.num_heads, self.head_dims)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, K, N, p) -> (B, N, K*p)."""
        return x.transpose(1, 2).flatten(2)

    def check_tokens(self, x: Tensor, hw_shape: Tuple[int, int]) -> None:
        """Raise a ValueError if the tokens cannot be E >= 0 extra tokens and an H x W grid."""
        if x.dim() != 3 or x.shape[-1] != self.embed_dims:
            raise ValueError(f'{type(self).__name__} takes tokens of shape (B, N, {self.embed_dims}), '
                             f'got {tuple(x.shape)}.')
        h, w = hw_shape
        if h < 1 or w < 1 or x.shape[1] < h * w:
            raise ValueError(
                f'{type(self).__name__}: {x.shape[1]} tokens do not hold a patch grid of hw_shape='
                f'({h}, {w}), which needs {h * w} patch tokens after the extra tokens.')

    @abstractmethod
    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Attention output, (B, N, D), without a residual.

        Args:
            x (Tensor): Tokens after the block's norm, (B, N, D), extra tokens first.
            hw_shape (tuple[int, int]): Patch grid (H, W).
        """

    @abstractmethod
    def pairwise_similarities(self, hw_shape: Tuple[int, int], num_extra: int = 0) -> int:
        """Similarities one layer computes for one image (CBSA, NeurIPS 2025, table 4).

        Args:
            hw_shape (tuple[int, int]): Patch grid (H, W).
            num_extra (int): Number of extra tokens E. Defaults to 0.
        """


def build_attention(cfg: dict, **defaults) -> nn.Module:
    """Build an attention module from its config.

    Args:
        cfg (dict): ``type`` (a registered name, with or without the ``mmwhitebox.`` prefix, or a class)
            and the arguments of that class.
        **defaults: Arguments used unless ``cfg`` gives them, e.g. ``embed_dims``.

    Raises:
        KeyError: If the name is not registered; the message lists the known ones.
        TypeError: If an argument is not one of the class; the message names the class.
    """
    args = {**defaults, **cfg}
    name = args.pop('type', None)
    ATTENTIONS.import_from_location()
    known = ATTENTIONS.module_dict
    cls = known.get(str(name).removeprefix('mmwhitebox.')) if not isinstance(name, type) else name
    if cls is None:
        raise KeyError(f'Unknown attention type {name!r}. Known types: {", ".join(sorted(known))}.')
    try:
        return cls(**args)
    except TypeError as error:
        raise TypeError(f'{cls.__name__}: {error}') from error
