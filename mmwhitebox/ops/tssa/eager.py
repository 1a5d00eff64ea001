r"""TSSA for any device, fast: see :mod:`mmwhitebox.ops.tssa` for the equations.

Backward, for the gradient Y of the output, with a = 1 / (1 + M) and S = sum_n Pi_kn. The squares W^2 and
Y * W are computed when they are needed and not kept: beyond W, the graph holds (B, K, N) and (B, K, 1, p).

    mu  = a^2 * (Pi^T (Y * W)) / S                              -dM, already weighted by 1 / S
    dPi = W^2 mu - (Y * W) a - sum_c mu_c M_c
    dL  = Pi * (dPi - sum_k Pi_k dPi_k),     dE = temp dL,      L = temp E; dtemp_k = sum_n dL_n E_n
    dW  = Pi * (2 W dE / (Pi q) + 2 mu W - a Y) - 2 rho W,      rho = (dE^T W^2) / q^2

Long sequences go tile by tile, see :mod:`mmwhitebox.ops.tiles`: W comes from the memory once for each sum over all
tokens and once for the result.
"""
from functools import reduce

import torch
from torch import Tensor

from ..autograd import FirstOrder, first_order
from ..precision import no_autocast, wide_dtype, wide_product
from ..tiles import in_tiles, joined, products, tile_of, tiles
from .naive import EPS, MIN_NORM


def column(x: Tensor) -> Tensor:
    """(B, K, N) -> (B, K, N, 1), stored token by token as the projected tokens are."""
    return x.transpose(1, 2).contiguous().transpose(1, 2).unsqueeze(-1)


def weighted_sum(weights: Tensor, x: Tensor) -> Tensor:
    """Sum over the tokens, weights (B, K, N), x (B, K, N, p) -> (B, K, 1, p)."""
    return weights.unsqueeze(-2) @ x


