r"""The learned subspaces: how orthonormal each basis U_k is, and how far apart the subspaces of the heads are.

    orthonormality    e_k  = ||U_k^T U_k - I||_F                          0: orthonormal
                      e'_k = rms_{i != j} |cos(u_ki, u_kj)|               the same, whatever the lengths
    affinity          a_kl = ||Q_k^T Q_l||_F / sqrt(p)                    0: orthogonal subspaces, 1: the same
    principal angles  cos t_i = sigma_i(Q_k^T Q_l),    Q_k an orthonormal basis of span(U_k)

CBSA (NeurIPS 2025, section 2) assumes incoherent subspaces with orthonormal bases and learns U without a
constraint, so both are findings. Random directions in D dimensions have e' = 1/sqrt(D), a = sqrt(p/D).
"""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmwhitebox.models.attention_layers import subspace_projection

from .plot_style import colour, layer_ticks, new_figure


def subspace_bases(attention: nn.Module) -> Tensor:
    """U_k of every head: (K, D, p), columns are basis vectors; float64."""
    weight = subspace_projection(attention).weight.detach().double()
    return weight.unflatten(0, (attention.num_heads, attention.head_dims)).mT


def orthonormality_error(bases: Tensor) -> Tensor:
    """||U_k^T U_k - I||_F: (..., D, p) -> (...)."""
    gram = bases.mT @ bases
    return torch.linalg.matrix_norm(gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device))


def column_coherence(bases: Tensor) -> Tensor:
    """Root mean square cosine between the different columns of each basis: (..., D, p) -> (...), 0 to 1."""
    p = bases.shape[-1]
    return orthonormality_error(F.normalize(bases, dim=-2)) / max(p * (p - 1), 1)**0.5


def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Principal angles between subspaces, in degrees, the smallest first.

    Small angles are taken from sines and large ones from cosines, so none loses its digits.

    Args:
        a (Tensor): Bases, (..., D, p), columns linearly independent, p <= D.
        b (Tensor): Bases, (..., D, q); leading axes broadcast.

    Returns:
        Tensor: (..., min(p, q)), 0 to 90.
    """
    a, b = (a, b) if a.shape[-1] >= b.shape[-1] else (b, a)
    qa, qb = torch.linalg.qr(a)[0], torch.linalg.qr(b)[0]
    product = qa.mT @ qb
    cosines = torch.linalg.svdvals(product).clamp(max=1)  # falling: angles rise
    sines = torch.linalg.svdvals(qb - qa @ product).flip(-1).clamp(max=1)
    return torch.rad2deg(torch.where(cosines.square() > 0.5, sines.asin(), cosines.acos()))


def angle_matrix(bases: Tensor) -> Tensor:
    """Principal angles between all pairs of heads, in degrees: (K, D, p) -> (K, K, p)."""
    return principal_angles(bases[:, None], bases[None])


def affinity(angles: Tensor) -> Tensor:
    """Root mean square cosine of principal angles in degrees, ||Q_k^T Q_l||_F / sqrt(p): (..., p) -> (...)."""
    return torch.deg2rad(angles).cos().square().mean(-1).sqrt()


def subspace_rows(layers: dict[str, nn.Module],
                  indices: Sequence[int],
                  heads: list[int] | None = None) -> list[dict]:
    """The numbers of every layer and head.

    Args:
        layers (dict[str, nn.Module]): From :func:`mmwhitebox.models.attention_layers.subspace_layers`.
        indices (Sequence[int]): Number of each layer, as shown.
        heads (list[int], optional): Heads. Defaults to all.

    Returns:
        list[dict]: ``layer``, ``name``, ``head``, ``orthonormality_error`` (e), ``column_coherence`` (e') and
        its value for random columns, ``affinity`` (mean over the other heads) and its value for random
        subspaces, ``smallest_angle`` and ``mean_angle`` to the other heads in degrees (null for one head).
    """
    rows = []
    for index, (name, attention) in zip(indices, layers.items()):
        bases = subspace_bases(attention)
        _, dims, p = bases.shape
        angles = angle_matrix(bases)
        close, errors, coherence = affinity(angles), orthonormality_error(bases), column_coherence(bases)
        for head in heads or range(len(bases)):
            others = [k for k in range(len(bases)) if k != head]
            rows.append(dict(
                layer=index, name=name, head=head, orthonormality_error=errors[head].item(),
                column_coherence=coherence[head].item(), random_column_coherence=dims**-0.5,
                affinity=close[head, others].mean().item(), random_affinity=(p / dims)**0.5,
                smallest_angle=angles[head, others].min().item() if others else float('nan'),
                mean_angle=angles[head, others].mean().item()))
    return rows


def plot_subspaces(rows: list[dict]) -> Figure:
    """Curves over the layers: one dot a head, the line its mean, dotted what random subspaces would give."""
    panels = {
        'orthonormality_error': ('Basis against orthonormal', r'$\|U_k^T U_k - I\|_F$', None),
        'column_coherence': ('Coherence within a head', r'rms cosine of columns', 'random_column_coherence'),
        'affinity': ('Affinity between heads', r'$\|Q_k^T Q_l\|_F\,/\,\sqrt{p}$', 'random_affinity'),
    }
    figure, axes = new_figure(len(panels))
    numbers = sorted({row['layer'] for row in rows})
    for panel, (key, (title, label, random)) in zip(axes, panels.items()):
        by_layer = [[row[key] for row in rows if row['layer'] == number] for number in numbers]
        for number, values in zip(numbers, by_layer):
            panel.scatter([number] * len(values), values, s=14, color=colour(0), alpha=0.35, linewidths=0)
        panel.plot(numbers, [np.mean(values) for values in by_layer], color=colour(0), marker='o', markersize=4,
                   label='mean over heads')
        if random:
            expected = [next(row[random] for row in rows if row['layer'] == number) for number in numbers]
            panel.plot(numbers, expected, color='0.35', linestyle=':', label='random')
        panel.set_title(title)
        panel.set_ylabel(label)
        panel.set_ylim(0, 1 if key == 'affinity' else 1.25 * max(map(max, by_layer)) + 1e-6)
        layer_ticks(panel, numbers)
        panel.legend(fontsize=8, frameon=False)
    return figure


def plot_angles(layers: dict[str, nn.Module], indices: Sequence[int], heads: list[int] | None = None) -> Figure:
    """Mean principal angle between every two heads, one matrix a layer."""
    columns = min(len(layers), 6)
    rows = -(-len(layers) // columns)
    figure = Figure((1.9 * columns + 0.9, 2.15 * rows + 0.2), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat[len(layers):]:
        panel.axis('off')
    for panel, index, attention in zip(axes.flat, indices, layers.values()):
        chosen = heads or list(range(attention.num_heads))
        angles = angle_matrix(subspace_bases(attention)[chosen]).mean(-1).cpu().numpy()
        image = panel.imshow(angles, vmin=0, vmax=90, cmap='cividis')
        panel.set_title(f'layer {index}', fontsize=10)
        panel.set_xticks(range(len(chosen)), chosen, fontsize=8)
        panel.set_yticks(range(len(chosen)), chosen, fontsize=8)
        if len(chosen) <= 6:
            for (i, j), angle in np.ndenumerate(angles):
                panel.text(j, i, f'{angle:.0f}', ha='center', va='center', fontsize=8,
                           color='black' if angle > 50 else 'white')
    figure.supxlabel('head', fontsize=10)
    figure.supylabel('head', fontsize=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=(0, 30, 60, 90))
    bar.set_label('mean principal angle (degrees)', fontsize=9)
    return figure
