"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--tta] [--show-dir DIR] [--out OUT]"""
import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test set')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--work-dir', help='where the log and the metrics (JSON) go; work_dirs/CONFIG by default')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument(
        '--out',
        help='write the predictions: label maps to the folder OUT, as PNG at the path of the image below the data '
        'set\'s folder (class indices; class index + 1 where the data set has reduce_zero_label, as ADE20K\'s own '
        'labels); a classifier\'s to the file OUT.pkl')
    parser.add_argument(
        '--show-dir', metavar='DIR',
        help='write pictures (image, ground truth, prediction) to DIR, named likewise')
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32',
                        help='of the network: bf16 and fp16 (GPU only) use autocast (%(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below


import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmwhitebox.apis import autocast_dtype
from mmwhitebox.checkpoints import load_weights, safe_load, use_safe_loading
from mmwhitebox.checkpoints.trained_classes import compare_classes
from mmwhitebox.datasets import check_datasets, watch_workers
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.engine.config_check import check_config
from mmwhitebox.engine.config_errors import named_build_errors
from mmwhitebox.engine.consistency import check_consistency, raise_together
from mmwhitebox.engine.console import ConsoleRunner
from mmwhitebox.engine.launch import (
    load_config,
    pin_memory,
    prepare_work_dir,
    run_command,
    setup_launcher,
    use_compile,
)
from mmwhitebox.engine.model_check import check_model
from mmwhitebox.errors import UserError


def write_predictions(cfg: Config, out: str) -> None:
    """Turn on the output of the predictions.

    Raises:
        UserError: Those of a classifier go to a pickle file, and the name has another suffix.
    """
    if 'decode_head' in cfg.model:
        prepare_work_dir(out, '--out')
        add_hook(cfg, dict(type='mmwhitebox.LabelMapHook', out_dir=out))
        return
    if not out.endswith('.pkl'):
        raise UserError(f'--out {out}: the predictions of a classifier go to one file, NAME.pkl.')
    cfg.test_evaluator = [*evaluators(cfg), dict(type='DumpResults', out_file_path=out)]


def add_hook(cfg: Config, hook: dict) -> None:
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def evaluators(cfg: Config) -> list:
    """The metrics of the config, of which there may be one or several."""
    found = cfg.get('test_evaluator') or []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def leave_out_scores(cfg: Config, writes: bool) -> None:
    """Without labels nothing is scored: take out the metrics that need some, and those that only write (format_only).

    Raises:
        UserError: Nothing would be written either.
    """
    labelled = 'decode_head' not in cfg.model or all(
        'seg_map_path' in dataset.get('data_prefix', ['seg_map_path']) or dataset.get('ann_file')
        for dataset in leaf_datasets(cfg.test_dataloader.dataset))
    kept = [metric for metric in evaluators(cfg) if labelled and not metric.get('format_only')]
    if not kept and not writes:
        raise UserError('The test set has no labels to score with (no data_prefix.seg_map_path, or format_only): give '
                        '--out DIR for the label maps, --show-dir DIR for pictures.')
    cfg.test_evaluator = kept


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
    for dataset in leaf_datasets(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(**cfg.tta_model, module=module)


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    if not args.no_config_check:
        check_config(cfg, training=False)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{args.config} has no test_dataloader, so there is nothing to evaluate on.')
    cfg.load_from, cfg.resume = None, False  # the checkpoint of the command line is evaluated, not one of the config
    leave_out_scores(cfg, bool(args.out or args.show_dir))
    prepare_work_dir(cfg.work_dir)
    if args.show_dir:
        prepare_work_dir(args.show_dir, '--show-dir')
        add_hook(cfg, dict(type='mmwhitebox.PictureHook', out_dir=args.show_dir))
    if args.out:
        write_predictions(cfg, args.out)
    if not args.trust_checkpoint:
        use_safe_loading()
        safe_load(args.checkpoint)  # a broken file shows now, not after the data is set up
    raise_together(lambda: check_consistency(cfg, ('test', )), lambda: check_datasets(cfg, splits=('test', )))
    if args.tta:
        use_augmentation(cfg)
    use_precision(cfg, args.precision)
    use_compile(cfg)
    pin_memory(cfg)
    setup_launcher(cfg)
    with named_build_errors(cfg), watch_workers():
        runner = ConsoleRunner.from_cfg(cfg)
        model = runner.model.module if args.launcher != 'none' else runner.model
        check_model(model.module if args.tta else model)
        meta = load_weights(model.module if args.tta else model, args.checkpoint, args.trust_checkpoint)
        compare_classes(meta, runner.test_loop.dataloader.dataset.metainfo.get('classes'), args.checkpoint)
        with torch.inference_mode():
            runner.test()


if __name__ == '__main__':
    run_command(main, log_to='stdout')
