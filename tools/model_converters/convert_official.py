"""Convert official weights: python tools/model_converters/convert_official.py SRC DST --family FAMILY

SRC is a checkpoint of the official code of CBT (the CBSA repository), CRATE, ToST, or a segmentation model
with the decoder of CBT, DEPICT or Segmenter. DST is a checkpoint of the same model here: its config is found
from the shapes and written with --config OUT.py. --inverse goes the other way, from a checkpoint of
mmwhitebox to the official layout.
"""
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert the weights of an official implementation')
    parser.add_argument('src', help='official checkpoint (.pth or .safetensors)')
    parser.add_argument('dst', help='checkpoint to write (.pth)')
    parser.add_argument('--family', required=True,
                        choices=('cbt', 'crate', 'tost', 'cbt-decoder', 'depict', 'segmenter'),
                        help='what SRC is; cbt is every classification model of the CBSA repository')
    parser.add_argument('--num-heads', type=int, metavar='N',
                        help='attention heads, where neither the weights nor a known width tell')
    parser.add_argument('--img-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'),
                        help='image size of a position table that is not square')
    parser.add_argument('--config', metavar='OUT.py', help='write the config that loads DST')
    parser.add_argument('--inverse', action='store_true',
                        help='SRC is a checkpoint of mmwhitebox, DST gets the official layout')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='unpickle whatever SRC holds, which can run code: only for a source you trust')
    args = parser.parse_args()
    if args.inverse and (args.config or args.num_heads or args.img_size):
        parser.error('--inverse takes none of --config, --num-heads and --img-size')
    return args


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below

from pathlib import Path

import torch

from mmwhitebox.checkpoints import convert_checkpoint, safe_load, save_checkpoint, write_atomically
from mmwhitebox.checkpoints.package import base_configs, config_text, official_checkpoint
from mmwhitebox.engine.launch import run_command
from mmwhitebox.errors import UserError
from mmwhitebox.options import need_positive

BASE_CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_'
SUFFIXES = ('.pth', '.pt')


def read(path: str, trust: bool) -> dict:
    """A checkpoint, with weights only unless it is trusted. The arguments that ToST's training stores
    beside the weights, an ``argparse.Namespace``, are let through: it is plain data."""
    if trust:
        return torch.load(path, map_location='cpu', weights_only=False)
    with torch.serialization.safe_globals([argparse.Namespace]):
        return safe_load(path)


def write_config(path: str, model: dict, family: str) -> None:
    """Write the config and say what it lacks."""
    text = config_text(model, family, BASE_CONFIGS, Path(path).resolve().parent)
    write_atomically(path, lambda temporary: temporary.write_text(text))
    lacks = '' if base_configs(model, family) else \
        ': the model alone, since its classes and size are of no data set in configs/_base_'
    print(f'Wrote {path}{lacks}')


def main() -> None:
    args = parse_args()
    need_positive(args, 'num_heads', 'img_size')
    if Path(args.dst).suffix not in SUFFIXES:
        raise UserError(f'DST {args.dst} must end in {" or ".join(SUFFIXES)}.')
    if Path(args.dst).resolve() == Path(args.src).resolve():
        raise UserError('DST is SRC: name another file, the original would be lost.')
    checkpoint = read(args.src, args.trust_checkpoint)
    if args.inverse:
        converted = official_checkpoint(checkpoint, args.family)
        save_checkpoint(converted, args.dst)
        print(f'Wrote {args.dst}: {args.family}, {len(next(iter(converted.values())))} entries')
        return
    converted, model = convert_checkpoint(
        checkpoint, args.family, args.num_heads, tuple(args.img_size) if args.img_size else None)
    save_checkpoint(converted, args.dst)
    print(f'Wrote {args.dst}: {args.family}, {len(converted["state_dict"])} entries')
    if args.config:
        write_config(args.config, model, args.family)


if __name__ == '__main__':
    run_command(main)
