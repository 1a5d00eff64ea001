r"""What an operator must do at least: bytes through memory and FLOPs, in closed form.

w is the size in bytes of one (B, N, K p) tensor: the projected tokens W, an output, or the gradient g of
an output. Statistics of the heads, (B, K, m, p) and (B, K, N), are left out: they are a few per cent.

``floor`` is one pass: every input is read once, every output written once. ``passes`` is what a form moves
that keeps nothing of the size of W between its passes over the tokens. A pass has to end before the next can
begin wherever every token waits for a sum over all tokens, so no fusion removes it once W is larger than the
caches.
"""
from dataclasses import dataclass

import pandas as pd

H200 = dict(bytes_per_second=4.8e12, flops_per_second=989e12)
"""Data-sheet peaks of an NVIDIA H200 SXM: HBM3e bandwidth, dense bf16 matrix products. Not measured."""


@dataclass(frozen=True)
class Shape:
    """Sizes of an operator call: batch B, tokens N, heads K, dimensions p of a head, representatives m."""

    batch: int
    tokens: int
    heads: int
    head_dims: int
    representatives: int = 64

    @property
    def elements(self) -> int:
        """Numbers in W."""
        return self.batch * self.tokens * self.heads * self.head_dims


# Bytes in units of w: one pass and with the passes that are needed, (forward, backward) each.
#   CBSA   forward: W for the pool, W to extract, W again to broadcast, out. Backward: W and g for the
#          gradient of C; W and g for those of W and R0, dW; the pool adds its share to dW, read and written.
#   TSSA   forward: W for the norms, W for the membership and the second moment, W for the output, out.
#          Backward: W and g three times for the same reasons in reverse, dW.
#   DMSA   forward: S for the second moment, S for the output, out: the logits alone give Pi and G.
#          Backward: S and g twice, dS.
#   MSSA   forward: W, out. Backward: W, out and g, dW. MHSA has Q, K and V in the place of W.
#   ISTA   forward: x, y. Backward: g, y for the sign, x, dx.
FLOOR = {'cbsa': (2, 3), 'tssa': (2, 3), 'dmsa': (2, 3), 'mssa': (2, 4), 'mhsa': (4, 8), 'ista': (2, 4)}
PASSES = {'cbsa': (4, 7), 'tssa': (4, 7), 'dmsa': (3, 5), 'mssa': (2, 4), 'mhsa': (4, 8), 'ista': (2, 4)}


def flops(op: str, shape: Shape) -> tuple[float, float]:
    """FLOPs of the forward and the backward pass, two per multiply-add; recomputed scores are counted.

    - CBSA: of m x p per token and head, four products forward (scores, A W, scores again, A^T C) and eight
      backward (scores and A g; scores, C g, dR W, A^T dR, dS^T R0, dS W); of m x m x p per head two and five.
    - MSSA, MHSA: of N x p per token and head, two forward and five backward (FlashAttention).
    - TSSA, DMSA: 10 and 20 per number in W, on the vector units.
    - ISTA: of D x D per token, one forward and two backward; of D x D x D one and three, for M.
    """
    b, n, k, p, m = shape.batch, shape.tokens, shape.heads, shape.head_dims, shape.representatives
    if op == 'cbsa':
        tokens, heads = 2 * b * k * n * m * p, 2 * b * k * m * m * p
        return 4 * tokens + 2 * heads, 8 * tokens + 5 * heads
    if op in ('mssa', 'mhsa'):
        product = 2 * b * k * n * n * p
        return 2 * product, 5 * product
    if op == 'ista':
        d = k * p
        return 2 * b * n * d * d + 2 * d**3, 4 * b * n * d * d + 6 * d**3
    return 10 * shape.elements, 20 * shape.elements


def least_work(op: str, shape: Shape, itemsize: int, training: bool) -> dict[str, float]:
    """Bytes of one pass (``floor``), bytes with all passes (``passes``) and FLOPs (``flops``) of a step.

    Args:
        op (str): 'cbsa', 'tssa', 'dmsa', 'mssa', 'mhsa' or 'ista'.
        shape (Shape): Sizes.
        itemsize (int): Bytes of a number.
        training (bool): Forward and backward; otherwise forward alone.
    """
    w, directions = shape.elements * itemsize, 2 if training else 1
    return dict(floor=w * sum(FLOOR[op][:directions]), passes=w * sum(PASSES[op][:directions]),
                flops=float(sum(flops(op, shape)[:directions])))


def least_time(work: dict[str, float], peaks: dict[str, float], which: str = 'floor') -> tuple[float, str]:
    """Seconds that the work takes at the peaks of a device, and which of its two sides binds.

    Args:
        work (dict): From :func:`least_work`.
        peaks (dict): ``bytes_per_second`` and ``flops_per_second``.
        which (str): 'floor' or 'passes'. Defaults to 'floor'.
    """
    moving, computing = work[which] / peaks['bytes_per_second'], work['flops'] / peaks['flops_per_second']
    return max((moving, 'memory'), (computing, 'compute'))


def roofline(tokens: int = 65536) -> pd.DataFrame:
    """Bytes, FLOPs and least times on an H200 in bf16, B = 1, K = 6, p = 64, m = 64."""
    rows = []
    for op in FLOOR:
        for training in (False, True):
            work = least_work(op, Shape(1, tokens, 6, 64), 2, training)
            (floor, side), (reachable, _) = (least_time(work, H200, which) for which in ('floor', 'passes'))
            rows.append({
                'operator': op.upper(), 'direction': 'forward + backward' if training else 'forward',
                'one pass, MB': work['floor'] / 1e6, 'its passes, MB': work['passes'] / 1e6,
                'GFLOP': work['flops'] / 1e9, 'floor, us': floor * 1e6, 'bound by': side,
                'its passes, us': reachable * 1e6, 'share at best, %': 100 * floor / reachable})
    return pd.DataFrame(rows)
