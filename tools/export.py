"""Export a model: python tools/export.py CONFIG CHECKPOINT --format safetensors|onnx|torch-export --out FILE

The file maps normalised images to logits; FILE.json, the model card, says how images are normalised, the
classes, and how far the file agrees with the model. A file that does not agree is not kept.
"""
import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Export a trained model for deployment')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--format', required=True, choices=('safetensors', 'onnx', 'torch-export'), help='kind of file')
    parser.add_argument('--out', required=True, metavar='FILE',
                        help='output file: .safetensors, .onnx or .pt2, as the format is')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'), help="image size; the config's own")
    parser.add_argument('--dynamic', action='store_true',
                        help='any height and width that is a multiple of the patch, from two patches on')
    parser.add_argument('--batch', type=int, default=1, help='images in a batch of a graph (%(default)s)')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs more than weights; such a file can run code')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below

import warnings

from mmwhitebox.apis import export_model
from mmwhitebox.engine.launch import load_config, run_command
from mmwhitebox.options import need_positive


def main() -> int:
    args = parse_args()
    need_positive(args, 'size', 'batch')
    warnings.filterwarnings('ignore', module='torch|copyreg')
    cfg = load_config(args.config, args.cfg_options, None, 'none')
    card = export_model(cfg, args.checkpoint, args.out, args.format, args.size, args.dynamic, args.batch,
                        args.trust_checkpoint)
    sizes = ', '.join('x'.join(map(str, size)) for size in card['agreement']['sizes'])
    print(f'{args.out}: {card["model"]}, {card["parameters"] / 1e6:.2f} M parameters, '
          f'{card["flops"] / 1e9:.2f} GFLOPs at {"x".join(map(str, card["input_size"]))}\n'
          f'largest difference from the model: {card["agreement"]["max_abs_difference"]:.1e} '
          f'({card["agreement"]["relative"]:.1e} of the largest logit) at {sizes}')
    return 0


if __name__ == '__main__':
    run_command(main)
