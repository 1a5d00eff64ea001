"""How fast, in how much memory: python -m benchmarks [classification] [decoder] [operators] [deploy] [options]

Everything that is compared runs in one process, interleaved round by round, after it was shown to compute
the same. Ratios are the result: how many times as fast as timm's ViT, as FlashAttention, as the papers' equations
in plain torch. Writes every round as JSON, their summary as CSV and a plot of the operators into --out.

    python -m benchmarks --quick                            # all in miniature, to see that it runs
    python -m benchmarks classification --sizes 224 --models cbt-tiny cbt-small --threads 2
    python -m benchmarks operators --device cuda --dtype bfloat16
    python -m benchmarks deploy --trained CONFIG CHECKPOINT --threads 2
    python -m benchmarks --markdown docs/performance.md     # write its tables anew from its CSV files
"""
import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import MMLogger

import mmwhitebox
from mmwhitebox.cli.options import positive_int
from mmwhitebox.cli.running import run_command
from mmwhitebox.engine.work_dir import prepare_folder
from mmwhitebox.errors import UserError
from mmwhitebox.models.backbones import WhiteBoxTransformer

from . import deploy, models, operators, page, plots, report
from .cases import Case, Settings
from .memory import device_peaks
from .roofline import Shape
from .rounds import run_case

SUITES = {'classification': WhiteBoxTransformer.arch_zoo, 'decoder': models.DECODERS, 'operators': operators.OPERATORS,
          'deploy': ()}
"""Suites and the names that --models knows in each."""
MODES = ('inference', 'training')
DTYPES = ('float32', 'bfloat16', 'float16')
FORMS = (*models.FORMS, *models.PEERS, *deploy.FORMS)
FIRST_TOKENS = 256
BATCH = {('classification', 'cpu'): 4, ('classification', 'cuda'): 64, ('decoder', 'cpu'): 2,
         ('decoder', 'cuda'): 16, ('operators', 'cpu'): 1, ('operators', 'cuda'): 8,
         ('deploy', 'cpu'): 1, ('deploy', 'cuda'): 1}


class Planned(NamedTuple):
    """A case to come: its rough cost in any unit, and a function that builds it from the cases done."""

    cost: float
    make: Callable[[Sequence[dict]], Case]


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__.partition('\n')[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('suites', nargs='*', metavar='SUITE', help=f'{", ".join(SUITES)} (all but deploy)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu',
                        help='cpu, cuda, cuda:1')
    parser.add_argument('--dtype', choices=DTYPES, default='float32',
                        help='type of inference; training keeps float32 weights and runs under autocast')
    parser.add_argument('--batch-size', type=positive_int,
                        help='images, or sequences of tokens (depends on suite and device)')
    parser.add_argument('--rounds', type=positive_int, default=15, help='timed rounds; every contestant runs in each')
    parser.add_argument('--warmup', type=positive_int, default=3, help='steps before them')
    parser.add_argument('--threads', type=positive_int, help="CPU threads (torch's choice)")
    parser.add_argument('--models', nargs='+', metavar='NAME',
                        help='encoders (archs of WhiteBoxTransformer), decoders '
                        f'({", ".join(models.DECODERS)}), operators ({", ".join(operators.OPERATORS)})')
    parser.add_argument('--forms', nargs='+', metavar='FORM', choices=FORMS,
                        help=f'contestants: {", ".join(FORMS)}; ours is always one (all; operators: none compiled)')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=MODES)
    parser.add_argument('--sizes', type=positive_int, nargs='+', metavar='PIXELS',
                        help="image sides (224 512; decoders 512; deploy: the config's)")
    parser.add_argument('--trained', nargs=2, action='append', metavar=('CONFIG', 'CHECKPOINT'),
                        help='deploy: a trained model, with its data; may be given again')
    parser.add_argument('--tokens', type=positive_int, nargs='+', metavar='N',
                        help='operators: numbers of tokens (256, 512, ... 65,536; on a GPU to 262,144)')
    parser.add_argument('--heads', type=positive_int, default=6, help='operators: K')
    parser.add_argument('--head-dims', type=positive_int, default=64, help='operators: p')
    parser.add_argument('--representatives', type=positive_int, default=64, help='operators: m of CBSA, a square')
    parser.add_argument('--call-budget', type=float, default=20., metavar='SECONDS',
                        help='leave a contestant out whose step takes longer')
    parser.add_argument('--quick', action='store_true', help='tiny models, few rounds: to see that it runs')
    parser.add_argument('--out', default='work_dirs/benchmark', metavar='DIR', help='output folder')
    parser.add_argument('--name', help='stem of the output files, for one suite (name of the suite)')
    parser.add_argument('--markdown', type=Path, metavar='PAGE',
                        help='only write the tables of PAGE anew, from the CSV files in the folder named like it')
    args = parser.parse_args(argv)
    check_args(args)
    return args


