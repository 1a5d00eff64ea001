"""``python -m mmwhitebox.doctor``: :mod:`mmwhitebox.cli.doctor`, also where the command cannot start."""
import argparse
import sys

from mmwhitebox.cli.doctor import run

if __name__ == '__main__':
    sys.exit(run(argparse.Namespace()))
