"""Print a config with everything it inherits."""
import argparse

from .options import add_config, add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser, checkpoint=False)
    parser.add_argument('--out', help='write it to this file (.py, .json or .yml) instead')
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Print or write the config."""
    from mmwhitebox.config.reading import load_config

    cfg = load_config(args.config, args.cfg_options)
    if args.out:
        cfg.dump(args.out)
    else:
        print(cfg.pretty_text)
