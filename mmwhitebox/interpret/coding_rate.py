r"""The coding rate of tokens, layer by layer (CRATE, NeurIPS 2023; CBSA, NeurIPS 2025, eq. 1, 2 and figure 5).

    R(W)   = 1/2 logdet(I + p / (N eps^2) W W^T)          W: N tokens of p dimensions, as rows
    R_c(Z) = sum_k R(Z U_k)                               compression term: what attention lowers
    R(Z)                                                  expansion term: all D dimensions of the tokens
    sparsity(Z) = share of entries of Z that are zero     what ISTA raises

det(I + A A^T) = det(I + A^T A), so the smaller of the two Gram matrices is used. The *normalised* rates scale
every token to unit length first: they depend on the angles between tokens alone. The published analysis code
has eps = 0.01 where the formula has eps^2; eps_squared = 0.01 gives its curves.

**reading**: the compression term after a layer's attention, or after its feed-forward, is that of the tokens
there, seen by the same layer: normalised by the layer's own norm and projected by its own U.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.models.layers import TransposedLayer
from mmwhitebox.ops.coding_rate import coding_rate as ops_coding_rate

from .capture import Call
from .plot_style import colour, layer_ticks, new_figure
from .running_moments import RunningMoments
from .subspaces import subspace_layers, subspace_projection

QUANTITIES = ('compression', 'compression_normalized', 'expansion', 'expansion_normalized', 'sparsity')
STAGES = ('input', 'attention', 'feedforward')


def coding_rate(w: Tensor, eps_squared: float = 0.01, normalize: bool = False) -> Tensor:
    """Coding rate of the tokens in each head, in nats; computed in float64.

    Args:
        w (Tensor): Projected tokens W, (..., N, p), e.g. (B, K, N, p).
        eps_squared (float): eps^2, the precision of the code. Defaults to 0.01.
        normalize (bool): Scale every token to unit length first; zero tokens stay zero. Defaults to False.

    Returns:
        Tensor: (...), e.g. (B, K) for each head; float64. Sum over the heads for the compression term.
    """
    x = w.double()
    return ops_coding_rate(F.normalize(x, dim=-1) if normalize else x, eps_squared)


def sparsity(z: Tensor) -> Tensor:
    """Share of exactly zero entries of each image's tokens, (B, N, D) -> (B,) float64.

    CRATE plots the rest, the non-zero share ||Z||_0 / (N D).
    """
    return (z == 0).double().mean((-2, -1))


@dataclass
class CompressionLayer:
    """A layer whose attention has subspaces: its parts that tell the tokens before, between and after its steps.

    Attributes:
        name (str): Name of the attention within the model.
        attention (nn.Module): It projects tokens by one map U.
        norm (nn.Module): The norm before it; its input are the tokens that enter the layer.
        next_norm (nn.Module, optional): The norm before the feed-forward; its input are the tokens after the
            attention. None in a layer of attention only.
        layer (nn.Module): Its output are the tokens that leave the layer.
        is_sparse (bool): Whether the feed-forward is ISTA.
    """

    name: str
    attention: nn.Module
    norm: nn.Module
    next_norm: nn.Module | None
    layer: nn.Module
    is_sparse: bool

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What to give to :func:`mmwhitebox.interpret.capture`."""
        parts = dict(norm=self.norm, layer=self.layer, **({'next_norm': self.next_norm} if self.next_norm else {}))
        return {f'{self.name}/{part}': module for part, module in parts.items()}

    def tokens(self, calls: dict[str, Call]) -> dict[str, Tensor]:
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

    Not among them: a ViT's layers, whose heads have no subspace, cross-attention, and CRATE-MAE's decoder, whose layers
    take the compression back.
    """
    found = []
    for name, attention in subspace_layers(model).items():
        layer = model.get_submodule(name.rpartition('.')[0])
        norm = getattr(layer, 'norm1', getattr(layer, 'norm', None))
        if attention.updates_all_tokens and norm is not None and not isinstance(layer, TransposedLayer):
            found.append(CompressionLayer(name, attention, norm, getattr(layer, 'norm2', None), layer,
                                          isinstance(getattr(layer, 'ffn', None), ISTA)))
    return found


@torch.no_grad()
def layer_rates(layer: CompressionLayer,
                calls: dict[str, Call],
                heads: Sequence[int] | None = None) -> dict[str, dict[str, Tensor]]:
    """Rates and sparsity at every stage of a layer.

    Args:
        layer (CompressionLayer): From :func:`compression_layers`.
        calls (dict[str, Call]): What its ``modules`` did, from :func:`mmwhitebox.interpret.capture`.
        heads (Sequence[int], optional): Heads that the compression term sums over. Defaults to all.

    Returns:
        dict[str, dict[str, Tensor]]: Stage -> quantity of :data:`QUANTITIES` -> (B,) float64. Sparsity is there
        after ISTA alone.
    """
    rates = {}
    for stage, z in layer.tokens(calls).items():
        w = layer.project(z)
        w = w if heads is None else w[:, list(heads)]
        rates[stage] = dict(
            compression=coding_rate(w).sum(1),
            compression_normalized=coding_rate(w, normalize=True).sum(1),
            expansion=coding_rate(z),
            expansion_normalized=coding_rate(z, normalize=True))
        if layer.is_sparse and stage == 'feedforward':
            rates[stage]['sparsity'] = sparsity(z)
    return rates


class RateCurves:
    """Mean and standard deviation over images of all rates of some layers, in constant memory.

    Args:
        layers (Sequence[CompressionLayer]): The layers.
        numbers (Sequence[int]): Their numbers, as shown.
        heads (Sequence[int], optional): See :func:`layer_rates`.
    """

    def __init__(self, layers: Sequence[CompressionLayer], numbers: Sequence[int],
                 heads: Sequence[int] | None = None) -> None:
        self.layers, self.numbers, self.heads = list(layers), list(numbers), heads
        self.moments = RunningMoments()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What to give to :func:`mmwhitebox.interpret.capture`."""
        return {name: module for layer in self.layers for name, module in layer.modules.items()}

    def update(self, calls: dict[str, Call]) -> None:
        """Take in one forward pass, image by image."""
        rates = [layer_rates(layer, calls, self.heads) for layer in self.layers]
        num_images = len(rates[0]['input']['compression'])
        table = np.full((num_images, len(rates), len(STAGES), len(QUANTITIES)), np.nan)
        for i, layer in enumerate(rates):
            for stage, quantities in layer.items():
                for quantity, values in quantities.items():
                    table[:, i, STAGES.index(stage), QUANTITIES.index(quantity)] = values.cpu()
        for image in table:
            self.moments.update(image)

    def curve(self, stage: str, quantity: str) -> tuple:
        """Mean and standard deviation over the images for each layer, (L,) each; nan where there is none."""
        index = (slice(None), STAGES.index(stage), QUANTITIES.index(quantity))
        return self.moments.mean[index], self.moments.std[index]

    def rows(self) -> Iterator[dict]:
        """One row for each layer and stage: ``layer``, ``name``, ``stage``, ``images``, every quantity and its std."""
        for i, (number, layer) in enumerate(zip(self.numbers, self.layers)):
            for s, stage in enumerate(STAGES):
                mean, std = self.moments.mean[i, s], self.moments.std[i, s]
                if np.isfinite(mean).any():
                    values = {f'{quantity}{suffix}': value[q].item() for q, quantity in enumerate(QUANTITIES)
                              for suffix, value in (('', mean), ('_std', std))}
                    yield dict(layer=number, name=layer.name, stage=stage, images=self.moments.count, **values)


