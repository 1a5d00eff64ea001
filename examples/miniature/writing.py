"""What the commands that write procedural data sets share: arguments, completeness, replacing an old set."""
import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np


def at_least(low: int) -> Callable[[str], int]:
    """Return an argparse type for integers not below `low`."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'{value} is below the smallest value, {low}')
        return value

    number.__name__ = 'integer'
    return number


def set_parser(description: str, out: str, train: int, val: int, size: int,
               smallest: int = 1) -> argparse.ArgumentParser:
    """Return a parser of the common arguments.

    Args:
        description (str): One line on the command.
        out (str): Default folder.
        train (int): Default number of training images.
        val (int): Default number of validation images.
        size (int): Default side of an image in pixels; 64 is the smallest.
        smallest (int): Fewest images of a split. Defaults to 1.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--out', type=Path, default=out, help='folder to write (%(default)s)')
    parser.add_argument('--train', type=at_least(smallest), default=train,
                        help='training images (%(default)s)')
    parser.add_argument('--val', type=at_least(smallest), default=val, help='validation images (%(default)s)')
    parser.add_argument('--size', type=at_least(64), default=size,
                        help='side of an image, pixels (%(default)s)')
    parser.add_argument('--seed', type=at_least(0), default=0, help='seed of the scenes (%(default)s)')
    parser.add_argument('--force', action='store_true', help='replace a set this command wrote')
    return parser


def save_image(path: Path, array: np.ndarray, *options) -> None:
    """Write an image file with OpenCV or raise OSError."""
    if not cv2.imwrite(str(path), array, *options):
        raise OSError(f'could not write {path}')


def read_record(record: Path) -> dict:
    """Return the record of a complete set, {} for a partial or empty one, None for other files."""
    if record.is_file():
        return json.loads(record.read_text())
    out = record.parent
    return {} if _started(record).is_file() or not out.exists() or not any(out.iterdir()) else None


def _started(record: Path) -> Path:
    return record.with_name(f'{record.name}.partial')


def write_set(parser: argparse.ArgumentParser, args: argparse.Namespace, name: str, folders: Sequence[str],
              classes, make: Callable[[], dict]) -> bool:
    """Write a set unless it is complete already; what stands in the way ends the command with one line.

    The record is renamed into place as the last step, so a folder that has it is complete; a folder that
    has only its ``.partial`` was interrupted and is made again.

    Args:
        parser (argparse.ArgumentParser): From :func:`set_parser`, for its error messages.
        args (argparse.Namespace): The parsed command line.
        name (str): File name of the record.
        folders (Sequence[str]): Folders in ``args.out`` that the command writes, and replaces.
        classes: The classes, for the record.
        make (Callable): Writes the images; returns more entries of the record.

    Returns:
        bool: Whether it was written now.
    """
    out, record = args.out, args.out / name
    arguments = {key: getattr(args, key) for key in ('train', 'val', 'size', 'seed')}
    if out.exists() and not out.is_dir():
        parser.error(f'--out {out} is a file')
    found = read_record(record)
    if found is None:
        parser.error(f'{out} holds files this command did not write; choose another --out')
    if found and not args.force:
        if found['arguments'] != arguments:
            parser.error(f'{out} was made with {found["arguments"]}; add --force to replace it')
        print(f'{out} is already there: {args.train} training, {args.val} validation images')
        return False
    out.mkdir(parents=True, exist_ok=True)
    entries = {'arguments': arguments, 'classes': classes}
    _started(record).write_text(json.dumps(entries))
    record.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(out / folder, ignore_errors=True)
    entries.update(make())
    _started(record).write_text(json.dumps(entries, indent=2) + '\n')
    _started(record).replace(record)
    print(f'\nwrote {args.train} training and {args.val} validation images of {args.size} x {args.size} '
          f'pixels, {len(classes)} classes, to {out}')
    return True
