"""Evaluate a checkpoint on the test set.

An exported file, .onnx or .pt2, in the place of CHECKPOINT is evaluated like the model that it was made of: by the
pipeline, the windows and the metrics of the config.
"""
import argparse
from collections.abc import Callable
from pathlib import Path

from .options import add_config, add_precision, add_run, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument('--work-dir', help='where the log and the metrics (JSON) go; work_dirs/CONFIG by default')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument(
        '--out',
        help='write the predictions: label maps to the folder OUT, as PNG at the path of the image below the data '
        "set's folder (class indices; class index + 1 where the data set has reduce_zero_label, as ADE20K's own "
        "labels); a classifier's to the file OUT.pkl")
    parser.add_argument(
        '--show-dir', metavar='DIR',
        help='write pictures (image, ground truth, prediction) to DIR, named likewise')
    parser.add_argument(
        '--metrics', nargs='+', metavar='METRIC', choices=('mIoU', 'mDice', 'mFscore', 'mBoundaryF'),
        help="what a segmentor is scored by, in place of the config's iou_metrics: %(choices)s; the last compares the "
        'boundaries of the classes and takes some time')
    parser.add_argument('--boundary-tolerance', type=float, metavar='SHARE',
                        help='distance at which two boundaries agree, as a share of the diagonal (0.0075)')
    parser.add_argument('--bootstrap', nargs='?', type=positive_int, const=1000, metavar='DRAWS',
                        help='95 %% intervals of all scores, by drawing the images anew (%(const)s times)')
    parser.add_argument('--scores', metavar='FILE', help='write the scores, those of every class and the intervals to '
                        'this JSON file')
    add_precision(parser)
    add_run(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluate; the log says the scores."""
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.engine.evaluation import evaluate

    load = exported_instead(args) if Path(args.checkpoint).suffix in ('.onnx', '.pt2') else None
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    evaluate(cfg, args.checkpoint, args.out, args.show_dir, args.tta, args.precision, args.trust_checkpoint,
             not args.no_config_check, args.metrics, args.boundary_tolerance, args.bootstrap, args.scores, load)


def exported_instead(args: argparse.Namespace) -> Callable:
    """A function that lets the exported file compute what the network of a model would, and returns its classes."""
    from mmwhitebox.apis.export import load_exported, substitute
    from mmwhitebox.errors import UserError

    if args.precision != 'fp32':
        raise UserError(f'--precision {args.precision}: {args.checkpoint} has the precision that it was exported with.')
    exported = load_exported(args.checkpoint, args.trust_checkpoint)

    def load(model) -> dict:
        substitute(model, exported)
        return dict(dataset_meta=dict(classes=exported.card['classes']))

    return load
