r"""Compression seen in space: points of several classes in R^3, moved step by step by the operators (CBSA, figure 4).

In each class, in the ambient space: one head of p = 3 dimensions, no parameters (W = Z, N points, c = p/(N eps^2)).

    linear     Z <- Z - eta Z (I + c Z^T Z)^{-1}                     eq. 12
    channel    Z <- Z - eta Z / (1 + c sum_n z_ni^2)                 eq. 13: the same along fixed axes
    MSSA       Z <- (1 - eta) Z + eta softmax(s Z Z^T) Z             eq. 9
    CBSA       Z <- (1 - eta) Z + eta A'^T softmax(s R R^T) R        eq. 5, 6, 8

**reading**: eq. 12 and 13 are gradients of the coding rate, so a step goes against them; with eta = 1 a direction
without variance vanishes at once. Eq. 8 and 9 are the softmax form of that gradient, a point minus its neighbours'
mean, so the step goes from the point towards them (CRATE, NeurIPS 2023). In a network the learned steps of CBSA set
the weights; here every mean is convex: R = (1 - eta) R0 + eta A Z, and A' is A with the coefficients of each point
scaled to sum to one. There is no grid to pool: R0 are m = 16 of the points, evenly spaced in their order.

A variance v shrinks by about 2 eta eps^2 / p a step in eq. 12, and the last of it at the rate 1 - eta: the directions
of a class vanish one after the other, the least first, and what is left last is a line.
"""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from mmwhitebox.ops import broadcast, channel_attention, contract, extract, mssa, spectral_attention

from .coding_rate import coding_rate
from .plot_style import colour, new_figure
from .subspaces import principal_angles

NUM_REPRESENTATIVES = 16
EPS_SQUARED = 0.1
"""Precision for points of variance 1 to 4; tokens after a LayerNorm are measured at 0.01."""
SPREAD = 2., 1., 0.15
"""Standard deviations of the points of a class, along its plane and across it."""
ENERGY = 0.95
"""Share of the energy of a class that its subspace holds."""


def linear_step(z: Tensor, eta: float, eps_squared: float) -> Tensor:
    """Eq. 12: (..., N, p) -> (..., N, p)."""
    return z - eta * spectral_attention(z, eps_squared)


def channel_step(z: Tensor, eta: float, eps_squared: float) -> Tensor:
    """Eq. 13: (..., N, p) -> (..., N, p)."""
    return z - eta * channel_attention(z, eps_squared)


def mssa_step(z: Tensor, eta: float, eps_squared: float) -> Tensor:
    """Eq. 9: (..., N, p) -> (..., N, p); the softmax form has no eps."""
    return (1 - eta) * z + eta * mssa(z)


