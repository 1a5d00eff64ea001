"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--tta] [--show-dir DIR] [--out OUT]"""
import argparse
import sys

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner

from mmwhitebox.apis import PRECISIONS, autocast_dtype
from mmwhitebox.checkpoints import load_weights, safe_load, use_safe_loading
from mmwhitebox.datasets import check_datasets, watch_workers
from mmwhitebox.engine.config_check import check_config
from mmwhitebox.engine.config_errors import named_build_errors
from mmwhitebox.engine.launch import (
    exit_message,
    load_config,
    pin_memory,
    prepare_work_dir,
    setup_launcher,
    use_compile,
)
from mmwhitebox.engine.model_check import check_model
from mmwhitebox.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test set')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--work-dir', help='where the log and the metrics (JSON) go; work_dirs/CONFIG by default')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument(
        '--out',
        help='write the predictions: label maps (PNG) to the folder OUT, a classifier\'s to the file OUT.pkl')
    parser.add_argument(
        '--show-dir', metavar='DIR',
        help='write pictures (image, ground truth, prediction) to DIR')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32',
                        help='of the network: bf16 and fp16 (GPU only) use autocast (%(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def show_pictures(cfg: Config, folder: str) -> None:
    """Turn on the pictures of every test image."""
    if 'decode_head' in cfg.model:
        cfg.default_hooks.visualization.draw = True
        cfg.visualizer.picture_dir = folder
    else:
        cfg.default_hooks.visualization.update(enable=True, interval=1, out_dir=folder)


def write_predictions(cfg: Config, out: str) -> None:
    """Turn on the output of the predictions.

    Raises:
        UserError: Those of a classifier go to a pickle file, and the name has another suffix.
    """
    if 'decode_head' in cfg.model:
        cfg.test_evaluator.update(output_dir=out)
        return
    if not out.endswith('.pkl'):
        raise UserError(f'--out {out}: the predictions of a classifier go to one file, NAME.pkl.')
    cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpResults', out_file_path=out)]


def use_precision(cfg: Config, precision: str) -> None:
    """Run the network under mmengine's autocast, in the dtype of a precision."""
    dtype = autocast_dtype(precision, get_device())
    if dtype != torch.float32:
        cfg.test_cfg.fp16 = True  # mmengine's name for autocast; its dtype is torch's setting
        torch.set_autocast_dtype(get_device(), dtype)


def use_augmentation(cfg: Config) -> None:
    """Put the model and the pipeline of test-time augmentation in the place of the plain ones.

    Raises:
        UserError: The config has none.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UserError(f'{cfg.filename} has no tta_model and tta_pipeline, so --tta is not possible.')
    module = cfg.model
    if cfg.tta_model.type == 'SegTTAModel':  # mmseg's merges complete logits
        module.setdefault('test_cfg', {})['keep_logits'] = True
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(**cfg.tta_model, module=module)


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    check_config(cfg)
    prepare_work_dir(cfg.work_dir)
    if args.show_dir:
        show_pictures(cfg, args.show_dir)
    if args.out:
        write_predictions(cfg, args.out)
    if not args.trust_checkpoint:
        use_safe_loading()
        safe_load(args.checkpoint)  # a broken file shows now, not after the data is set up
    check_datasets(cfg, splits=('test', ))
    if args.tta:
        use_augmentation(cfg)
    use_precision(cfg, args.precision)
    use_compile(cfg)
    pin_memory(cfg)
    setup_launcher(cfg)
    with named_build_errors(cfg), watch_workers():
        runner = Runner.from_cfg(cfg)
        model = runner.model.module if args.launcher != 'none' else runner.model
        check_model(model.module if args.tta else model)
        load_weights(model.module if args.tta else model, args.checkpoint, args.trust_checkpoint)
        with torch.inference_mode():
            runner.test()


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(exit_message(error))
