"""Export a trained model for deployment.

The file maps normalised images to logits; FILE.json, the model card, says how images are normalised, the
classes, and how far the file agrees with the model. A file that does not agree is not kept.
"""
import argparse
import warnings

from .options import add_config, add_overrides, add_trust, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument('--format', required=True, choices=('safetensors', 'onnx', 'torch-export'), help='kind of file')
    parser.add_argument('--out', required=True, metavar='FILE',
                        help='output file: .safetensors, .onnx or .pt2, as the format is')
    parser.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'), help="image size; the config's own")
    parser.add_argument('--dynamic', action='store_true',
                        help='any height and width that is a multiple of the patch, from two patches on')
    parser.add_argument('--batch', type=positive_int, default=1, help='images in a batch of a graph (%(default)s)')
    add_trust(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Export, and say how far the file agrees with the model."""
    from mmwhitebox.apis import export_model
    from mmwhitebox.config.reading import load_model_config

    warnings.filterwarnings('ignore', module='torch|copyreg')
    cfg = load_model_config(args.config, args.cfg_options)
    card = export_model(cfg, args.checkpoint, args.out, args.format, args.size, args.dynamic, args.batch,
                        args.trust_checkpoint)
    sizes = ', '.join('x'.join(map(str, size)) for size in card['agreement']['sizes'])
    print(f'{args.out}: {card["model"]}, {card["parameters"] / 1e6:.2f} M parameters, '
          f'{card["flops"] / 1e9:.2f} GFLOPs at {"x".join(map(str, card["input_size"]))}\n'
          f'largest difference from the model: {card["agreement"]["max_abs_difference"]:.1e} '
          f'({card["agreement"]["relative"]:.1e} of the largest logit) at {sizes}')
