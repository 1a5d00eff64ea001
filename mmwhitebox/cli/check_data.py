"""Read every sample of a config's datasets, or of a folder, and list what is wrong, with what to type against it.

A folder is taken as ``mmwhitebox new`` takes it, with the usual answers; nothing is written, in it or beside it. Ends
with status 1 when something is wrong, with 0 otherwise; what is merely worth knowing is a note, no fault.
"""
import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

from mmwhitebox.errors import UserError

from . import new
from .options import add_overrides, check_writable

WIDTH = 140  # of a log file; a terminal has its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('config', metavar='CONFIG|FOLDER', help='config file, the name of one that is installed '
                        '(cbt_decoder_ade20k), or a folder of images and what is annotated of them')
    parser.add_argument('--splits', nargs='+', choices=('train', 'val', 'test'), default=('train', 'val', 'test'),
                        help='splits to read (all three); pictures in two of them are found among these')
    parser.add_argument('--workers', type=int, default=min(8, os.cpu_count() or 1),
                        help='processes that read; 0 reads in this one (%(default)s)')
    parser.add_argument('--page', type=Path, help='write a page to look at, in one file: NAME.html')
    parser.add_argument('--out', type=Path, help='write everything found: NAME.json (with the classes) or NAME.csv')
    add_overrides(parser)
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')


def run(args: argparse.Namespace) -> int:
    """Read, show, write; 1 if something is wrong."""
    if args.workers < 0:
        raise UserError('--workers must be 0 or more.')
    for option, path, suffixes, what in (
            ('--out', args.out, ('.json', '.csv'), 'the report is NAME.json or NAME.csv'),
            ('--page', args.page, ('.html', '.htm'), 'the page is NAME.html')):
        if path is not None:
            if path.suffix not in suffixes:
                raise UserError(f'{option} {path}: {what}.')
            check_writable(option, path)
    folder = os.path.expanduser(args.config)
    if os.sep in folder and not os.path.exists(folder):
        raise UserError(f'{args.config}: there is neither a folder nor a config of this name.')
    from rich.console import Console

    from mmwhitebox.config.check import check_config
    from mmwhitebox.config.names import is_name, list_models
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.datasets.check_report import make_sets

    from .data_page import write_page
    from .findings import read_all, show, total, write_report
    from .folder_config import describe, look_at

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    with tempfile.TemporaryDirectory(prefix='mmwhitebox-') as scratch:
        is_folder = os.path.isdir(folder) and not is_name(args.config)
        if is_folder:
            as_new = new_arguments(args.config)
            looked = look_at(as_new, lambda root: Path(scratch, 'masks'))
            found = describe(looked, as_new, lambda about, question, usual: usual, keep_broken=True)
            Path(scratch, 'my_data.py').write_text(found.text(), encoding='utf-8')
            cfg = load_config(str(Path(scratch, 'my_data.py')), args.cfg_options)
            if found.rules or found.notes:
                console.print(f'taken for granted: {"; ".join([*found.rules, *found.notes])}', markup=False)
        else:
            if not (is_name(args.config) or os.path.exists(args.config) or '::' in args.config):
                near = difflib.get_close_matches(args.config, list_models(), 1)
                raise UserError(f'{args.config}: neither a folder nor a config file nor an installed config'
                                + (f'; did you mean {near[0]}?' if near else '.'))
            cfg = load_config(args.config, args.cfg_options)
        if not args.no_config_check:
            check_config(cfg)
        sets = make_sets(cfg, args.splits)
        found = read_all(cfg, sets, args.workers)
        show(found, console)
        if args.out is not None:
            write_report(args.out, args.config, found, list(args.splits))
            console.print(f'Everything found is in {args.out}', markup=False)
        if args.page is not None:
            write_page(args.page, args.config, found)
            console.print(f'A page to look at is {args.page}', markup=False)
        if is_folder and any(group.remedy and group.remedy.how != 'command' for _, groups in found for group in groups):
            console.print(f'What to add is for the config that this writes: mmwhitebox new {args.config}', markup=False)
    console.print(total(found), markup=False)
    return int(any(checked.faults() for checked in sets))


def new_arguments(folder: str) -> argparse.Namespace:
    """What ``mmwhitebox new FOLDER`` is called with; the check itself tells of uneven classes."""
    parser = argparse.ArgumentParser()
    new.add_arguments(parser)
    return parser.parse_args(['--no-class-weight', '--', folder])
