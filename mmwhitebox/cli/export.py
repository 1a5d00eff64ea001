"""Export a trained model: as a folder to share, or as a file for deployment.

--format pretrained writes the folder that from_pretrained loads: weights, config, model card. It takes a work dir in
the place of CONFIG CHECKPOINT, too: the best checkpoint, averaged weights if the training kept some.
Of other formats, the file maps normalised images to logits, or pictures to label maps; FILE.json, the model card, says
how images are normalised, the classes, and how far the file agrees with the model. One that does not agree is not kept.
--dtype int8 takes the ranges of activations from images of the training set, scores the float32 model and the int8 file
on the test set of the config, and keeps the file only if it loses few points.
"""
import argparse
import warnings
from typing import TYPE_CHECKING

from .options import add_config, add_overrides, add_trust, positive_int

if TYPE_CHECKING:
    from mmengine.config import Config

OF_FILES = ('size', 'dynamic', 'batch', 'with_processing', 'opset', 'dtype')
OF_INT8 = ('calibration_images', 'max_loss')
OF_FOLDERS = ('licence', 'scores')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser, checkpoint=False)
    parser.add_argument('checkpoint', nargs='?',
                        help='checkpoint of that config; none if the work dir of a training is given, for a folder')
    parser.add_argument('--format', required=True, choices=('pretrained', 'safetensors', 'onnx', 'torch-export', 'aot'),
                        help='a folder, or which kind of file; aot: compiled for this kind of machine')
    parser.add_argument('--out', metavar='PATH', help='output folder (WORK_DIR/pretrained), or output file: '
                        '.safetensors, .onnx or .pt2, as the format is')
    parser.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'), help="image size; the config's own")
    parser.add_argument('--dynamic', action='store_true',
                        help='any batch, and any height and width that is a multiple of the patch, from two patches on')
    parser.add_argument('--batch', type=positive_int, help='images in a batch of a graph without --dynamic (1)')
    parser.add_argument('--with-processing', action='store_true',
                        help='RGB pictures (B, H, W, 3) of bytes to label maps or scores, any height and width')
    parser.add_argument('--opset', type=positive_int, help="version of ONNX's operators, 18 to 25 (18)")
    parser.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16', 'int8'),
                        help='type of the weights (float32); images and logits stay float32')
    int8 = parser.add_argument_group('of --dtype int8')
    int8.add_argument('--calibration-images', type=positive_int, metavar='COUNT',
                      help='images of the training set for the ranges of activations (64)')
    int8.add_argument('--max-loss', type=float, metavar='POINTS',
                      help='most points of mIoU or top-1 accuracy that int8 may lose (1)')
    folder = parser.add_argument_group('of a folder')
    folder.add_argument('--licence', metavar='ID',
                        help='licence of the model, for its card: apache-2.0, cc-by-4.0, ...')
    folder.add_argument('--scores', metavar='FILE', help='results for the card, of mmwhitebox test --scores FILE; '
                        'those of the validation by default')
    add_trust(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Export, and say what was written."""
    from mmwhitebox.errors import UserError

    others = OF_FILES if args.format == 'pretrained' else OF_FOLDERS
    wrong = [name for name in others if getattr(args, name)]
    if wrong:
        raise UserError(f'--{wrong[0].replace("_", "-")} is not for --format {args.format}.')
    wrong = [name for name in OF_INT8 if getattr(args, name) is not None and args.dtype != 'int8']
    if wrong:
        raise UserError(f'--{wrong[0].replace("_", "-")} is for --dtype int8.')
    if args.dtype == 'int8' and args.format != 'onnx':
        raise UserError(f'--dtype int8 is for --format onnx, not {args.format}.')
    if args.format == 'pretrained':
        write_folder(args)
    else:
        write_file(args)


def write_folder(args: argparse.Namespace) -> None:
    """Write the folder of a pretrained model."""
    from mmwhitebox.apis import export_pretrained, export_work_dir
    from mmwhitebox.apis.pretrained.results import read_scores
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.errors import UserError

    metrics = read_scores(args.scores) if args.scores else None
    if args.checkpoint is None:
        if args.cfg_options:
            raise UserError('--cfg-options changes a config: give CONFIG and CHECKPOINT in the place of the work dir.')
        folder, checkpoint = export_work_dir(args.config, args.out, metrics, args.licence, args.trust_checkpoint)
    else:
        if args.out is None:
            raise UserError('--out FOLDER is missing: where the model is written.')
        cfg, checkpoint = load_model_config(args.config, args.cfg_options), args.checkpoint
        folder = export_pretrained(cfg, checkpoint, args.out, metrics, args.licence, args.trust_checkpoint)
    print(f'{folder}: the model of {checkpoint}')


def write_file(args: argparse.Namespace) -> None:
    """Write a file for deployment."""
    from mmwhitebox.apis import export_model
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.errors import UserError

    missing = 'CHECKPOINT' if args.checkpoint is None else '--out FILE' if args.out is None else ''
    if missing:
        raise UserError(f'{missing} is missing: mmwhitebox export CONFIG CHECKPOINT --format {args.format} --out FILE.')
    warnings.filterwarnings('ignore', module='torch|copyreg')
    cfg = load_model_config(args.config, args.cfg_options)
    if args.dtype == 'int8':
        write_int8(cfg, args)
        return
    card = export_model(cfg, args.checkpoint, args.out, args.format, args.size, args.dynamic, args.batch,
                        args.trust_checkpoint, args.with_processing, args.opset, args.dtype or 'float32')
    agreement = card['agreement']
    cases = ', '.join(f'{batch} x {"x".join(map(str, size))}'
                      for batch, size in zip(agreement['batches'], agreement['sizes']))
    equal = f', {agreement["equal_labels"]:.2%} of the labels equal' if 'equal_labels' in agreement else ''
    print(f'{args.out}: {card["model"]}, {card["parameters"] / 1e6:.2f} M parameters, '
          f'{card["flops"] / 1e9:.2f} GFLOPs at {"x".join(map(str, card["input_size"]))}\n'
          f'largest difference from the model: {agreement["max_abs_difference"]:.1e} '
          f'({agreement["relative"]:.1e} of the largest logit){equal} on {cases}')


def write_int8(cfg: 'Config', args: argparse.Namespace) -> None:
    """Write an int8 file, and say what it lost."""
    from rich.console import Console
    from rich.progress import Progress

    from mmwhitebox.apis import export_int8

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        card = export_int8(cfg, args.checkpoint, args.out, args.calibration_images or 64,
                           1. if args.max_loss is None else args.max_loss, trust_checkpoint=args.trust_checkpoint,
                           on_progress=show, size=args.size, dynamic=args.dynamic, batch=args.batch,
                           processing=args.with_processing, opset=args.opset)
    scores = card['scores']
    print(f'{args.out}: {card["model"]}, {card["parameters"] / 1e6:.2f} M parameters, {card["int8_products"]} matrix '
          f'products in int8\n'
          f'{scores["metric"]} of {scores["images"]} images ({scores["split"]}): float32 {scores["float32"]:.2f}, '
          f'int8 {scores["int8"]:.2f}, loss {scores["loss"]:.2f} points')
