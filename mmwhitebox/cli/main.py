# PYTHON_ARGCOMPLETE_OK
"""``mmwhitebox COMMAND``: finds the command, reads its arguments, runs it.

Exit status of every command:

==  ==========================================================================================
0   done
1   an error, said in one message on standard error; or something was found, skipped or failed
2   wrong arguments
75  a training was asked to stop, and has saved: ``--resume`` goes on
==  ==========================================================================================
"""
import argparse
import sys
from collections.abc import Sequence

from mmwhitebox import __version__

from . import check_data, config, convert, doctor, export, infer, measure, report, test, train
from .running import run_command

COMMANDS = {
    'train': train, 'test': test, 'infer': infer, 'check-data': check_data, 'report': report, 'measure': measure,
    'export': export, 'convert': convert, 'config': config, 'doctor': doctor,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='mmwhitebox', description='White-box transformers for segmentation and classification.',
        epilog='Status: 0 done, 1 an error or something found, 2 wrong arguments, 75 stopped and saved (train).')
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.__doc__.splitlines()[0].rstrip('.'), description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; ends the process unless its status is 0.

    Args:
        argv (Sequence[str], optional): The command and its arguments; by default those of the process.
    """
    parser = build_parser()
    try:
        import argcomplete
    except ImportError:
        pass
    else:
        argcomplete.autocomplete(parser)
    args = parser.parse_args(argv)
    run_command(lambda: args.run(args), log_to='stdout' if args.run in (train.run, test.run) else 'stderr')


if __name__ == '__main__':
    sys.exit(main())
