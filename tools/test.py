"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--tta] [--show-dir DIR] [--out DIR]"""
import argparse
import sys

from mmengine.config import DictAction
from mmengine.runner import Runner

from mmwhitebox.checkpoints import load_weights
from mmwhitebox.datasets import check_seg_datasets
from mmwhitebox.engine.launch import load_config, prepare_work_dir, setup_launcher
from mmwhitebox.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test set')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--work-dir', help='where the log and the metrics (JSON) go; work_dirs/CONFIG by default')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument('--out', metavar='DIR', help='write the predicted label maps (PNG) to DIR')
    parser.add_argument(
        '--show-dir', metavar='DIR',
        help='write pictures (image, ground truth, prediction) to DIR')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    prepare_work_dir(cfg.work_dir)
    if args.show_dir:
        cfg.default_hooks.visualization.draw = True
        cfg.visualizer.picture_dir = args.show_dir
    if args.out:
        cfg.test_evaluator.update(output_dir=args.out)
    check_seg_datasets(cfg, splits=('test', ))
    model_cfg = cfg.model
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise UserError(f'{args.config} has no tta_model and tta_pipeline, so --tta is not possible.')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(**cfg.tta_model, module=model_cfg)
    setup_launcher(cfg)
    runner = Runner.from_cfg(cfg)
    model = runner.model.module if args.launcher != 'none' else runner.model
    load_weights(model.module if args.tta else model, args.checkpoint)
    runner.test()


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
