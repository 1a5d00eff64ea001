"""Feed-forward modules: what a layer does after its attention, token by token."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.models.sizes import check_sizes
from mmwhitebox.ops import ista, odl
from mmwhitebox.ops.dispatch import check_form
from mmwhitebox.registry import FEEDFORWARDS, build_component


@FEEDFORWARDS.register_module()
class ISTA(nn.Module):
    """One proximal gradient step of sparse coding (CRATE, CBT), see :mod:`mmwhitebox.ops.ista`.

    Args:
        embed_dims (int): Token width D.
        eta (float): Step size. Defaults to 0.1.
        lam (float): Weight lambda of the sparsity term. Defaults to 0.1.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    is_residual = False
    """The output is the new token, not an update of it."""
    has_kernels = True

    def __init__(self, embed_dims: int, eta: float = 0.1, lam: float = 0.1, impl: str = 'auto') -> None:
        super().__init__()
        check_sizes(self, embed_dims=embed_dims)
        self.eta = eta
        self.lam = lam
        self.impl = check_form('ISTA', impl)
        self.weight = nn.Parameter(torch.empty(embed_dims, embed_dims))
        nn.init.kaiming_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """New tokens, (B, N, D), not negative."""
        return ista(x, self.weight, self.eta, self.lam, self.impl)


@FEEDFORWARDS.register_module()
class ODL(nn.Module):
    """Sparse coding in an overcomplete dictionary and a map back (CRATE-alpha), see :mod:`mmwhitebox.ops.odl`.

    Args:
        embed_dims (int): Token width d.
        ratio (int): Atoms of a dictionary over d: r. Defaults to 4.
        eta (float): Step size. Defaults to 0.1.
        lam (float): Weight lambda of the sparsity term. Defaults to 0.1.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.

    Both dictionaries start kaiming-uniform with d inputs, as in the published training: bound sqrt(6 / d).
    """

    is_residual = True

    def __init__(self, embed_dims: int, ratio: int = 4, eta: float = 0.1, lam: float = 0.1, impl: str = 'auto') -> None:
        super().__init__()
        check_sizes(self, embed_dims=embed_dims, ratio=ratio)
        self.eta = eta
        self.lam = lam
        self.impl = check_form('ODL', impl)
        self.dictionary = nn.Parameter(torch.empty(embed_dims, ratio * embed_dims))  # D
        self.dictionary_out = nn.Parameter(torch.empty(embed_dims, ratio * embed_dims))  # D1
        for dictionary in (self.dictionary, self.dictionary_out):
            nn.init.kaiming_uniform_(dictionary, mode='fan_out')  # torch counts the columns as inputs

    def forward(self, x: Tensor) -> Tensor:
        """Update of the tokens, (B, N, D), without a residual."""
        return odl(x, self.dictionary, self.dictionary_out, self.eta, self.lam, self.impl)


@FEEDFORWARDS.register_module()
class DictionaryMap(nn.Module):
    """Codes back to tokens: y = x A^T, the linear map of CRATE-MAE's decoder in the place that ISTA has in the encoder.

    Args:
        embed_dims (int): Token width D.

    A starts kaiming-uniform, as ISTA's dictionary.
    """

    is_residual = False
    """The output is the new token, not an update of it."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        check_sizes(self, embed_dims=embed_dims)
        self.weight = nn.Parameter(torch.empty(embed_dims, embed_dims))  # A
        nn.init.kaiming_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """New tokens, (B, N, D)."""
        return F.linear(x, self.weight)


@FEEDFORWARDS.register_module()
class MLP(nn.Module):
    """Linear - GELU - Linear.

    Args:
        embed_dims (int): Token width D.
        ratio (float): Hidden width over D. Defaults to 4.
    """

    is_residual = True

    def __init__(self, embed_dims: int, ratio: float = 4.) -> None:
        super().__init__()
        check_sizes(self, embed_dims=embed_dims)
        if int(embed_dims * ratio) < 1:
            raise ValueError(f'MLP: ratio={ratio} leaves no hidden channel.')
        self.fc1 = nn.Linear(embed_dims, int(embed_dims * ratio))
        self.fc2 = nn.Linear(int(embed_dims * ratio), embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Update of the tokens, (B, N, D), without a residual."""
        return self.fc2(F.gelu(self.fc1(x)))


def build_feedforward(cfg: dict, **defaults) -> nn.Module:
    """Build a feed-forward module from its config, see :func:`mmwhitebox.registry.build_component`."""
    return build_component(FEEDFORWARDS, cfg, **defaults)
