"""Types and checks of command-line options."""
import argparse

from mmwhitebox.errors import UserError


def positive_int(text: str) -> int:
    """An integer above 0, as ``type=positive_int`` of an argument.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no positive integer')
    return int(text)


def need_positive(args: argparse.Namespace, *names: str) -> None:
    """Refuse options that are integers below 1; for commands whose parser runs before this package is imported.

    Args:
        args (argparse.Namespace): Parsed arguments.
        *names (str): Attributes, integers or lists of them; None passes.

    Raises:
        UserError: One of them is below 1.
    """
    for name in names:
        value = getattr(args, name)
        if any(number < 1 for number in (value if isinstance(value, (list, tuple)) else [value]) if number is not None):
            raise UserError(f'--{name.replace("_", "-")} {value}: give positive integers.')
