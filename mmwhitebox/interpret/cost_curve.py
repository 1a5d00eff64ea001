"""What every attention and feed-forward costs against the number of tokens (CBSA, figures 2 and 9; DMST, figure 4)."""
import time
from collections.abc import Sequence
from statistics import quantiles

import timm.layers
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor, nn

from mmwhitebox.models.attention import SelfAttention, build_attention
from mmwhitebox.models.backbones.vit_adaptation import ADAPTATIONS
from mmwhitebox.models.feedforward import build_feedforward

from .complexity import activation_memory, count_flops
from .plot_style import colour, new_figure

ATTENTIONS = ('MHSA', 'MSSA', 'CBSA', 'Agent', 'Channel', 'Spectral', 'ReLULinear', 'TSSA', 'DMSA')
ADAPTED = 'ViT '  # before the name of an adapted attention of a ViT
FEEDFORWARDS = ('MLP', 'ISTA', 'ODL', 'DictionaryMap')
DASHES = ('-', '--', ':')
SERIES = dict(flops=('FLOPs (G)', 1e9), similarities=('similarities (M)', 1e6), memory=('activations (MiB)', 2**20),
              time=('forward (ms)', 1e-3))


def cost_modules(dims: int, num_heads: int) -> dict[str, nn.Module]:
    """Every self-attention and feed-forward of a width, and the adapted attentions of a ViT, by name."""
    modules: dict[str, nn.Module] = {
        name: build_attention(dict(type=name), embed_dims=dims, num_heads=num_heads) for name in ATTENTIONS}
    modules |= {f'{ADAPTED}{name}': adapt(timm.layers.Attention(dims, num_heads, qkv_bias=True))
                for name, adapt in ADAPTATIONS.items()}
    modules |= {name: build_feedforward(dict(type=name), embed_dims=dims) for name in FEEDFORWARDS}
    return modules


def inputs_of(module: nn.Module, side: int, dims: int, device: str | torch.device, batch: int = 1) -> tuple:
    """Random tokens of a square grid, and the grid for an attention."""
    tokens = torch.randn(batch, side**2, dims, device=device)
    return (tokens, (side, side)) if isinstance(module, SelfAttention) else (tokens, )


def time_rounds(modules: dict[str, nn.Module], side: int, dims: int, device: str,
                rounds: int) -> dict[str, list[float]]:
    """Seconds of a forward pass of one image without gradients: all modules in turn, round after round."""
    inputs = {name: inputs_of(module, side, dims, device) for name, module in modules.items()}

    def once(name: str) -> float:
        if device != 'cpu':
            torch.cuda.synchronize()
        start = time.perf_counter()
        modules[name](*inputs[name])
        if device != 'cpu':
            torch.cuda.synchronize()
        return time.perf_counter() - start

    with torch.no_grad():
        for name in modules:
            once(name)  # what is set up on the first call is not timed
        taken = [{name: once(name) for name in modules} for _ in range(rounds)]
    return {name: [each[name] for each in taken] for name in modules}


def cost_curves(sides: Sequence[int], dims: int, num_heads: int, device: str = 'cpu', rounds: int = 0) -> list[dict]:
    """Costs of one layer for one image.

    Args:
        sides (Sequence[int]): Sides of the square token grids, N = side^2.
        dims (int): Token width.
        num_heads (int): Heads of the attentions.
        device (str): Where memory and time are measured. Defaults to 'cpu'.
        rounds (int): Rounds of the clock, at least 2; 0 measures no time. Defaults to 0.

    Returns:
        list[dict]: One for each module and number of tokens: ``module``, ``tokens``, ``flops`` (two per multiply-add,
        ISTA in its two-product form), ``similarities`` (None of a feed-forward), ``memory`` (bytes that a training
        step keeps beyond weights and gradients), ``memory_is`` ('measured' on a GPU, 'computed' from what autograd
        saves), and with ``rounds`` ``time``, ``time_low`` and ``time_high`` (seconds: median and quartiles).
    """
    modules = {name: module.to(device) for name, module in cost_modules(dims, num_heads).items()}
    on_meta = {name: module.to('meta') for name, module in cost_modules(dims, num_heads).items()}
    rows = []
    for side in sides:
        times = time_rounds(modules, side, dims, device, rounds) if rounds else {}
        for name, module in modules.items():
            inputs = inputs_of(module, side, dims, device)

            def loss(module: nn.Module = module, inputs: tuple = inputs) -> Tensor:
                tokens = inputs[0].detach().requires_grad_()  # as below other layers
                return module(tokens, *inputs[1:]).sum()

            memory, how = activation_memory(module, loss)
            row = dict(
                module=name, tokens=side**2, flops=count_flops(on_meta[name], *inputs_of(module, side, dims, 'meta')),
                similarities=module.pairwise_similarities((side, side)) if isinstance(module, SelfAttention) else None,
                memory=memory, memory_is=how)
            if rounds:
                low, median, high = quantiles(times[name], n=4, method='inclusive')
                row |= dict(time=median, time_low=low, time_high=high)
            rows.append(row)
    return rows


def plot_cost_curves(rows: Sequence[dict]) -> Figure:
    """A panel for each cost against the number of tokens, both axes logarithmic; the time with its quartiles."""
    shown = [key for key in SERIES if any(row.get(key) for row in rows)]
    figure, axes = new_figure(len(shown), height=3.6)
    names = list(dict.fromkeys(row['module'] for row in rows))
    for panel, key in zip(axes, shown):
        label, unit = SERIES[key]
        for i, name in enumerate(names):
            own = [row for row in rows if row['module'] == name and row.get(key)]
            tokens = [row['tokens'] for row in own]
            style = dict(color=colour(i), linestyle=DASHES[i // 7 % len(DASHES)])
            costs = [row[key] / unit for row in own]
            panel.plot(tokens, costs, marker='.', label=name, **style)
            if key == 'time':
                spread = [[abs(row[end] - row[key]) / unit for row in own] for end in ('time_low', 'time_high')]
                panel.errorbar(tokens, costs, spread, fmt='none', ecolor=colour(i), elinewidth=0.8, capsize=2)
        panel.set(xscale='log', yscale='log', xlabel='tokens N', ylabel=label)
        panel.set_xticks(sorted({row['tokens'] for row in rows}), minor=False)
        panel.xaxis.set_major_formatter('{x:.0f}')
        panel.xaxis.set_minor_locator(NullLocator())
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside right center', fontsize=8, frameon=False)
    return figure
