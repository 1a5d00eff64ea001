"""Look at a folder of images and write a config that trains on them.

Understood are images with masks (indices, colours, 0 and 255, one file per class) or polygons (COCO, YOLO, LabelMe) for
segmentation, class folders or a table of names and labels for classification; with split folders, lists, or none. What
can be meant in two ways is asked on a terminal, and taken for granted elsewhere; each has an option. Nothing in the
folder is changed.
"""
import argparse
import collections
import os
import re
from pathlib import Path

from .options import positive_int, write_text

MOST_LINES = 12  # of a list that is printed
FEW = 64  # images, read by this process alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('folder', type=Path, help='all of the images, and what is annotated of them')
    parser.add_argument('--out', type=Path, default=Path('my_data.py'), help='config to write (%(default)s)')
    parser.add_argument('--force', action='store_true', help='write over a config that is there')
    parser.add_argument('--task', choices=('seg', 'cls'), help='segmentation or classification; what the folder is for')
    parser.add_argument('--kind', help='which annotations to take, where there are several: masks, coco, yolo, '
                        'labelme, csv, classes')
    parser.add_argument('--model', help='name of an installed config, the name of its data may be left out: '
                        'cbt_decoder_cbt_mini (from scratch), cbt_decoder_tiny (pretrained timm encoder); for '
                        'classification cbt_mini')
    meant = parser.add_argument_group('what masks mean')
    meant.add_argument('--classes', nargs='+', default=(), metavar='NAME',
                       help='names, in the order of the values that count')
    meant.add_argument('--background', choices=('class', 'ignore'), help='0, or black: a class, or does not count')
    meant.add_argument('--void', choices=('class', 'ignore'), help='255 of index masks: a class, or does not count')
    meant.add_argument('--stray', choices=('class', 'ignore'),
                       help='values that hardly any pixel of hardly any mask has: classes, or slips that do not count')
    meant.add_argument('--ignore', nargs='+', default=(), type=value_or_colour, metavar='VALUE',
                       help='values, or colours as R,G,B or RRGGBB, that do not count')
    bands = parser.add_argument_group('images of other channels and values than photographs')
    bands.add_argument('--channels', type=positive_int, metavar='N', help='channels of every image; alpha counts if N '
                       'does. All bits are kept then; without it grey and colour of 8 and 16 bits become 8-bit colour')
    bands.add_argument('--channel-axis', choices=('first', 'last'), help='where they lie in TIFFs that do not say it')
    bands.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                       help='values that become 0 and 255; the bits or the values that are used')
    bands.add_argument('--replace-nan', type=float, metavar='VALUE', help='what is read for NaN and infinity')
    parts = parser.add_argument_group('how images without splits are divided')
    parts.add_argument('--val-share', type=float, default=0.2, help='share for validation (%(default)s)')
    parts.add_argument('--seed', type=int, default=0, help='another seed, another division (%(default)s)')
    parts.add_argument('--group-prefix', type=lambda text: int(text) if text.isdecimal() else text, metavar='N|TEXT',
                       help='images whose names share N first characters, or all before TEXT, stay together')
    rules = parser.add_argument_group('instead of the rules')
    rules.add_argument('--crop', type=positive_int, help='side of what the model is trained on')
    rules.add_argument('--scale', type=positive_int, nargs=2, metavar=('WIDTH', 'HEIGHT'),
                       help='size into which images are resized first')
    rules.add_argument('--batch', type=positive_int, help='images of a step')
    rules.add_argument('--epochs', type=positive_int, help='times that every image is seen')
    rules.add_argument('--no-class-weight', action='store_true', help='weigh all classes alike, however rare')
    parser.add_argument('--look', type=positive_int, default=1000, metavar='N',
                        help='most images to read (%(default)s); a folder of no more is checked as check-data does')


def value_or_colour(text: str) -> int | tuple[int, ...]:
    """A value, or a colour as R,G,B or RRGGBB.

    Raises:
        ArgumentTypeError: Neither.
    """
    digits = re.fullmatch(r'#?([0-9a-fA-F]{6})', text)
    if re.fullmatch(r'\d{1,5}', text):
        return int(text)
    if re.fullmatch(r'\d{1,3},\d{1,3},\d{1,3}', text):
        return tuple(map(int, text.split(',')))
    if digits:
        return tuple(bytes.fromhex(digits[1]))
    raise argparse.ArgumentTypeError(f'{text} is neither a value nor a colour (R,G,B or RRGGBB)')


