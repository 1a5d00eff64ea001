"""List the weights that were released, or fetch and convert one.

``weights`` lists every released file that is known: its family and arch, where it was published, its licence, what the
paper reports of it, mean / std of its images, and what was found when somebody last looked at the link. An empty field
is not known. ``weights get NAME`` fetches the file, compares its SHA-256 if that is known, and writes the converted
weights DIR/NAME.pth and the config DIR/NAME.py. A download that broke off goes on where it stopped.
"""
import argparse

from .options import add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('action', nargs='?', choices=('list', 'get'), default='list', help='%(default)s is the default')
    parser.add_argument('name', nargs='?', metavar='NAME', help='of get: a name of the list')
    parser.add_argument('--out', metavar='DIR', default='work_dirs/weights', help='folder of get (%(default)s)')
    parser.add_argument('--url', help='direct link of the file, where the list has none or another is wanted')
    parser.add_argument('--sha256', type=str.lower, help='SHA-256 of the file at --url')
    parser.add_argument('--csv', metavar='FILE', help='write the list to a file as well')
    add_trust(parser)


def run(args: argparse.Namespace) -> None:
    """Print the list, or fetch one file."""
    from mmwhitebox.errors import UserError

    if args.action == 'list':
        if args.name or args.url or args.sha256:
            raise UserError('weights list takes neither NAME nor --url nor --sha256: weights get NAME fetches a file.')
        show_list(args.csv)
    elif args.name is None:
        raise UserError('weights get NAME: give a name; mmwhitebox weights lists them.')
    else:
        get(args)


def show_list(csv_file: str | None) -> None:
    """Print the list as columns."""
    from mmwhitebox.checkpoints.official.released import STATISTICS, released
    from mmwhitebox.config.names import paper_metrics

    from .predictions.tables import write_csv

    metrics = paper_metrics()
    header = ('name', 'family', 'arch', 'published', 'licence', 'reported', 'mean / std', 'link')
    rows = [(entry.name, entry.family, entry.arch, entry.published, entry.licence or '',
             metrics.get(entry.config or '', ''), STATISTICS[entry.statistics], entry.link)
            for entry in released().values()]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    for row in (header, *rows):
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    if csv_file:
        write_csv(csv_file, header, rows)


def get(args: argparse.Namespace) -> None:
    """Fetch, verify and convert a file, and write its config."""
    import difflib
    from pathlib import Path

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from mmwhitebox.checkpoints import safe_load
    from mmwhitebox.checkpoints.download import check_sha256, download
    from mmwhitebox.checkpoints.official.released import released
    from mmwhitebox.errors import UserError

    from .convert import write_converted

    known = released()
    entry = known.get(args.name)
    if entry is None:
        similar = difflib.get_close_matches(args.name, known, n=4, cutoff=0.4)
        raise UserError(f'No released weights are called {args.name}'
                        + (f'; similar: {", ".join(similar)}' if similar else '') + '. mmwhitebox weights lists them.')
    url, sha256 = args.url or entry.url, args.sha256 if args.url else entry.sha256
    out = Path(args.out)
    original = out / f'{entry.name}_official{entry.suffix}'
    if original.is_file() and not args.url:
        check_sha256(original, sha256, str(original))
    elif url is None:
        raise UserError(
            f'{entry.name}: no direct link is known (published: {entry.published}; link: {entry.link}). Fetch the file '
            f'and convert it, mmwhitebox convert FILE {entry.name}.pth --family {entry.family}, or give its link: '
            '--url URL.')
    else:
        columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(entry.name, total=None)
            download(url, original, sha256, lambda done, total: bar.update(task, completed=done, total=total))
        print(f'Fetched {original}' + ('' if sha256 else ' (its SHA-256 is not known, so it was not compared)'))
    checkpoint = torch.load(original, map_location='cpu', weights_only=False) if args.trust_checkpoint else \
        safe_load(original)
    write_converted(checkpoint, entry.family, out / f'{entry.name}.pth', out / f'{entry.name}.py')
