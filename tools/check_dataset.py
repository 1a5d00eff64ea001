"""Read every sample of a config's datasets and list what is wrong: python tools/check_dataset.py CONFIG [--out FILE]

Ends with code 1 when something is wrong, with 0 otherwise. Classes that never occur are a note, no fault.
"""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Read every sample of a config\'s datasets and list what is wrong')
    parser.add_argument('config', help='config file')
    parser.add_argument('--splits', nargs='+', choices=('train', 'val', 'test'), default=('train', 'val', 'test'),
                        help='splits to read (%(default)s); pictures in two of them are found among these')
    parser.add_argument('--workers', type=int, default=min(8, os.cpu_count() or 1),
                        help='processes that read; 0 reads in this one (%(default)s)')
    parser.add_argument('--out', type=Path, help='write everything found: NAME.json (with the classes) or NAME.csv')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config keys')
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below

import collections
import csv
import json
import sys

from mmengine.config import Config
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from mmwhitebox.datasets.check_report import CheckedSet, check_set, class_table, find_copies, make_sets
from mmwhitebox.datasets.checking import KINDS, NOTES
from mmwhitebox.engine.config_check import check_config
from mmwhitebox.engine.launch import load_config, run_command
from mmwhitebox.errors import UserError

WIDTH = 140  # of a log file; a terminal has its own
MAX_FILES, MAX_CLASSES, MAX_TEXT = 3, 20, 300


def read_all(sets: list[CheckedSet], workers: int) -> None:
    """Check the sets one after another, with a bar for each on stderr."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn('left:'), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for checked in sets:
            task = progress.add_task(checked.name, total=len(checked.checker))
            check_set(checked, workers, lambda count, task=task: progress.advance(task, count))
    find_copies(sets)


def show(sets: list[CheckedSet], console: Console) -> None:
    """Print a summary: findings by kind with the first files, and the classes."""
    for checked in sets:
        title = f'{checked.name}: {type(checked.checker.dataset).__name__}, {len(checked.checker)} samples'
        by_kind = collections.defaultdict(list)
        for finding in checked.findings:
            by_kind[finding.kind].append(finding)
        if by_kind:
            table = Table('kind', 'count', Column('first of them', overflow='fold'), title=title, title_justify='left')
            for kind in (kind for kind in KINDS if kind in by_kind):
                found = by_kind[kind]
                lines = [f'{finding.file}: {shortened(finding.message)}' for finding in found[:MAX_FILES]]
                if len(found) > MAX_FILES:
                    lines.append(f'... and {len(found) - MAX_FILES} more')
                table.add_row(f'{kind}\n[dim]{KINDS[kind]}', str(len(found)), escape('\n'.join(lines)))
            console.print(table)
        else:
            console.print(f'{title}: nothing wrong')
        show_classes(checked, console)


def shortened(message: str) -> str:
    """A message of at most a few lines; the report has all of it."""
    return message if len(message) <= MAX_TEXT else f'{message[:MAX_TEXT]} ...'


def show_classes(checked: CheckedSet, console: Console) -> None:
    """Print the classes, the most frequent first; of many, the ends of the list."""
    rows = sorted(class_table(checked), key=lambda row: -row['share'])
    what = 'pixels' if checked.is_segmentation else 'images'
    shown = [f'{row["name"]} {row["share"]:.2%}' for row in rows]
    if len(shown) > MAX_CLASSES:
        shown = [*shown[:MAX_CLASSES // 2], '...', *shown[-MAX_CLASSES // 2:]]
    console.print(f'{checked.name}, share of the {what}: {", ".join(shown)}', markup=False)


def ignored_pixels(checked: CheckedSet) -> int:
    """Pixels that do not count; 0 where the ignored label is none that a map can hold."""
    ignored = checked.checker.ignore_index
    return int(checked.pixels[ignored]) if 0 <= ignored < len(checked.pixels) else 0


def write_report(path: Path, config: str, sets: list[CheckedSet], splits: list[str]) -> None:
    """Write all findings as CSV, or with the counts and classes as JSON.

    Raises:
        UserError: Another suffix, or the file cannot be written.
    """
    rows = [dict(split=checked.name, **finding._asdict()) for checked in sets for finding in checked.findings]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'w', newline='') as file:
            if path.suffix == '.csv':
                writer = csv.DictWriter(file, ['split', 'kind', 'file', 'message'])
                writer.writeheader()
                writer.writerows(rows)
                return
            json.dump(dict(
                config=config, splits=splits, ok=not any(checked.faults() for checked in sets),
                sets=[dict(splits=list(checked.splits), dataset=type(checked.checker.dataset).__name__,
                           samples=len(checked.checker),
                           counts=dict(collections.Counter(finding.kind for finding in checked.findings)),
                           ignored_pixels=ignored_pixels(checked),
                           classes=class_table(checked)) for checked in sets],
                findings=rows), file, indent=1)
    except OSError as error:
        raise UserError(f'--out {path} cannot be written ({error.strerror}).') from error


def main() -> int:
    args = parse_args()
    if args.workers < 0:
        raise UserError('--workers must be 0 or more.')
    if args.out is not None and args.out.suffix not in ('.json', '.csv'):
        raise UserError(f'--out {args.out}: the report is NAME.json or NAME.csv.')
    cfg: Config = load_config(args.config, args.cfg_options, None, 'none')
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


if __name__ == '__main__':
    run_command(main)
