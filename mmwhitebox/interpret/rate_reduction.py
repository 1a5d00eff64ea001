r"""Compressing all by contracting a few: does CBSA reduce both coding rates (CBSA, NeurIPS 2025, figure 6)?

In each head, one layer contracts its m representatives R and broadcasts the step to its N tokens W:

    representatives   R  ->  R + step_x C          with C = contract(R)
    tokens            W  ->  W + step_x A^T C
    reduction         R(before) - R(after)         R: the coding rate of that set; negative if it expands

**reading**: both are measured in the subspace, where the paper derives the step, before the output map mixes the
heads; the representatives take the step that they send to the tokens. 'tokens_after_layer' is what becomes of it: the
reduction from the layer's input to its tokens after the attention, both through the layer's norm and U.
"""
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmwhitebox.models.attention_layers import CompressionLayer, compression_layers
from mmwhitebox.ops import broadcast, contract, extract

from .capture import Call
from .coding_rate import coding_rate
from .plot_style import new_figure
from .running_moments import RunningMoments

REDUCTIONS = ('representatives', 'tokens', 'tokens_after_layer')


def representative_layers(model: nn.Module) -> list[CompressionLayer]:
    """Layers whose attention works through representatives (CBSA), in the order in which they run."""
    return [layer for layer in compression_layers(model) if hasattr(layer.attention, 'tokens_and_representatives')]


def cbsa_reduction(w: Tensor,
                   r0: Tensor,
                   step_rep: Tensor,
                   step_x: Tensor,
                   contraction: str | None = 'softmax',
                   eps_squared: float = 0.01) -> dict[str, Tensor]:
    """Reduction of the coding rates by one step of CBSA; arguments as in :func:`mmwhitebox.ops.cbsa`.

    Returns:
        dict[str, Tensor]: 'representatives' and 'tokens', each (B, K) float64, in nats.
    """
    a, r = extract(w, r0, step_rep)
    c = step_x * contract(r, contraction, eps_squared)
    return dict(
        representatives=coding_rate(r, eps_squared) - coding_rate(r + c, eps_squared),
        tokens=coding_rate(w, eps_squared) - coding_rate(w + broadcast(a, c), eps_squared))


@torch.no_grad()
def layer_reduction(layer: CompressionLayer, calls: dict[str, Call]) -> dict[str, Tensor]:
    """All of :data:`REDUCTIONS` of one layer.

    Args:
        layer (CompressionLayer): From :func:`representative_layers`.
        calls (dict[str, Call]): What its ``modules`` and its attention (under its name) did.

    Returns:
        dict[str, Tensor]: (B, K) float64 each.
    """
    attention, tokens = layer.attention, layer.tokens(calls)
    reduction = cbsa_reduction(
        *attention.tokens_and_representatives(*calls[layer.name].args), attention.step_rep, attention.step_x,
        attention.contraction, attention.eps_squared)
    before, after = (coding_rate(layer.project(tokens[stage]), attention.eps_squared)
                     for stage in ('input', 'attention'))
    return dict(**reduction, tokens_after_layer=before - after)


class Reductions:
    """Mean and standard deviation over images of the reductions of some layers, in constant memory.

    Args:
        layers (Sequence[CompressionLayer]): From :func:`representative_layers`.
        numbers (Sequence[int]): Their numbers, as shown.
        heads (Sequence[int], optional): Heads. Defaults to all.
    """

    def __init__(self, layers: Sequence[CompressionLayer], numbers: Sequence[int],
                 heads: Sequence[int] | None = None) -> None:
        self.layers, self.numbers, self.heads = list(layers), list(numbers), heads
        self.moments = [RunningMoments() for _ in self.layers]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What to give to :func:`mmwhitebox.interpret.capture`."""
        return {name: module for layer in self.layers
                for name, module in {**layer.modules, layer.name: layer.attention}.items()}

    def update(self, calls: dict[str, Call]) -> None:
        """Take in one forward pass, image by image."""
        for layer, moments in zip(self.layers, self.moments):
            reduction = layer_reduction(layer, calls)
            for image in torch.stack([reduction[name] for name in REDUCTIONS], -1).cpu():  # (K, 3)
                moments.update(image)

    def rows(self) -> Iterator[dict]:
        """One row for each layer and head: ``layer``, ``name``, ``head``, ``images``, each reduction and its std."""
        for number, layer, moments in zip(self.numbers, self.layers, self.moments):
            for head in self.heads or range(layer.attention.num_heads):
                values = {f'{name}{suffix}': value[head, i].item() for i, name in enumerate(REDUCTIONS)
                          for suffix, value in (('', moments.mean), ('_std', moments.std))}
                yield dict(layer=number, name=layer.name, head=head, images=moments.count, **values)


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson correlation; nan if there are fewer than two points or one of the two does not vary."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float('nan')
    return float(np.corrcoef(x, y)[0, 1])


def plot_reductions(rows: list[dict]) -> Figure:
    """Reduction of the tokens against that of the representatives: a dot a layer and head, error bars one std."""
    figure, axes = new_figure(2, width=4.0, height=3.5)
    titles = dict(tokens='Within the subspace', tokens_after_layer='After the whole layer')
    numbers = np.array([row['layer'] for row in rows])
    x, x_std = (np.array([row[f'representatives{suffix}'] for row in rows]) for suffix in ('', '_std'))
    for panel, (name, title) in zip(axes, titles.items()):
        y, y_std = (np.array([row[f'{name}{suffix}'] for row in rows]) for suffix in ('', '_std'))
        panel.axhline(0, color='0.6', linewidth=0.8)
        panel.axvline(0, color='0.6', linewidth=0.8)
        panel.errorbar(x, y, y_std, x_std, fmt='none', ecolor='0.7', elinewidth=0.8)
        dots = panel.scatter(x, y, c=numbers, cmap='viridis', vmax=max(numbers.max() * 1.1, 1), s=30, zorder=3,
                             edgecolors='white', linewidths=0.5)
        panel.set_title(f'{title}, r = {correlation(x, y):.2f}')
        panel.set_xlabel('reduction of the representatives (nats)')
        panel.set_ylabel('reduction of the tokens (nats)')
    shown = sorted(set(numbers.tolist()))
    bar = figure.colorbar(dots, ax=axes, ticks=shown[::-(-len(shown) // 12)])
    bar.set_label('layer', fontsize=9)
    return figure
