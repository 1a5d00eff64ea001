"""Cases of single operators: what lies between the projection of the tokens and the map back, over N.

The operators are our attention modules with identities in the place of their two maps; inputs lie in memory as
a projection leaves them, (B, N, K p), heads not yet apart. ISTA is whole: its product is the operator.
"""
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.models.attention import DMSA
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS

from .cases import Case, Contestant, Settings, Unable
from .models import contestant_of
from .roofline import Shape, least_work

OPERATORS = ('cbsa', 'tssa', 'dmsa', 'ista', 'mssa', 'mhsa')
QUADRATIC = ('mssa', 'mhsa')
FORMS = ('ours', 'ours-compiled', 'ours-fused', 'plain')
DEFAULT_FORMS = ('ours', 'ours-fused', 'plain')
HALF = '-half'  # at half the tokens, in the same rounds: how the time of an operator grows
COMPARED_TOKENS = 4096  # quadratic operators are compared up to here


class WhiteBox(nn.Module):
    """A white-box attention of ours without its maps: (B, N, K p) -> (B, N, K p).

    Args:
        attention (nn.Module): Its maps become identities.
        hw_shape (tuple[int, int]): Grid of the tokens.
    """

    def __init__(self, attention: nn.Module, hw_shape: tuple[int, int]) -> None:
        super().__init__()
        self.attention = attention
        self.attention.proj = nn.Identity()
        self.attention.to_out = nn.Identity()
        self.hw_shape = hw_shape

    def forward(self, w: Tensor) -> Tensor:
        return self.attention(w, self.hw_shape)


class WhiteBoxWithLogits(WhiteBox):
    """DMSA without its maps: the logits (B, N, K) are an input, as its Linear leaves them."""

    def __init__(self, attention: DMSA, hw_shape: tuple[int, int]) -> None:
        super().__init__(attention, hw_shape)
        self.attention.to_logits = nn.Identity()

    def forward(self, s: Tensor, logits: Tensor) -> Tensor:
        self.attention.logits = lambda x, hw_shape: logits.transpose(1, 2)
        return self.attention(s, self.hw_shape)


class DotProduct(nn.Module):
    """MHSA without its maps: torch's scaled_dot_product_attention, FlashAttention on a GPU."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, qkv: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in qkv.chunk(3, dim=-1))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def grid_of(tokens: int) -> tuple[int, int]:
    """The grid (H, W) of that many tokens that is nearest to a square."""
    height = next(h for h in range(math.isqrt(tokens), 0, -1) if tokens % h == 0)
    return height, tokens // height


def operator(op: str, shape: Shape) -> nn.Module:
    """One operator with random parameters, on the CPU."""
    if op == 'mhsa':
        return DotProduct(shape.heads)
    kinds = dict(
        cbsa=dict(type='CBSA', pool_size=math.isqrt(shape.representatives)), tssa=dict(type='TSSA'),
        dmsa=dict(type='DMSA', rope=False), mssa=dict(type='MSSA'), ista=dict(type='ISTA'))
    cfg = dict(kinds[op], embed_dims=shape.heads * shape.head_dims)
    if op == 'ista':
        return FEEDFORWARDS.build(cfg)
    module = ATTENTIONS.build(dict(cfg, num_heads=shape.heads))
    return (WhiteBoxWithLogits if op == 'dmsa' else WhiteBox)(module, grid_of(shape.tokens))


def too_large(op: str, form: str, shape: Shape, mode: str, settings: Settings,
              done: Sequence[dict]) -> str | None:
    """Why a call of a quadratic operator is not tried; None if it is.

    Args:
        op (str): Operator.
        form (str): Its form.
        shape (Shape): Sizes.
        mode (str): 'inference' or 'training'.
        settings (Settings): For the device and the budget.
        done (Sequence[dict]): Cases measured before, with fewer tokens: time grows with their square.
    """
    if op not in QUADRATIC:
        return None
    name = name_of(op, form)
    for case in reversed(done):
        row = case['contestants'].get(name, {})
        if case['labels']['mode'] == mode and row.get('seconds'):
            expected = min(row['seconds']) * (shape.tokens / case['labels']['tokens'])**2
            if expected > settings.call_budget:
                return f'skipped: one call would take about {expected:.0f} s'
            break
    return None


def forms_of(op: str) -> tuple[str, ...]:
    """The forms that an operator has; those of softmax attention are torch's fused one in any form."""
    return {'mhsa': ('ours', ), 'mssa': ('ours', 'ours-compiled')}.get(op, FORMS)