def run(args: argparse.Namespace) -> None:
    """Look, ask, write."""
    from .folder_config import describe, look_at

    check_out(args.out, args.force)
    looked = look_at(args, lambda root: cache_beside(args.out, root))
    say_pairs(looked)
    say('to see to', [*looked.pairs.problems, *looked.found.problems])
    found = describe(looked, args, decider(args))
    if found.meaning:
        say_classes(looked.found, found.meaning)
    else:
        counts = collections.Counter(sample.names[0] for sample in found.pairs.samples)
        say('classes', [f'{name}: {counts[name]} images' for name in found.classes])
    say('chosen', [*found.rules, *found.start.rules])
    say('meant', found.notes)
    write_text('--out', args.out, found.text(
        f'{len(found.pairs.samples)} images ({looked.kind}), {len(found.classes)} classes; written by mmwhitebox new.',
        *(f'{note}.' for note in ['; '.join(found.notes)] if note)))
    checked = len(found.pairs.samples) <= args.look
    if checked:
        say_check(args.out)
    print(f'{args.out} is written. Next:' + f'\n  mmwhitebox check-data {args.out}' * (not checked)
          + f'\n  mmwhitebox train {args.out}')


def say_check(config: Path) -> None:
    """Read all that the config trains on, and say what ``check-data`` finds."""
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.datasets.check_report import make_sets

    from .findings import lines, read_all, total

    cfg = load_config(str(config))
    sets = make_sets(cfg, ('train', 'val', 'test'))
    samples = sum(len(checked.checker) for checked in sets)
    found = read_all(cfg, sets, min(4, os.cpu_count() or 1) if samples > FEW else 0)
    say(f'checked, {total(found)}', lines(found) or ['nothing is wrong'])


def check_out(path: Path, force: bool) -> None:
    """Refuse to write over a config, or another kind of file."""
    from mmwhitebox.errors import UserError

    if path.suffix != '.py':
        raise UserError(f'--out {path}: a config is NAME.py.')
    if path.exists() and not force:
        raise UserError(f'--out {path} is there already: --force writes over it, or name another.')


def cache_beside(out: Path, root: Path) -> Path:
    """Folder for drawn masks beside the config; hidden if that lies in the data, which is listed for masks."""
    folder = out.expanduser().resolve().parent
    return folder / f'{"." if folder.is_relative_to(root) else ""}{out.stem}_masks'


def decider(args: argparse.Namespace):
    """What answers the questions about masks: options, or the person at the terminal, or what is usual."""
    import sys

    def decide(about: str, question: str, usual: str) -> str:
        given = getattr(args, about)
        if given or not sys.stdin.isatty():
            return given or usual
        while True:
            try:
                answer = input(f'{question} [class/ignore; Enter: {usual}] ').strip().lower() or usual
            except EOFError:
                return usual
            found = [choice for choice in ('class', 'ignore') if choice.startswith(answer)]
            if found:
                return found[0]

    return decide


def say(title: str, lines: list[str]) -> None:
    """A list, if there is anything in it."""
    if lines:
        print(f'{title}:\n  ' + '\n  '.join([*lines[:MOST_LINES], *(
            [f'and {len(lines) - MOST_LINES} more'] if len(lines) > MOST_LINES else [])]))


def say_pairs(looked) -> None:
    """Pairs, splits, sizes and kinds."""
    from mmwhitebox.datasets.formats import KINDS, MASK_KINDS
    from mmwhitebox.errors import joined

    pairs, kind, _, found, _ = looked
    print(f'{pairs.root}: {len(pairs.samples)} images ({kind})'
          + (f', {len(pairs.unlabelled)} without annotation' if pairs.unlabelled else ''))
    print(f'  splits: {joined([f"{name} {count}" for name, count in pairs.splits.items()])} ({pairs.split_source})')
    sizes = [f'{width} x {height} ({count})' for (width, height), count in found.sizes.items()]
    print(f'  images: {found.images} looked at, {joined(sizes, 4)}; {joined(list(found.channels))} channel(s) of '
          f'{joined(list(found.bit_depths))} bits')
    if found.kind and kind == KINDS['masks']:  # others are drawn here
        print(f'  masks: {MASK_KINDS[found.kind]}')


def say_classes(found, meaning) -> None:
    """Classes with their shares of the pixels."""
    files = {} if meaning.nearest else {value.value: value.files for value in found.values}
    lines = []
    for value, name in meaning.names.items():
        share = meaning.shares.get(value, 0.)
        lines.append(f'{value}: {name}, ' + (f'{share:.2%} of the pixels' if share else 'nowhere')
                     + (f', in {files[value]} masks' if value in files else ''))
    say('classes', [*lines, *(f'{value}: ignored' for value in meaning.ignored)])
