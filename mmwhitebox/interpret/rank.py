r"""Rank of the extraction: how many different things the representatives of a head gather (CBSA, appendix A).

    A = softmax_tokens(s R0 W^T)                                                     (m x N) for each head
    rank(A) = number of singular values above 1e-3 of the largest                    (**reading**: the threshold)

Representatives that gather the same tokens make A low-rank, and so is what the head can send back. The paper finds that
of learned representatives, and that those of the pool reach min(m, p).
"""
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from .attention_map import representative_footprints
from .capture import Call
from .plot_style import colour, layer_ticks, new_figure
from .running_moments import RunningMoments

TOLERANCE = 1e-3


def numerical_rank(matrix: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """Number of singular values above ``tolerance`` of the largest; computed in float64.

    Args:
        matrix (Tensor): (..., m, N).
        tolerance (float): Defaults to 1e-3.

    Returns:
        Tensor: (...), int64; 0 for a matrix of zeros.
    """
    return torch.linalg.matrix_rank(matrix.double(), rtol=tolerance)


def representatives_of(attention: nn.Module) -> str:
    """Where the initial representatives of an attention come from: 'learned' or 'pool'."""
    return 'pool' if getattr(attention, 'representatives', None) is None else 'learned'


class Ranks:
    """Mean and standard deviation over images of the rank of every head's extraction, in constant memory.

    Args:
        layers (dict[str, nn.Module]): Attention layers with representatives (CBSA, Agent), by name.
        numbers (Sequence[int]): Their numbers, as shown.
        heads (Sequence[int], optional): Heads. Defaults to all.
    """

    def __init__(self, layers: dict[str, nn.Module], numbers: Sequence[int],
                 heads: Sequence[int] | None = None) -> None:
        self.modules, self.numbers, self.heads = layers, list(numbers), heads
        self.moments = [RunningMoments() for _ in layers]

    @torch.no_grad()
    def update(self, calls: dict[str, Call]) -> None:
        """Take in one forward pass, image by image."""
        for (name, attention), moments in zip(self.modules.items(), self.moments):
            for ranks in numerical_rank(representative_footprints(attention, calls[name].args)).cpu():  # (K, )
                moments.update(ranks)

    def rows(self) -> Iterator[dict]:
        """One row for each layer and head: ``layer``, ``name``, ``head``, ``images``, ``representatives`` (where they
        come from), ``m`` of them, head dimensions ``p``, ``rank`` and ``rank_std``."""
        for number, (name, attention), moments in zip(self.numbers, self.modules.items(), self.moments):
            for head in self.heads or range(attention.num_heads):
                yield dict(
                    layer=number, name=name, head=head, images=moments.count,
                    representatives=representatives_of(attention), m=attention.pool_size**2, p=attention.head_dims,
                    rank=moments.mean[head].item(), rank_std=moments.std[head].item())


def plot_ranks(rows: dict[str, list[dict]]) -> Figure:
    """Rank against the layers, a colour for each model: a dot a head, a line through the means, min(m, p) dashed."""
    figure, (panel, ) = new_figure(1, width=5.2, height=3.4)
    for i, (name, found) in enumerate(rows.items()):
        numbers = sorted({row['layer'] for row in found})
        of = {number: [row for row in found if row['layer'] == number] for number in numbers}
        shift = 0.12 * (i - (len(rows) - 1) / 2)  # dots of several models side by side
        panel.errorbar([row['layer'] + shift for row in found], [row['rank'] for row in found],
                       [row['rank_std'] for row in found], fmt='o', markersize=3.5, color=colour(i), alpha=0.6,
                       elinewidth=0.8)
        panel.plot(numbers, [np.mean([row['rank'] for row in of[n]]) for n in numbers], '-', color=colour(i),
                   linewidth=1.6, label=f'{name} ({found[0]["representatives"]})')
        panel.plot(numbers, [min(of[n][0]['m'], of[n][0]['p']) for n in numbers], '--', color=colour(i), linewidth=1)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_title('Rank of the extraction, dashed: min(m, p)')
    panel.set_ylabel('rank of A')
    layer_ticks(panel, [row['layer'] for found in rows.values() for row in found])
    figure.legend(*panel.get_legend_handles_labels(), loc='outside lower center', fontsize=9, frameon=False)
    return figure