def compression_verdict(rates: Sequence[float], numbers: Sequence[int] | None = None) -> str:
    """One sentence: whether the compression term falls over the later half of the layers (CBSA, section 4.1).

    Args:
        rates (Sequence[float]): R_c after the attention of each layer.
        numbers (Sequence[int], optional): Numbers of the layers. Defaults to 0, 1, ...
    """
    numbers = list(numbers or range(len(rates)))
    if len(rates) < 2:
        return 'One layer has no later half: the course of the compression term needs two.'
    start = (len(rates) - 1) // 2
    steps = np.diff(rates[start:])
    falling = int((steps < 0).sum())
    course = (f'from layer {numbers[start]} to layer {numbers[-1]} ({rates[start]:.1f} -> {rates[-1]:.1f}, falling in '
              f'{falling} of {len(steps)} steps)')
    if falling == len(steps):
        return f'The compression term falls over the later half of the layers, {course}.'
    if rates[-1] < rates[start]:
        return f'The compression term falls over the later half of the layers, but not in every step, {course}.'
    return f'The compression term does not fall over the later half of the layers, {course}.'


def plot_rates(curves: dict[str, RateCurves]) -> Figure:
    """Compression, its normalised form, expansion and sparsity against the layers, one colour a model.

    Lines are means over the images, bands one standard deviation: full lines with dots after the attention,
    dashed ones with squares after the feed-forward.
    """
    panels = {
        'compression': (r'Compression term $R_c$', 'nats'),
        'compression_normalized': (r'$R_c$, tokens of unit length', 'nats'),
        'expansion': (r'Expansion term $R$', 'nats'),
        'sparsity': ('Sparsity after ISTA', 'share of zero entries'),
    }
    if not any(np.isfinite(c.curve('feedforward', 'sparsity')[0]).any() for c in curves.values()):
        del panels['sparsity']
    figure, axes = new_figure(len(panels))
    for panel, (quantity, (title, label)) in zip(axes, panels.items()):
        for i, (name, course) in enumerate(curves.items()):
            for stage, style in (('attention', '-o'), ('feedforward', '--s')):
                mean, std = course.curve(stage, quantity)
                if np.isfinite(mean).any():
                    panel.plot(course.numbers, mean, style, color=colour(i), markersize=4, linewidth=1.6,
                               markerfacecolor=colour(i) if stage == 'attention' else 'white',
                               label=f'{name}, after {stage.replace("feedforward", "feed-forward")}')
                    panel.fill_between(course.numbers, mean - std, mean + std, color=colour(i), alpha=0.15, linewidth=0)
        panel.set_title(title)
        panel.set_ylabel(label)
        layer_ticks(panel, [number for course in curves.values() for number in course.numbers])
    if 'sparsity' in panels:
        axes[-1].set_ylim(0, 1)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=2, fontsize=9, frameon=False)
    return figure
