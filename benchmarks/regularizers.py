"""What sparse rate reduction costs: python -m benchmarks.regularizers [--archs ...] [--sizes ...]

A training step (forward, backward, AdamW) of a classifier without the regularizer, with it on the last layer, and on
all layers, one after another in every round. Prints a table: milliseconds, and the ratio within a round to the step
without, median and quartiles. On a CPU it is the processor time of all threads, which other programs hardly lengthen.
"""
import argparse
import sys
import time
from collections.abc import Callable, Sequence

import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from mmwhitebox.cli.options import positive_int
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.image_classifier import ImageClassifier

from .report import hardware, say
from .rounds import quartiles, timed

CHOICES: dict[str, dict | None] = {'without': None, 'last layer': dict(layers=-1), 'all layers': {}}
NUM_CLASSES = 1000


def training_step(arch: str, size: int, batch: int, options: dict | None, device: torch.device) -> Callable[[], None]:
    """A training step of a classifier on one batch of noise; options None: without the regularizer."""
    torch.manual_seed(0)
    backbone = WhiteBoxTransformer(arch=arch, img_size=size)
    regularizers = [] if options is None else [dict(type='mmwhitebox.SparseRateRegularizer', weight=1e-3, **options)]
    model = ImageClassifier(
        backbone=backbone, regularizers=regularizers,
        head=dict(type='LinearClsHead', num_classes=NUM_CLASSES, in_channels=backbone.embed_dims)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    images = torch.randn(batch, 3, size, size, device=device)
    samples = [DataSample().set_gt_label(i % NUM_CLASSES).to(device) for i in range(batch)]

    def step() -> None:
        loss, _ = model.parse_losses(model.loss(images, samples))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds_of(step: Callable[[], None], device: torch.device) -> float:
    """Processor time of one step on a CPU, time on a GPU."""
    if device.type != 'cpu':
        return timed(step, 1, device)
    start = time.process_time()
    step()
    return time.process_time() - start


def rows(arch: str, size: int, batch: int, rounds: int, device: torch.device) -> list[str]:
    """The rows of the table of one arch and image size."""
    steps = {name: training_step(arch, size, batch, options, device) for name, options in CHOICES.items()}
    for step in steps.values():
        step()  # warm
        seconds_of(step, device)
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds_of(step, device))
    found = []
    for name, seconds in times.items():
        ratio = quartiles([own / base for own, base in zip(seconds, times['without'])])
        spread = '' if name == 'without' else f'{ratio["median"]:.2f} ({ratio["low"]:.2f} to {ratio["high"]:.2f})'
        found.append(f'| {arch} | {size} | {name} | {1000 * quartiles(seconds)["median"]:.0f} | {spread or 1} |')
    return found


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.regularizers', description=__doc__.partition('\n')[0])
    parser.add_argument('--archs', nargs='+', choices=WhiteBoxTransformer.arch_zoo, metavar='ARCH',
                        default=['cbt-tiny', 'crate-tiny'], help='(cbt-tiny crate-tiny)')
    parser.add_argument('--sizes', nargs='+', type=positive_int, metavar='PIXELS', default=[128], help='(128)')
    parser.add_argument('--batch-size', type=positive_int, default=16, help='(16)')
    parser.add_argument('--rounds', type=positive_int, default=15, help='(15)')
    parser.add_argument('--device', type=torch.device, default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args(argv)
    init_default_scope('mmpretrain')
    print(f'{hardware(args.device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch '
          f'{args.batch_size}, float32, {args.rounds} rounds\n')
    print('| arch | image | regularizer on | ms a step | times the step without, quartiles |\n|---|---|---|---|---|')
    for arch in args.archs:
        for size in args.sizes:
            say(f'{arch} at {size} x {size}')
            print(*rows(arch, size, args.batch_size, args.rounds, args.device), sep='\n', flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
