"""Look at a folder of images and write a config that trains on them.

Understood are images with masks (indices, colours, 0 and 255, one file per class) or polygons (COCO, YOLO, LabelMe) for
segmentation, class folders or a table of names and labels for classification; with split folders, lists, or none. What
can be meant in two ways is asked on a terminal, and taken for granted elsewhere; each has an option. Nothing in the
folder is changed.
"""
import argparse
import os
import re
from pathlib import Path
from typing import Any

from .options import positive_int

MODELS = {'seg': 'cbt_decoder_cbt_mini', 'cls': 'cbt_mini'}
MOST_LINES = 12  # of a list that is printed
FEW = 64  # images, read by this process alone
MOST_LEFT_OUT = 20  # broken pairs that a config names


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
    from mmwhitebox.config.starting import choose, config_text
    from mmwhitebox.datasets.formats import CLASSIFICATION, KINDS, look, rasterize
    from mmwhitebox.datasets.meanings import meaning_of
    from mmwhitebox.errors import UserError

    check_out(args.out, args.force)
    pairs, own = divided(args)
    kind = KINDS[pairs.kind]
    task = 'cls' if pairs.kind in CLASSIFICATION else 'seg'
    if args.task not in (None, task):
        raise UserError(f'--task {args.task}: {args.folder} holds {kind}.')
    if task == 'seg' and pairs.kind != 'masks':
        own['cache'] = str(cache_beside(args.out, Path(own['root'])))
        pairs = rasterize(pairs, own['cache'])
    found = look(pairs, args.look, channels=args.channels, channel_axis=args.channel_axis,
                 replace_nan=args.replace_nan)
    say_pairs(pairs, kind, found)
    say('to see to', [*pairs.problems, *found.problems])
    notes: list[str] = []
    rules: list[str] = []
    own.update(of_images(found, args, rules))
    pairs = without_broken(pairs, found, own, notes)
    shares: list[float] = []
    if task == 'seg':
        asked: set[str] = set()
        meaning = meaning_of(pairs, found, decider(args, asked), args.classes, args.ignore)
        classes, shares = meaning.classes, say_classes(found, meaning)
        notes[:0] = meaning.words
        notes += [f'--{about} {getattr(args, about)} changes nothing: the masks hold no such value'
                  for about in ('background', 'void', 'stray') if getattr(args, about) and about not in asked]
        own.update(of_masks(meaning))
    else:
        classes = own['classes'] = say_labels(pairs, args.classes)
    start = choose(task, args.model or MODELS[task], found.sizes, len(pairs.of('train')), len(pairs.of('val')), shares,
                   args.crop, tuple(args.scale) if args.scale else None, args.batch, args.epochs,
                   not args.no_class_weight)
    say('chosen', [*rules, *start.rules])
    say('meant', notes)
    write(args.out, config_text(start, own, [
        f'{len(pairs.samples)} images ({kind}), {len(classes)} classes; written by mmwhitebox new.',
        *(f'{note}.' for note in ['; '.join(notes)] if note)], bool(pairs.of('test'))))
    if len(pairs.samples) <= args.look:
        say_check(args.out)
        print(f'{args.out} is written. Next:\n  mmwhitebox train {args.out}')
    else:
        print(f'{args.out} is written. Next:\n  mmwhitebox check-data {args.out}\n  mmwhitebox train {args.out}')


def say_check(config: Path) -> None:
    """Read all that the config trains on, and say what ``check-data`` finds."""
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.datasets.check_report import make_sets

    from .findings import grouped, lines, read_all, total

    cfg = load_config(str(config))
    sets = make_sets(cfg, ('train', 'val', 'test'))
    read_all(sets, min(4, os.cpu_count() or 1) if sum(len(checked.checker) for checked in sets) > FEW else 0)
    found = [(checked, grouped(cfg, checked)) for checked in sets]
    say(f'checked, {total(found)}', lines(found) or ['nothing is wrong'])


