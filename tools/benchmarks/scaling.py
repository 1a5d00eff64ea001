r"""A paper estimate of data-parallel training: what the exchange of gradients costs beside a step.

A ring all-reduce of G bytes over n GPUs moves 2 (n - 1) / n G bytes through every GPU's link of speed b:

    t_ring = 2 (n - 1) / n G / b

The part of it that the backward pass hides costs nothing. With t_1 the measured step of one GPU and t_exposed
the part that is not hidden, n GPUs do n images for one at the efficiency E = t_1 / (t_1 + t_exposed).
"""

import timm
from mmengine.registry import init_default_scope
from prettytable import PrettyTable, TableStyle

from mmwhitebox.interpret import count_parameters

from .models import decoder, encoder

LINKS = {8: ('NVLink', 450e9), 256: ('InfiniBand 400 Gb/s', 50e9)}
"""GPUs, link of each and its bytes/s per direction: data-sheet values, not measured."""
EFFICIENCY = 0.95


def parameters() -> dict[str, int]:
    """Trained parameters of the two models, counted."""
    init_default_scope('mmseg')
    vit = timm.create_model('vit_small_patch16_384', img_size=512, num_classes=0)
    return {'CBT-S': count_parameters(encoder('cbt-small', 224, 'torch')),
            'CBT decoder on ViT-S': count_parameters(vit) + count_parameters(decoder('cbt', 'torch'))}


def ring_seconds(gradient_bytes: float, gpus: int, bandwidth: float) -> float:
    """t_ring of the module's formula."""
    return 2 * (gpus - 1) / gpus * gradient_bytes / bandwidth


def step_needed(exposed: float, efficiency: float = EFFICIENCY) -> float:
    """The shortest step t_1 for which the efficiency is reached with that much communication exposed."""
    return exposed * efficiency / (1 - efficiency)


def scaling_markdown() -> str:
    """The exchange of gradients of the two models on 8 and 256 GPUs, in Markdown."""
    table = PrettyTable(['model', 'parameters', 'gradients', 'MB', 'GPUs', 'link', 'all-reduce, ms',
                         f'step for {EFFICIENCY:.0%} with nothing hidden, ms'], align='r')
    table.align['model'] = table.align['link'] = 'l'
    table.set_style(TableStyle.MARKDOWN)
    for name, count in parameters().items():
        for dtype, size in (('float32', 4), ('bfloat16', 2)):
            for gpus, (link, bandwidth) in LINKS.items():
                seconds = ring_seconds(count * size, gpus, bandwidth)
                table.add_row([name, f'{count / 1e6:.2f} M', dtype, f'{count * size / 1e6:.1f}', gpus, link,
                               f'{seconds * 1e3:.2f}', f'{step_needed(seconds) * 1e3:.1f}'])
    return table.get_string() + '\n'
