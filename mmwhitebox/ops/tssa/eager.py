r"""TSSA for any device, fast: see :mod:`mmwhitebox.ops.tssa` for the equations.

Backward, for the gradient Y of the output, with a = 1 / (1 + M) and S = sum_n Pi_kn. The squares W^2 and
Y * W are computed when they are needed and not kept: beyond W, the graph holds (B, K, N) and (B, K, 1, p).

    mu  = a^2 * (Pi^T (Y * W)) / S                              -dM, already weighted by 1 / S
    dPi = W^2 mu - (Y * W) a - sum_c mu_c M_c
    dL  = Pi * (dPi - sum_k Pi_k dPi_k),     dE = temp dL,      L = temp E; dtemp_k = sum_n dL_n E_n
    dW  = Pi * (2 mu W - a Y) + 2 W * (dE / q - rho),           rho = (dE^T W^2) / q^2
"""

import torch
from torch import Tensor

from ..autograd import FirstOrder, first_order
from ..precision import no_autocast, wide_dtype, wide_product
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


def scaled(w: Tensor, weights: Tensor, channels: Tensor) -> Tensor:
    """-(weights x channels) * W for weights (B, K, N) and channels (B, K, 1, p), in the dtype of W."""
    return (w * -channels).mul_(column(weights)).to(w.dtype)


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
        second_moment = weighted_sum(moment_weights, wide_product(w, w)) / total(pi)
        a = (1 + second_moment).reciprocal_()
        return scaled(w, weights, a), a

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    @first_order
    def backward(ctx, saved, y: Tensor, _):
        w, pi, gate, a = saved
        with no_autocast(w):
            weights = pi if gate is None else pi * gate
            product = wide_product(y, w)
            direct = channel_sum(product, a)  # (B, K, N)
            mu = a.square() * weighted_sum(weights, product) / total(pi)  # (B, K, 1, p)
            del product
            through_moment = channel_sum(wide_product(w, w), mu)  # (B, K, N)
            mean = (mu * (1 / a - 1)).sum(-1)  # (B, K, 1): sum_c mu_c M_c
            if gate is None:
                grad_pi, grad_gate = through_moment - direct - mean, None
            else:
                through_moment *= gate
                grad_pi = (through_moment - direct).mul_(gate).sub_(mean)
                grad_gate = through_moment.mul_(2).sub_(direct).mul_(pi)
            grad_w = w * (2 * mu)
            if gate is not None:
                grad_w *= column(gate)
            grad_w = grad_w.addcmul_(y.to(a.dtype), a, value=-1).mul_(column(weights))
            return grad_w.to(w.dtype), grad_pi, grad_gate


def scale_by_second_moment(w: Tensor, pi: Tensor, gate: Tensor | None = None) -> Tensor:
    """-(Pi G * W) / (1 + M), (B, K, N, p); arguments as of the naive form."""
    wide = wide_dtype(w)
    return _ScaleBySecondMoment.call(w, pi.to(wide), None if gate is None else gate.to(wide))[0]


def membership_statistics(squares: Tensor, temp: Tensor):
    """q, (B, K, 1, p), E, (B, K, N), and Pi, (B, K, N), from the squares W^2, (B, K, N, p)."""
    norms = squares.sum(-2, keepdim=True).clamp_min_(MIN_NORM)
    energy = channel_sum(squares, norms.reciprocal())
    return norms, energy, (temp * energy).softmax(1)


class _TSSA(FirstOrder):
    """Keeps W, temp, q, E, Pi and a = 1 / (1 + M)."""

    name = 'tssa'

    @staticmethod
    def forward(w: Tensor, temp: Tensor):
        squares = wide_product(w, w)
        norms, energy, pi = membership_statistics(squares, temp)
        a = (1 + weighted_sum(pi, squares) / total(pi)).reciprocal_()
        del squares
        return scaled(w, pi, a), norms, energy, pi, a

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        statistics = output[1:]
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(*inputs, *statistics)

    @staticmethod
    @first_order
    def backward(ctx, saved, y: Tensor, *_):
        w, temp, norms, energy, pi, a = saved
        with no_autocast(w):
            product = wide_product(y, w)
            direct = channel_sum(product, a)
            mu = a.square() * weighted_sum(pi, product) / total(pi)
            del product
            squares = wide_product(w, w)
            grad_pi = channel_sum(squares, mu) - direct - (mu * (1 / a - 1)).sum(-1)
            grad_logits = pi * (grad_pi - (pi * grad_pi).sum(1, keepdim=True))
            grad_temp = (grad_logits * energy).sum((0, 2)).unsqueeze(-1)
            grad_energy = temp * grad_logits
            rho = weighted_sum(grad_energy, squares) / norms / norms
            rho = torch.where(norms > MIN_NORM, rho, 0)  # the floor of the norm is a constant
            del squares
            pi = column(pi)
            factor = torch.addcmul(-2 * rho, column(grad_energy), 2 / norms).addcmul_(pi, 2 * mu)
            grad_w = factor.mul_(w).addcmul_(wide_product(y, a), pi, value=-1)
            return grad_w.to(w.dtype), grad_temp.to(temp.dtype)


def tssa(w: Tensor, temp: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.tssa`."""
    return _TSSA.call(w, temp)[0]
