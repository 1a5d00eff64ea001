"""Types of command-line options."""
import argparse


def positive_int(text: str) -> int:
    """An integer above 0, as ``type=positive_int`` of an argument.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no positive integer')
    return int(text)
