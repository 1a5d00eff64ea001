"""Arguments of the analysis commands. Nothing heavy is imported here: --help is answered before that."""
import argparse

from mmengine.config import DictAction


def build_parser(description: str, out: str, images: bool = True) -> argparse.ArgumentParser:
    """Arguments that every analysis command of a trained model has.

    Read them with ``parse_intermixed_args``: images may then follow options.

    Args:
        description (str): What the command does, one line.
        out (str): Default output folder.
        images (bool): Whether the command takes images. Defaults to True.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    if images:
        parser.add_argument('images', nargs='*',
                            help='image files, folders, or quoted globs; none: the test dataset of the config')
        parser.add_argument('--max-images', type=int, metavar='N',
                            help='use N images, evenly spaced among those found (all)')
    parser.add_argument('--layers', help='attention layers, e.g. 0-3,7 or -1 for the last (all)')
    parser.add_argument('--heads', help='heads, e.g. 0,2 (all)')
    parser.add_argument('--out', default=out, metavar='DIR', help='output folder (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda:0, ...; a GPU if there is one')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='unpickle whatever the checkpoint holds, which can run code from it')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    return parser