def channel_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sum over the channels, x (B, K, N, p), weights (B, K, 1, p) -> (B, K, N)."""
    return (x @ weights.mT).squeeze(-1)


def total(pi: Tensor) -> Tensor:
    """sum_n Pi_kn, (B, K, 1, 1)."""
    return pi.sum(-1)[..., None, None] + EPS


def second_moment(weights: Tensor, w: Tensor, tile: int | None) -> Tensor:
    """Weighted sum of W^2 over the tokens, weights (B, K, N), w (B, K, N, p) -> (B, K, 1, p)."""
    return reduce(torch.add, (weighted_sum(part, square)
                              for (part, ), square in zip(tiles(tile, weights), products(tile, w, w))))


def scaled(w: Tensor, weights: Tensor, channels: Tensor, tile: int | None) -> Tensor:
    """-(weights x channels) * W for weights (B, K, N) and channels (B, K, 1, p), in the dtype of W."""
    return in_tiles(lambda w, weights, out: torch.mul(w, -channels, out=out).mul_(column(weights)), tile, w, w, weights)


def slopes(y: Tensor, w: Tensor, weights: Tensor, a: Tensor, tile: int | None) -> tuple[Tensor, Tensor]:
    """Sums of Y * W: over the channels weighted by a, (B, K, N), over the tokens by the weights, (B, K, 1, p)."""
    over_channels, over_tokens = [], []
    for (part, ), product in zip(tiles(tile, weights), products(tile, y, w)):
        over_channels.append(channel_sum(product, a))
        over_tokens.append(weighted_sum(part, product))
    return joined(over_channels), reduce(torch.add, over_tokens)


class _ScaleBySecondMoment(FirstOrder):
    """-(Pi G * W) / (1 + M), see :func:`scale_by_second_moment`, keeping W, Pi, G and a = 1 / (1 + M).

    mu  = a^2 * ((Pi G)^T (Y * W)) / S
    dPi = G * (G * W^2 mu - (Y * W) a) - sum_c mu_c M_c
    dG  = Pi * (2 G * W^2 mu - (Y * W) a)
    dW  = Pi G * (2 G mu W - a Y)
    """

    name = 'scale_by_second_moment'

    @staticmethod
    def forward(w: Tensor, pi: Tensor, gate: Tensor | None):
        weights = pi if gate is None else pi * gate
        moment_weights = weights if gate is None else weights * gate
        tile = tile_of(w)
        a = (1 + second_moment(moment_weights, w, tile) / total(pi)).reciprocal_()
        return scaled(w, weights, a, tile), a

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    @first_order
    def backward(ctx, saved, y: Tensor, _):
        w, pi, gate, a = saved
        tile = tile_of(w)
        with no_autocast(w):
            weights = pi if gate is None else pi * gate
            direct, slope = slopes(y, w, weights, a, tile)
            mu = a.square() * slope / total(pi)  # (B, K, 1, p)
            through_moment = joined([channel_sum(square, mu) for square in products(tile, w, w)])  # (B, K, N)
            mean = (mu * (1 / a - 1)).sum(-1)  # (B, K, 1): sum_c mu_c M_c
            if gate is None:
                grad_pi, grad_gate = through_moment - direct - mean, None
            else:
                through_moment *= gate
                grad_pi = (through_moment - direct).mul_(gate).sub_(mean)
                grad_gate = through_moment.mul_(2).sub_(direct).mul_(pi)

            def gradient(y: Tensor, w: Tensor, weights: Tensor, gate: Tensor | None, out: Tensor | None) -> Tensor:
                grad = torch.mul(w, 2 * mu, out=out)
                if gate is not None:
                    grad *= column(gate)
                return grad.addcmul_(y.to(a.dtype), a, value=-1).mul_(column(weights))

            return in_tiles(gradient, tile, w, y, w, weights, gate), grad_pi, grad_gate


def scale_by_second_moment(w: Tensor, pi: Tensor, gate: Tensor | None = None) -> Tensor:
    """-(Pi G * W) / (1 + M), (B, K, N, p); arguments as of the naive form."""
    wide = wide_dtype(w)
    return _ScaleBySecondMoment.call(w, pi.to(wide), None if gate is None else gate.to(wide))[0]


class _TSSA(FirstOrder):
    """Keeps W, temp, q, E, Pi and a = 1 / (1 + M)."""

    name = 'tssa'

    @staticmethod
    def forward(w: Tensor, temp: Tensor):
        tile = tile_of(w)
        squares = products(tile, w, w) if tile is not None else [wide_product(w, w)]  # one tile is squared once
        norms = reduce(torch.add, (square.sum(-2, keepdim=True) for square in squares)).clamp_min_(MIN_NORM)
        inverse = norms.reciprocal()
        energies, memberships, moments = [], [], []
        for square in squares if tile is None else products(tile, w, w):
            energies.append(channel_sum(square, inverse))
            memberships.append((temp * energies[-1]).softmax(1))
            moments.append(weighted_sum(memberships[-1], square))
        del squares, square
        energy, pi = joined(energies), joined(memberships)
        a = (1 + reduce(torch.add, moments) / total(pi)).reciprocal_()
        return scaled(w, pi, a, tile), norms, energy, pi, a

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        statistics = output[1:]
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(*inputs, *statistics)

    @staticmethod
    @first_order
    def backward(ctx, saved, y: Tensor, *_):
        w, temp, norms, energy, pi, a = saved
        tile = tile_of(w)
        with no_autocast(w):
            direct, slope = slopes(y, w, pi, a, tile)
            mu = a.square() * slope / total(pi)
            mean = (mu * (1 / a - 1)).sum(-1)
            temp_parts, ratio_parts, rho_parts = [], [], []
            for square, (direct_part, part, energies) in zip(products(tile, w, w), tiles(tile, direct, pi, energy)):
                grad_pi = channel_sum(square, mu) - direct_part - mean
                ratio = grad_pi - (part * grad_pi).sum(1, keepdim=True)  # dL / Pi
                grad_logits = part * ratio
                temp_parts.append((grad_logits * energies).sum((0, 2)).unsqueeze(-1))
                ratio_parts.append(temp * ratio)  # dE / Pi
                rho_parts.append(weighted_sum(temp * grad_logits, square))
            del square
            rho = reduce(torch.add, rho_parts) / norms / norms
            rho = torch.where(norms > MIN_NORM, rho, 0)  # the floor of the norm is a constant

            def gradient(y: Tensor, w: Tensor, pi: Tensor, ratio: Tensor, out: Tensor | None) -> Tensor:
                grad = torch.mul(w, 2 / norms, out=out).mul_(column(ratio)).addcmul_(w.to(a.dtype), 2 * mu)
                grad = grad.addcmul_(y.to(a.dtype), a, value=-1).mul_(column(pi))
                return grad.addcmul_(w.to(a.dtype), 2 * rho, value=-1)

            grad_w = in_tiles(gradient, tile, w, y, w, pi, joined(ratio_parts))
            return grad_w, reduce(torch.add, temp_parts).to(temp.dtype)


def tssa(w: Tensor, temp: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.tssa`."""
    return _TSSA.call(w, temp)[0]
