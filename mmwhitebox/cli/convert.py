"""Convert the weights of an official implementation.

SRC is a checkpoint of the official code of CBT (the CBSA repository), CRATE, CRATE-alpha (PyTorch or JAX), CRATE-MAE,
ToST, a ViT of timm, DINO, DINOv2, DINOv3 or SimDINO, or a segmentation model with the decoder of CBT, DEPICT or
Segmenter. DST is a checkpoint of the same model here: its config is found from the shapes and written with --config
OUT.py. --inverse goes the other way, from a checkpoint of mmwhitebox to the official layout (of a ViT, to timm's).
"""
import argparse
from pathlib import Path

from mmwhitebox.errors import UserError

from .options import add_trust, positive_int

SUFFIXES = ('.pth', '.pt')
ARRAYS = 'crate-alpha-jax'  # the family whose files are .npz
FAMILY_NAMES = ('cbt', 'crate', 'crate-alpha', ARRAYS, 'crate-mae', 'tost', 'vit', 'vit-cbsa', 'cbt-decoder', 'depict',
                'segmenter')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('src', help='official checkpoint (.pth, .safetensors or, of JAX, .npz)')
    parser.add_argument('dst', help='checkpoint to write (.pth; the inverse of crate-alpha-jax: .npz)')
    parser.add_argument('--family', required=True,
                        choices=FAMILY_NAMES,
                        help='what SRC is; cbt is every classification model of the CBSA repository, vit-cbsa its '
                        'adapted ViT')
    parser.add_argument('--num-heads', type=positive_int, metavar='N',
                        help='attention heads, where neither the weights nor a known width tell')
    parser.add_argument('--img-size', type=positive_int, nargs=2, metavar=('HEIGHT', 'WIDTH'),
                        help='image size of a position table that is not square')
    parser.add_argument('--classes', metavar='NAME|FILE',
                        help='names of the classes: cifar10, cityscapes, ..., or a text file, one name a line; without '
                        'it those of the published data set with as many classes, or numbers')
    parser.add_argument('--config', metavar='OUT.py', help='write the config that loads DST')
    parser.add_argument('--inverse', action='store_true',
                        help='SRC is a checkpoint of mmwhitebox, DST gets the official layout')
    add_trust(parser)


def run(args: argparse.Namespace) -> None:
    """Convert, and say what was written."""
    to_arrays = args.inverse and args.family == ARRAYS
    if args.inverse and (args.config or args.img_size or args.classes or args.num_heads and not to_arrays):
        raise UserError('--inverse takes none of --config, --img-size, --classes and, but for crate-alpha-jax, '
                        '--num-heads.')
    suffixes = ('.npz', ) if to_arrays else SUFFIXES
    if Path(args.dst).suffix not in suffixes:
        raise UserError(f'DST {args.dst} must end in {" or ".join(suffixes)}.')
    if Path(args.dst).resolve() == Path(args.src).resolve():
        raise UserError('DST is SRC: name another file, the original would be lost.')
    import torch

    from mmwhitebox.checkpoints import safe_load, save_checkpoint
    from mmwhitebox.checkpoints.arrays import write_arrays
    from mmwhitebox.checkpoints.official.files import official_checkpoint

    if args.trust_checkpoint:
        checkpoint = torch.load(args.src, map_location='cpu', weights_only=False)
    else:
        checkpoint = safe_load(args.src)
    if args.inverse:
        converted = official_checkpoint(checkpoint, args.family, args.num_heads)
        entries = converted if to_arrays else next(iter(converted.values()))
        write_arrays(converted, args.dst) if to_arrays else save_checkpoint(converted, args.dst)
        print(f'Wrote {args.dst}: {args.family}, {len(entries)} entries')
        return
    write_converted(checkpoint, args.family, args.dst, args.config, num_heads=args.num_heads,
                    img_size=tuple(args.img_size) if args.img_size else None, classes=args.classes)


def write_converted(checkpoint: dict, family: str, dst: str | Path, config: str | Path | None, **options) -> None:
    """Write the weights of an official checkpoint, and the config if it has a name, and say so.

    Args:
        checkpoint (dict): Of the official code.
        family (str): Its family.
        dst (str | Path): File of the weights.
        config (str | Path, optional): File of the config.
        **options: Of :func:`mmwhitebox.checkpoints.convert_checkpoint`.
    """
    from mmwhitebox.checkpoints import convert_checkpoint, save_checkpoint

    converted, model = convert_checkpoint(checkpoint, family, **options)
    save_checkpoint(converted, dst)
    print(f'Wrote {dst}: {family}, {len(converted["state_dict"])} entries')
    if config:
        write_config(config, model, family)
    if 'head' not in model and 'decode_head' not in model:
        print('It is a backbone without a head: features, or the start of a training (load_from).')
    elif 'dataset_meta' not in converted['meta']:
        print('The names of its classes are not known, so they are numbers: --classes NAME|FILE gives them.')


def write_config(path: str | Path, model: dict, family: str) -> None:
    """Write the config and say what it lacks."""
    from mmwhitebox.checkpoints import write_atomically
    from mmwhitebox.checkpoints.official.files import base_configs, config_text
    from mmwhitebox.config.bases import config_folder

    text = config_text(model, family, config_folder() / '_base_', Path(path).resolve().parent)
    write_atomically(path, lambda temporary: temporary.write_text(text))
    lacks = '' if base_configs(model, family) else \
        ': the model and how it takes images, since its classes and size are of no data set in configs/_base_'
    print(f'Wrote {path}{lacks}')
