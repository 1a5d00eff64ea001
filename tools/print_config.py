"""Print the merged config: python tools/print_config.py CONFIG [--out FILE] [--cfg-options key=value ...]"""
import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print a config with everything it inherits')
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='write it to this file (.py, .json or .yml) instead')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below

from mmwhitebox.engine.launch import load_config, run_command


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, None, 'none')
    if args.out:
        cfg.dump(args.out)
    else:
        print(cfg.pretty_text)


if __name__ == '__main__':
    run_command(main)