def cbsa_step(z: Tensor, eta: float, eps_squared: float) -> Tensor:
    """Eq. 5, 6, 8: (..., N, p) -> (..., N, p); the softmax form has no eps."""
    n = z.shape[-2]
    m = min(NUM_REPRESENTATIVES, n)
    r0 = z[..., torch.arange(m) * n // m, :]
    a, r = extract(z, r0, torch.ones((), dtype=z.dtype))
    c = contract((1 - eta) * r0 + eta * (r - r0))
    return (1 - eta) * z + eta * broadcast(a / a.sum(-2, keepdim=True), c)


STEPS: dict[str, Callable] = {
    'linear attention': linear_step,
    'channel attention': channel_step,
    'CBSA': cbsa_step,
    'MSSA': mssa_step,
}


def make_classes(num_classes: int = 3, num_points: int = 150, seed: int = 0) -> Tensor:
    """Points of several classes in R^3, each near a plane through the origin, longer one way than the other.

    Args:
        num_classes (int): Defaults to 3.
        num_points (int): Points N of a class. Defaults to 150.
        seed (int): Of the points; the planes are the same for every seed. Defaults to 0.

    Returns:
        Tensor: (num_classes, N, 3) float64.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor(SPREAD, dtype=torch.float64)
    points = torch.randn(num_classes, num_points, 3, generator=generator, dtype=torch.float64) * spread
    # Long directions evenly around the space diagonal, far from the axes and from each other.
    turn = torch.arange(num_classes, dtype=torch.float64) * 2 * torch.pi / num_classes
    long = torch.stack([turn.cos(), turn.sin(), torch.full_like(turn, 0.6)], -1)
    short = torch.stack([-turn.sin(), turn.cos(), torch.full_like(turn, 0.9)], -1)
    axes = torch.linalg.qr(torch.stack([long, short, torch.linalg.cross(long, short)], -1))[0]
    return points @ axes.mT


def iterate(points: Tensor, step: Callable, iterations: int, eta: float, eps_squared: float = EPS_SQUARED) -> Tensor:
    """All states of the points: (C, N, 3) -> (iterations + 1, C, N, 3), the first is the input."""
    states = [points]
    for _ in range(iterations):
        states.append(step(states[-1], eta, eps_squared))
    return torch.stack(states)


def class_subspace(points: Tensor) -> Tensor:
    """Orthonormal basis of the fewest principal directions that hold :data:`ENERGY`: (N, 3) -> (3, d)."""
    _, s, vt = torch.linalg.svd(points, full_matrices=False)
    held = s.square().cumsum(0) / s.square().sum()
    return vt[:int((held < ENERGY).sum()) + 1].mT


def separation(points: Tensor) -> list[dict]:
    """The subspaces of every two classes: ``classes``, their dimensions ``dims``, principal ``angles`` in degrees.

    Args:
        points (Tensor): (C, N, 3).
    """
    bases = [class_subspace(p) for p in points]
    return [dict(classes=[i, j], dims=[bases[i].shape[1], bases[j].shape[1]],
                 angles=principal_angles(bases[i], bases[j]).tolist())
            for i in range(len(bases)) for j in range(i + 1, len(bases))]


def rates(states: Tensor, eps_squared: float = EPS_SQUARED) -> dict[str, Tensor]:
    """Coding rates of states (T, C, N, 3): compression, the sum over the classes, and expansion, (T,) each."""
    return dict(compression=coding_rate(states, eps_squared).sum(1),
                expansion=coding_rate(states.flatten(1, 2), eps_squared))


def _scatter(panel, points: Tensor, limit: float, azimuth: float) -> None:
    """One state in a cube without ticks."""
    for i, cloud in enumerate(points.numpy()):
        panel.scatter(*cloud.T, s=8, color=colour(i), alpha=0.55, linewidths=0, depthshade=False)
    panel.set(xlim=(-limit, limit), ylim=(-limit, limit), zlim=(-limit, limit), xticks=[], yticks=[], zticks=[])
    for axis in (panel.xaxis, panel.yaxis, panel.zaxis):
        axis.set_pane_color((0.96, 0.96, 0.97))
        axis.line.set_color('0.7')
    panel.set_box_aspect((1, 1, 1), zoom=1.25)
    panel.view_init(elev=22, azim=azimuth)


def _limit(states: dict[str, Tensor]) -> float:
    """Half the side of the cube: most points of the first state fit."""
    return float(next(iter(states.values()))[0].abs().flatten().quantile(0.995))


def plot_states(states: dict[str, Tensor], shown: Sequence[int]) -> Figure:
    """Chosen iterations from left to right, one operator a row, one colour a class."""
    figure = Figure((1.9 * len(shown), 2.05 * len(states)))
    figure.subplots_adjust(left=0.05, right=1, bottom=0, top=0.94, wspace=0, hspace=0.02)
    for row, (name, path) in enumerate(states.items()):
        for column, t in enumerate(shown):
            panel = figure.add_subplot(len(states), len(shown), row * len(shown) + column + 1, projection='3d')
            _scatter(panel, path[t], _limit(states), -60)
            if row == 0:
                panel.set_title(f'iteration {t}' if t else 'points', fontsize=11)
            if column == 0:
                panel.text2D(-0.06, 0.5, name, transform=panel.transAxes, rotation=90, va='center', ha='center',
                             fontsize=11)
    return figure


def plot_synthetic_rates(states: dict[str, Tensor], eps_squared: float = EPS_SQUARED) -> Figure:
    """Compression and expansion term against the iteration, one line an operator."""
    figure, axes = new_figure(2, width=3.8)
    for i, (name, path) in enumerate(states.items()):
        for panel, values in zip(axes, rates(path, eps_squared).values()):
            panel.plot(values.numpy(), color=colour(i), linewidth=1.8, label=name)
    for panel, title in zip(axes, ('Compression term, sum over classes', 'Expansion term, all points')):
        panel.set_title(title)
        panel.set_xlabel('iteration')
        panel.set_ylabel('nats')
        panel.set_ylim(bottom=0)
    axes[0].legend(fontsize=9, frameon=False)
    return figure


def draw_frame(states: dict[str, Tensor], t: int) -> Figure:
    """One frame of the animation: all operators side by side at iteration t, the view turning slowly."""
    figure = Figure((2.4 * len(states), 2.75), dpi=100)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.86, wspace=0)
    count = len(next(iter(states.values())))
    for i, (name, path) in enumerate(states.items()):
        panel = figure.add_subplot(1, len(states), i + 1, projection='3d')
        _scatter(panel, path[t], _limit(states), -60 + 60 * t / count)
        panel.set_title(name, fontsize=11)
    figure.text(0.005, 0.02, f'iteration {t}', fontsize=10, family='monospace')
    return figure


def save_animation(frames: Sequence[np.ndarray], path: str) -> None:
    """Write frames, (h, w, 3) uint8 each, as an endless GIF that rests on its last frame."""
    images = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    durations = [90] * (len(images) - 1) + [2000]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)
