"""Arguments that commands share, and how the arguments of a command are read."""
import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import DictAction

from mmwhitebox.errors import UserError


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, tuple], metavar: str = 'COMMAND') -> None:
    """Give a parser commands of its own.

    Args:
        parser (argparse.ArgumentParser): Its attribute ``commands`` holds their parsers afterwards.
        commands (Mapping[str, tuple]): Name -> (text, function that adds arguments, function that runs it). The first
            line of the text is the command's entry in the list.
        metavar (str): What such a command is called. Defaults to 'COMMAND'.
    """
    below = parser.add_subparsers(metavar=metavar, required=True)
    for name, (text, add_arguments, run) in commands.items():
        command = below.add_parser(name, help=text.splitlines()[0].rstrip('.').replace('%', '%%'), description=text,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
        command.set_defaults(command=name, run=run)
        add_arguments(command)
    parser.commands = below.choices


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command that ``argv`` names; options and images may stand in any order."""
    argv = list(argv)
    while argv and argv[0] in getattr(parser, 'commands', ()):
        parser = parser.commands[argv.pop(0)]
    if hasattr(parser, 'commands'):
        return parser.parse_args(argv)
    return parser.parse_intermixed_args(with_weights(parser, argv))


def with_weights(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """The arguments, with the weights of a pretrained folder that stands in the place of CONFIG CHECKPOINT."""
    from mmwhitebox.config.pretrained import WEIGHTS, is_pretrained

    needed = {action.dest for action in parser._actions if not action.option_strings and action.nargs is None}
    if {'config', 'checkpoint'} <= needed:
        for i, word in enumerate(argv):
            if not word.startswith('-') and not (i and argv[i - 1].startswith('--')) and is_pretrained(word):
                given = Path(argv[i + 1]).resolve() if i + 1 < len(argv) else None
                named = given == (Path(word) / WEIGHTS).resolve()  # by a caller who read it already
                return [*argv[:i + 1], *([] if named else [str(Path(word) / WEIGHTS)]), *argv[i + 1:]]
    return list(argv)


def positive_int(text: str) -> int:
    """An integer above 0, as ``type=positive_int`` of an argument.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no positive integer')
    return int(text)


def check_writable(option: str, path: Path) -> None:
    """See that a file can be written, before anything is done for it; ``option`` is what it was given by.

    Raises:
        UserError: It cannot.
    """
    file = path.resolve()  # not a link to it, which stays
    there = file.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open('ab').close()
        if not there:
            file.unlink()
    except OSError as error:
        raise UserError(f'{option} {path} cannot be written ({error.strerror}).') from error


def write_text(option: str, path: Path, text: str) -> None:
    """Write the file that an option names, in its place: its mode stays, and so does a link.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8', errors='surrogateescape', newline='')
    except OSError as error:
        raise UserError(f'{option} {path} cannot be written ({error.strerror}).') from error


def add_config(parser: argparse.ArgumentParser, checkpoint: bool = True) -> None:
    """CONFIG, and CHECKPOINT unless the command needs none."""
    folder = '; the folder of a pretrained model in the place of both' if checkpoint else ''
    parser.add_argument('config',
                        help=f'config file, or the name of one that is installed (cbt_decoder_ade20k){folder}')
    if checkpoint:
        parser.add_argument('checkpoint', help='checkpoint of that config')


class Overrides(DictAction):
    """mmengine's KEY=VALUE, with a word for what is none."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        wrong = [value for value in values if '=' not in value]
        if wrong:
            parser.error(f'argument {option_string}: {wrong[0]} is no KEY=VALUE')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, RecursionError, AssertionError) as error:  # nested dicts, brackets that do not close
            parser.error(f'argument {option_string}: {" ".join(values)} cannot be read ({type(error).__name__}): '
                         'values are numbers, texts, lists and tuples of them')


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE',
        help='override config keys, e.g. model.decode_head.num_layers=6 train_dataloader.batch_size=4')


def add_trust(parser: argparse.ArgumentParser) -> None:
    """``--trust-checkpoint``."""
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument('--device', help='cpu, cuda:0, ...; a GPU if there is one')


def add_precision(parser: argparse.ArgumentParser) -> None:
    """``--precision``."""
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32',
                        help='of the network: bf16 and fp16 (GPU only) use autocast (%(default)s)')


def add_run(parser: argparse.ArgumentParser) -> None:
    """What trainings and evaluations share: overrides, trust, the check of the config, the launcher."""
    add_overrides(parser)
    add_trust(parser)
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