def check_args(args: argparse.Namespace) -> None:
    """Fill in the suites and the device.

    Raises:
        UserError: A name or number that makes no sense, a device that is not there.
    """
    unknown = [suite for suite in args.suites if suite not in SUITES]
    if unknown:
        raise UserError(f'There is no suite {unknown[0]!r}. Suites: {", ".join(SUITES)}.')
    args.suites = list(dict.fromkeys(args.suites)) or [suite for suite in SUITES if suite != 'deploy']
    if ('deploy' in args.suites) != bool(args.trained):
        raise UserError('deploy needs a trained model: --trained CONFIG CHECKPOINT.' if not args.trained else
                        '--trained is for the suite deploy; name it.')
    if args.name and len(args.suites) > 1:
        raise UserError('--name is for one suite; name the suite.')
    for name in args.models or ():
        if not any(name in SUITES[suite] for suite in args.suites):
            names = '; '.join(f'{suite}: {", ".join(SUITES[suite])}' for suite in args.suites)
            raise UserError(f'--models {name}: there is none of that name in {names}.')
    if math.isqrt(args.representatives)**2 != args.representatives:
        raise UserError(f'--representatives {args.representatives}: CBSA pools to a square: 49, 64, 100, ...')
    try:
        args.device = torch.device(args.device)
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device {args.device}: {str(error).splitlines()[0]}') from error


def plan(suite: str, args: argparse.Namespace, settings: Settings) -> list[Planned]:
    """The cases of a suite, the cheaper first."""
    batch = args.batch_size or (2 if args.quick else BATCH[suite, settings.device.type])
    weight = dict(inference=1., training=3.)
    names = [name for name in args.models or () if name in SUITES[suite]]
    if args.models and not names:
        return []
    if suite == 'operators':
        forms = args.forms or operators.DEFAULT_FORMS
        doublings = 2 if args.quick else 11 if settings.device.type == 'cuda' else 9
        tokens = sorted(args.tokens or (FIRST_TOKENS * 2**i for i in range(doublings)))
        sizes = (args.heads, args.head_dims, args.representatives)
        return [Planned(n * weight[mode], partial(operators.operator_case, names or operators.OPERATORS,
                                                  Shape(batch, n, *sizes), mode, forms, settings))
                for n in tokens for mode in args.modes]

    def without_history(make: Callable[..., Case], *case) -> Callable[[Sequence[dict]], Case]:
        return lambda done: make(*case, settings)

    if suite == 'deploy':
        return [Planned(1., without_history(deploy.deploy_case, trained, size, batch, args.forms or deploy.FORMS,
                                            Path(args.out)))
                for trained in args.trained for size in args.sizes or [None]]
    forms = args.forms or [form for form in FORMS if not (args.quick and form.endswith('compiled'))]
    if suite == 'classification':
        make, sizes = models.classification_case, (64, ) if args.quick else (224, 512)
        names = names or (('cbt-tiny', 'dmst-tiny') if args.quick else models.ENCODERS)
    else:
        make, sizes, names = models.decoder_case, (128, ) if args.quick else (512, ), names or models.DECODERS
    return [Planned(size**2 * weight[mode], without_history(make, name, size, mode, batch, forms))
            for size in args.sizes or sizes for name in names for mode in args.modes]


def run_suite(suite: str, args: argparse.Namespace, settings: Settings, argv: Sequence[str]) -> None:
    """Measure a suite; its files are complete after every case."""
    stem = Path(args.out) / (args.name or suite)
    result = dict(suite=suite, environment=report.environment(settings, argv),
                  peaks=device_peaks(settings.device, settings.dtype, 0.1 if args.quick else 1.), cases=[])
    cases = plan(suite, args, settings)
    start, total = time.time(), sum(case.cost for case in cases)
    for i, planned in enumerate(cases):
        case = planned.make(result['cases'])
        done = sum(before.cost for before in cases[:i])
        left = f', about {(time.time() - start) * (total / done - 1) / 60:.1f} min left' if i else ''
        report.say(f'[{i + 1}/{len(cases)}] {suite}: {case.title}{left}')
        result['cases'].append(run_case(case, settings))
        report.save(result, stem)
    if suite == 'operators' and cases:
        plots.save_plot(report.table(result), stem.with_suffix('.png'))
    if cases:
        print(f'{report.as_text(result)}\n{stem}.json, {stem}.csv')


def main(argv: Sequence[str]) -> int:
    args = parse_args(argv)
    MMLogger.get_instance('benchmark', log_level='WARNING')  # mmengine lists every initialised parameter
    if args.markdown:
        names = report.refresh(args.markdown, lambda name: page.render(name, args.markdown.with_suffix('')))
        print(f'{args.markdown}: {", ".join(names)}')
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    prepare_folder(args.out, '--out')
    settings = Settings(
        args.device, getattr(torch, args.dtype), rounds=3 if args.quick else args.rounds,
        warmup=1 if args.quick else args.warmup, min_seconds=0. if args.quick else 0.01,
        call_budget=args.call_budget)
    report.say(f'mmwhitebox {mmwhitebox.__version__} on {args.device}, {torch.get_num_threads()} CPU threads')
    for suite in args.suites:
        run_suite(suite, args, settings, argv)
    return 0


if __name__ == '__main__':
    run_command(lambda: main(sys.argv[1:]))
