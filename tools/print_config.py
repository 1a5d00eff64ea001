"""Print the merged config: python tools/print_config.py CONFIG [--out FILE] [--cfg-options key=value ...]"""
import argparse
import sys

from mmengine.config import DictAction

from mmwhitebox.engine.launch import exit_message, load_config
from mmwhitebox.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description='Print a config with everything it inherits')
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='write it to this file (.py, .json or .yml) instead')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options, None, 'none')
    if args.out:
        cfg.dump(args.out)
    else:
        print(cfg.pretty_text)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(exit_message(error))