def divided(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The pairs of the folder with their splits, and what ``own_data`` says of both."""
    from mmwhitebox.datasets.formats import find_pairs, split
    from mmwhitebox.errors import UserError

    own: dict[str, Any] = dict(root=str(args.folder.expanduser().resolve()))
    if args.kind:
        own['kind'] = args.kind
    try:
        pairs = split(find_pairs(args.folder, args.kind), args.val_share, args.seed, args.group_prefix)
    except ValueError as error:
        raise UserError(str(error)) from error
    if pairs.split_source == 'seeded':
        own.update(val_share=args.val_share, seed=args.seed)
        if args.group_prefix is not None:
            own['group_prefix'] = args.group_prefix
    return pairs, own


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


def of_images(found, args: argparse.Namespace, rules: list[str]) -> dict[str, Any]:
    """What ``own_data`` says of the images; the rules are added to ``rules``.

    Raises:
        UserError: There are none, or they are of several kinds.
    """
    from mmwhitebox.datasets.check_report import BIT_DEPTHS
    from mmwhitebox.errors import UserError

    if not found.images:
        raise UserError('No image could be read.' + (f' {found.reasons[0]}' if found.reasons else ''))
    used = next((bits for bits in BIT_DEPTHS if found.largest < 1 << bits), None)
    stated = args.channels or args.value_range or args.replace_nan is not None
    if not stated and set(found.channels) <= {1, 3} and set(found.types) <= {'uint8', 'uint16'}:
        if 'uint16' in found.types:
            rules.append(f'8 of {used or 16} bits are kept; --channels {next(iter(found.channels))} keeps them all')
        return dict(bit_depth=used) if 'uint16' in found.types and used else {}
    return of_bands(found, args, used, rules)


def of_bands(found, args: argparse.Namespace, used: int | None, rules: list[str]) -> dict[str, Any]:
    """What ``own_data`` says of images of any channels and values, all of them kept."""
    from mmwhitebox.errors import UserError, joined

    channels = args.channels or max(found.channels, key=lambda number: (found.channels[number], number))
    kinds = {kind: paths for kind, paths in found.kinds.items() if kind[0] != channels
             and not (kind[0] == 1 and channels == 3)}
    if kinds:
        (number, _), paths = next(iter(kinds.items()))
        names = joined([path.name for path in paths], 3)
        raise UserError(f'{len(paths)} images have {number} channels ({names}), not {channels} as '
                        f'{"--channels says" if args.channels else "the others"}: save them alike, or take them out.')
    own: dict[str, Any] = dict(channels=channels)
    if args.channel_axis:
        own['channel_axis'] = args.channel_axis
    types = joined(list(found.types))
    rules.append(f'channels {channels}, {types}: all of their values are kept'
                 + (', colour steps for photographs are left out' if channels != 3 or set(found.types) != {'uint8'}
                    else ''))
    if found.not_finite and args.replace_nan is None:
        raise UserError(f'{len(found.not_finite)} images hold NaN or infinity '
                        f'({joined([path.name for path in found.not_finite], 3)}): mend them, or say what is read '
                        'instead, --replace-nan VALUE.')
    if args.replace_nan is not None:
        own['replace_nan'] = args.replace_nan
        rules.append(f'NaN and infinity are read as {args.replace_nan:g}')
    span = value_range(found, args.value_range, used, rules)
    if span:
        own['value_range'] = span
    low, high = span or (0, 255)
    factor = 255 / (high - low)
    mean, std = (list(values) * (channels if len(values) == 1 else 1) for values in (found.mean, found.std))
    own['mean'] = [float(f'{(value - low) * factor:.7g}') for value in mean]
    own['std'] = [float(f'{value * factor:.7g}') or 1. for value in std]
    rules.append(f'mean and std of each channel, over all pixels of {found.measured} training images'
                 + (', after value_range' if span else ''))
    still = [str(i) for i, value in enumerate(std, 1) if not float(f'{value * factor:.7g}')]
    if still:
        rules.append(f'channel {joined(still)} is the same everywhere: its std is set to 1')
    return own


def value_range(found, given, used: int | None, rules: list[str]) -> tuple[float, float] | None:
    """The values that become 0 and 255; None for bytes as they are."""
    from mmwhitebox.errors import UserError, joined

    if given:
        if not given[0] < given[1]:
            raise UserError(f'--value-range {given[0]:g} {given[1]:g}: the first must be below the second.')
        return tuple(given)
    types = list(found.types)
    if types == ['uint8']:
        return None
    if len({name.rstrip('0123456789') for name in types}) > 1 or len(types) > 1 and 'float' not in types[0]:
        few = {name: [path.name for kind, paths in found.kinds.items() if kind[1] == name for path in paths]
               for name in types}
        raise UserError('Images of several types, ' + '; '.join(
            f'{found.types[name]} {name} ({joined(paths, 3)})' for name, paths in few.items())
            + ': save them alike, or say which values become 0 and 255 in all of them, --value-range LOW HIGH.')
    if types == ['uint16']:
        high = (1 << (used or 16)) - 1
        rules.append(f'value_range 0 to {high}: no value is above {high}' if used else
                     f'value_range 0 to {high}: all that 16 bits hold')
        return 0, high
    if found.smallest == found.largest:
        raise UserError(f'All values of the images are {found.smallest:g}: there is nothing to learn from.')
    low, high = outward(found.smallest, -1), outward(found.largest, 1)
    if low >= 0 and high <= 1:
        low, high = 0., 1.
    rules.append(f'value_range {low:g} to {high:g}: the values lie from {found.smallest:g} to {found.largest:g}; '
                 '--value-range LOW HIGH for others')
    return low, high


def outward(value: float, sign: int) -> float:
    """A number of three digits, not below (sign 1) or not above (sign -1) a value."""
    import math

    if not value:
        return 0.
    step = 10.**(math.floor(math.log10(abs(value))) - 2)
    return float(f'{sign * math.ceil(sign * value / step) * step:.6g}')


def without_broken(pairs, found, own: dict[str, Any], notes: list[str]):
    """The pairs that can be used; the others are named in ``own_data`` and ``notes``.

    Raises:
        UserError: They are too many, or none is left in a split.
    """
    from mmwhitebox.errors import UserError, joined

    bad = {*found.unreadable, *found.mismatched}
    broken = [sample for sample in pairs.samples if sample.image in bad or bad.intersection(sample.annotation)]
    names = [Path(os.path.relpath(sample.image, pairs.root)).as_posix() for sample in broken]
    if len(names) > MOST_LEFT_OUT:
        raise UserError(f'{pairs.root}: {len(names)} images cannot be used ({joined(names, 3)}), see above: mend them '
                        'first.')
    pairs = pairs.but(samples=[sample for sample in pairs.samples if sample not in broken])
    lacking = [split for split in ('train', 'val') if not pairs.of(split)]
    if lacking:
        raise UserError(f'{pairs.root}: no image that can be used is there for {joined(lacking)}.')
    if names:
        own['left_out'] = names
        notes.append(f'{joined(names)} cannot be used and {"is" if len(names) == 1 else "are"} left out')
    return pairs


def decider(args: argparse.Namespace, asked: set[str]):
    """What answers the questions about masks: options, or the person at the terminal, or what is usual; it notes what
    was ``asked``."""
    import sys

    def decide(about: str, question: str, usual: str) -> str:
        asked.add(about)
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


def of_masks(meaning) -> dict[str, Any]:
    """What ``own_data`` says of the masks."""
    if meaning.coloured:
        palette: dict[str, Any] = {}
        for colour, name in meaning.names.items():
            several = palette.get(name)
            palette[name] = colour if several is None else [*(several if isinstance(several, list) else [several]),
                                                            colour]
        own: dict[str, Any] = dict(palette=palette)
    else:
        own = dict(mapping=meaning.names)
    if meaning.ignored:
        own['ignored'] = meaning.ignored
    return {**own, 'nearest': True} if meaning.nearest else own


def say(title: str, lines: list[str]) -> None:
    """A list, if there is anything in it."""
    if lines:
        print(f'{title}:\n  ' + '\n  '.join([*lines[:MOST_LINES], *(
            [f'and {len(lines) - MOST_LINES} more'] if len(lines) > MOST_LINES else [])]))


def say_pairs(pairs, kind: str, found) -> None:
    """Pairs, splits, sizes and kinds."""
    from mmwhitebox.datasets.formats import KINDS, MASK_KINDS
    from mmwhitebox.errors import joined

    print(f'{pairs.root}: {len(pairs.samples)} images ({kind})'
          + (f', {len(pairs.unlabelled)} without annotation' if pairs.unlabelled else ''))
    print(f'  splits: {joined([f"{name} {count}" for name, count in pairs.splits.items()])} ({pairs.split_source})')
    sizes = [f'{width} x {height} ({count})' for (width, height), count in found.sizes.items()]
    print(f'  images: {found.images} looked at, {joined(sizes, 4)}; {joined(list(found.channels))} channel(s) of '
          f'{joined(list(found.bit_depths))} bits')
    if found.kind and kind == KINDS['masks']:  # others are drawn here
        print(f'  masks: {MASK_KINDS[found.kind]}')


def say_classes(found, meaning) -> list[float]:
    """Classes with their shares of the pixels; the shares."""
    shares = dict.fromkeys(meaning.classes, 0.)
    files = {} if meaning.nearest else {value.value: value.files for value in found.values}
    lines = []
    for value, name in meaning.names.items():
        share = meaning.shares.get(value, 0.)
        shares[name] += share
        lines.append(f'{value}: {name}, ' + (f'{"about " * meaning.nearest}{share:.2%} of the pixels' if share else
                                             'nowhere') + (f', in {files[value]} masks' if value in files else ''))
    lines += [f'{value}: ignored' for value in meaning.ignored]
    say('classes', lines)
    return list(shares.values())


def say_labels(pairs, names) -> list[str]:
    """Classes of a classification with their numbers of images."""
    from collections import Counter

    from mmwhitebox.errors import UserError, joined

    counts = Counter(sample.names[0] for sample in pairs.samples)
    classes = list(names) or [name for name in pairs.classes or sorted(counts)]
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        images = sum(counts[name] for name in unknown)
        raise UserError(f'--classes does not name {joined(unknown)}, which {images} images have; own_data.ignored of '
                        'the config leaves labels out.')
    say('classes', [f'{name}: {counts[name]} images' for name in classes])
    if len(classes) < 2:
        raise UserError(f'{pairs.root}: one class, {classes[0]}, so there is nothing to tell apart.')
    return classes


def write(path: Path, text: str) -> None:
    """Write the config.

    Raises:
        WriteError: It cannot be written.
    """
    from mmwhitebox.errors import WriteError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise WriteError(f'--out {path}: cannot be written ({error.strerror}).') from error
