"""Read every sample of a config's datasets and list what is wrong.

Ends with status 1 when something is wrong, with 0 otherwise. Classes that never occur are a note, no fault.
"""
import argparse
import os
import sys
from pathlib import Path

from mmwhitebox.errors import UserError

from .options import add_config, add_overrides

WIDTH = 140  # of a log file; a terminal has its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser, checkpoint=False)
    parser.add_argument('--splits', nargs='+', choices=('train', 'val', 'test'), default=('train', 'val', 'test'),
                        help='splits to read (all three); pictures in two of them are found among these')
    parser.add_argument('--workers', type=int, default=min(8, os.cpu_count() or 1),
                        help='processes that read; 0 reads in this one (%(default)s)')
    parser.add_argument('--out', type=Path, help='write everything found: NAME.json (with the classes) or NAME.csv')
    add_overrides(parser)
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')


def run(args: argparse.Namespace) -> int:
    """Read, show, write; 1 if something is wrong."""
    if args.workers < 0:
        raise UserError('--workers must be 0 or more.')
    if args.out is not None and args.out.suffix not in ('.json', '.csv'):
        raise UserError(f'--out {args.out}: the report is NAME.json or NAME.csv.')
    from rich.console import Console

    from mmwhitebox.config.check import check_config
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.datasets.check_report import make_sets
    from mmwhitebox.datasets.checking import NOTES

    from .findings import read_all, show, write_report

    cfg = load_config(args.config, args.cfg_options)
    if not args.no_config_check:
        check_config(cfg)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    sets = make_sets(cfg, args.splits)
    read_all(sets, args.workers)
    show(sets, console)
    if args.out is not None:
        write_report(args.out, args.config, sets, list(args.splits))
        console.print(f'Everything found is in {args.out}', markup=False)
    faults = sum(len(checked.faults()) for checked in sets)
    notes = sum(len(checked.findings) for checked in sets) - faults
    kinds = sorted({finding.kind for checked in sets for finding in checked.findings} & NOTES)
    console.print(f'{sum(len(checked.checker) for checked in sets)} samples read: {faults} fault(s), {notes} note(s)'
                  + (f' ({", ".join(kinds)})' if kinds else ''), markup=False)
    return int(faults > 0)
