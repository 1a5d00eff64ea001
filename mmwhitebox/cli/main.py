"""``mmwhitebox COMMAND``: finds the command, reads its arguments, runs it.

Exit status of every command:

==  ==========================================================================================
0   done
1   an error, said in one message on standard error; or something was found, skipped or failed
2   wrong arguments
75  a training was asked to stop, and has saved: ``--resume`` goes on
==  ==========================================================================================

Completion in a shell: ``eval "$(register-python-argcomplete mmwhitebox)"``.
"""
import argparse
import sys
from collections.abc import Sequence

from mmwhitebox import __version__

try:
    import argcomplete

    from . import (
        check_data,
        config,
        convert,
        doctor,
        explore,
        export,
        infer,
        measure,
        new,
        report,
        test,
        train,
        weights,
    )
    from .options import add_commands, parse
    from .running import run_command
except ImportError as error:
    sys.exit(f'error: {error}. What is missing, and how to get it: python -m mmwhitebox.doctor')

COMMANDS = {
    'new': new, 'train': train, 'test': test, 'infer': infer, 'check-data': check_data, 'explore': explore,
    'report': report, 'measure': measure, 'export': export, 'convert': convert, 'weights': weights, 'config': config,
    'doctor': doctor,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='mmwhitebox', description='White-box transformers for segmentation and classification.',
        epilog='Status: 0 done, 1 an error or something found, 2 wrong arguments, 75 stopped and saved (train).')
    parser.add_argument('--version', action='version', version=__version__)
    add_commands(parser, {name: (module.__doc__, module.add_arguments, module.run)
                          for name, module in COMMANDS.items()})
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; ends the process unless its status is 0.

    Args:
        argv (Sequence[str], optional): The command and its arguments; by default those of the process.
    """
    parser = build_parser()
    argcomplete.autocomplete(parser)
    args = parse(parser, sys.argv[1:] if argv is None else list(argv))
    run_command(lambda: args.run(args), log_to='stdout' if args.run in (train.run, test.run) else 'stderr')