def name_of(op: str, form: str) -> str:
    """Name of a contestant: 'cbsa' in our eager form, 'cbsa-fused', 'cbsa-compiled', 'cbsa-plain'."""
    return op + {'ours': '', 'plain': '-plain'}.get(form, form.removeprefix('ours'))


def allowed(skip: str | None, name: str, module: nn.Module, inputs: tuple[Tensor, ...],
            settings: Settings) -> Contestant:
    """The contestant, unless there is a reason to skip it."""
    if skip is not None:
        raise Unable(skip)
    return contestant_of(name, module, inputs, settings)


def operator_case(ops: Sequence[str], shape: Shape, mode: str, wanted: Sequence[str], settings: Settings,
                  done: Sequence[dict]) -> Case:
    """All operators on the same number of tokens, against the equations in plain torch and MHSA.

    Beside the linear ones runs the same on half the tokens.

    Args:
        ops (Sequence[str]): Of :data:`OPERATORS`.
        shape (Shape): Sizes.
        mode (str): 'inference' (forward) or 'training' (forward and backward).
        wanted (Sequence[str]): Of :data:`FORMS`; 'ours' always takes part.
        settings (Settings): For the device.
        done (Sequence[dict]): Cases measured before, see :func:`too_large`.
    """
    torch.manual_seed(0)
    training, width = mode == 'training', shape.heads * shape.head_dims
    half = replace(shape, tokens=shape.tokens // 2)

    def tensor(*size: int) -> Tensor:
        return torch.randn(shape.batch, shape.tokens, *size).to(settings.device).requires_grad_(training)

    tokens, builders, same, references = (tensor(width), ), {}, {}, {}
    for op in ops:
        inputs = (tensor(3 * width), ) if op == 'mhsa' else tokens
        if op == 'dmsa':
            inputs = (*tokens, tensor(shape.heads))
        base = operator(op, shape)
        base_half = operator(op, half)
        base_half.load_state_dict(base.state_dict())
        for form in [form for form in forms_of(op) if form in wanted or form == 'ours']:
            name = name_of(op, form)
            skip = too_large(op, form, shape, mode, settings, done)
            builders[name] = partial(allowed, skip, name, base, inputs, settings)
            references[name] = {} if op == 'mhsa' else {'mhsa': 'mhsa'}
            if form != 'ours' and (op not in QUADRATIC or shape.tokens <= COMPARED_TOKENS):
                same[name] = op
            if form != 'plain':
                references[name]['plain'] = name_of(op, 'plain')
            if op not in QUADRATIC and form != 'plain':
                fewer = tuple(x.detach()[:, :half.tokens].clone().requires_grad_(training) for x in inputs)
                builders[name + HALF] = partial(contestant_of, name, base_half, fewer, settings)
                references[name]['half'] = name + HALF
    itemsize = settings.dtype.itemsize
    cotangent = tensor(width).detach().to(settings.dtype) if training else None
    return Case(
        labels=dict(tokens=shape.tokens, mode=mode),
        builders=builders,
        same_as=same,
        references=references,
        items=shape.batch * shape.tokens,
        objective=(lambda out: (out, cotangent[:out.shape[0], :out.shape[1]].to(out.dtype))) if training else None,
        optimizer=False,
        autocast=True,
        floors={op: least_work(op, shape, itemsize, training) for op in ops})
