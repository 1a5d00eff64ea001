"""Convert the weights of an official implementation.

SRC is a checkpoint of the official code of CBT (the CBSA repository), CRATE, ToST, or a segmentation model
with the decoder of CBT, DEPICT or Segmenter. DST is a checkpoint of the same model here: its config is found
from the shapes and written with --config OUT.py. --inverse goes the other way, from a checkpoint of
mmwhitebox to the official layout.
"""
import argparse
from pathlib import Path

from mmwhitebox.errors import UserError

from .options import add_trust, positive_int

SUFFIXES = ('.pth', '.pt')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('src', help='official checkpoint (.pth or .safetensors)')
    parser.add_argument('dst', help='checkpoint to write (.pth)')
    parser.add_argument('--family', required=True,
                        choices=('cbt', 'crate', 'tost', 'cbt-decoder', 'depict', 'segmenter'),
                        help='what SRC is; cbt is every classification model of the CBSA repository')
    parser.add_argument('--num-heads', type=positive_int, metavar='N',
                        help='attention heads, where neither the weights nor a known width tell')
    parser.add_argument('--img-size', type=positive_int, nargs=2, metavar=('HEIGHT', 'WIDTH'),
                        help='image size of a position table that is not square')
    parser.add_argument('--config', metavar='OUT.py', help='write the config that loads DST')
    parser.add_argument('--inverse', action='store_true',
                        help='SRC is a checkpoint of mmwhitebox, DST gets the official layout')
    add_trust(parser)


def run(args: argparse.Namespace) -> None:
    """Convert, and say what was written."""
    if args.inverse and (args.config or args.num_heads or args.img_size):
        raise UserError('--inverse takes none of --config, --num-heads and --img-size.')
    if Path(args.dst).suffix not in SUFFIXES:
        raise UserError(f'DST {args.dst} must end in {" or ".join(SUFFIXES)}.')
    if Path(args.dst).resolve() == Path(args.src).resolve():
        raise UserError('DST is SRC: name another file, the original would be lost.')
    import torch

    from mmwhitebox.checkpoints import convert_checkpoint, safe_load, save_checkpoint
    from mmwhitebox.checkpoints.official.files import official_checkpoint

    if args.trust_checkpoint:
        checkpoint = torch.load(args.src, map_location='cpu', weights_only=False)
    else:  # the arguments that ToST's training stores beside the weights are plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = safe_load(args.src)
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


def write_config(path: str, model: dict, family: str) -> None:
    """Write the config and say what it lacks."""
    from mmwhitebox.checkpoints import write_atomically
    from mmwhitebox.checkpoints.official.files import base_configs, config_text
    from mmwhitebox.config.bases import config_folder

    text = config_text(model, family, config_folder() / '_base_', Path(path).resolve().parent)
    write_atomically(path, lambda temporary: temporary.write_text(text))
    lacks = '' if base_configs(model, family) else \
        ': the model alone, since its classes and size are of no data set in configs/_base_'
    print(f'Wrote {path}{lacks}')
