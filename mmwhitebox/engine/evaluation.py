"""Evaluating a checkpoint on the test set of a config: what is scored, in which precision, what is written."""
import json
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.registry import METRICS
from torch import nn

from mmwhitebox.checkpoints import load_weights, safe_load, use_safe_loading
from mmwhitebox.checkpoints.atomic import write_bytes
from mmwhitebox.checkpoints.trained_classes import compare_classes
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.config.consistency.scores import gives_iou
from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.config.model_check import check_model
from mmwhitebox.config_parts import metrics as metric_parts
from mmwhitebox.datasets import check_datasets, watch_workers
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import UserError, joined
from mmwhitebox.models.access import unwrap

from .devices import autocast_dtype
from .runner import ConsoleRunner
from .scores.bootstrap import Bootstrap
from .setup import add_hook, pin_memory, setup_launcher, use_compile
from .work_dir import prepare_folder


def write_predictions(cfg: Config, out: str) -> None:
    """Turn on the output of the predictions.

    Raises:
        UserError: Those of a classifier go to a pickle file, and the name has another suffix.
    """
    if 'decode_head' in cfg.model:
        prepare_folder(out, '--out')
        add_hook(cfg, dict(type='mmwhitebox.LabelMapHook', out_dir=out))
        return
    if not out.endswith('.pkl'):
        raise UserError(f'--out {out}: the predictions of a classifier go to one file, NAME.pkl.')
    cfg.test_evaluator = [*evaluators(cfg), dict(type='DumpResults', out_file_path=out)]


def evaluators(cfg: Config) -> list:
    """The metrics of the config, of which there may be one or several."""
    found = cfg.get('test_evaluator') or []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def scoring_metrics(cfg: Config) -> list:
    """The metrics of the config but for those that only write (format_only); none for a test set without labels."""
    labelled = 'decode_head' not in cfg.model or all(
        'seg_map_path' in dataset.get('data_prefix', ['seg_map_path']) or dataset.get('ann_file')
        for dataset in leaf_datasets(cfg.test_dataloader.dataset))
    return [metric for metric in evaluators(cfg) if labelled and not metric.get('format_only')]


def leave_out_scores(cfg: Config, writes: bool) -> None:
    """Keep the metrics that score.

    Raises:
        UserError: There is none, and nothing would be written either.
    """
    kept = scoring_metrics(cfg)
    if not kept and not writes:
        raise UserError('The test set has no labels to score with (no data_prefix.seg_map_path, or format_only): give '
                        '--out DIR for the label maps, --show-dir DIR for pictures.')
    cfg.test_evaluator = kept


def use_scoring(cfg: Config, metrics: Sequence[str] | None = None, boundary_tolerance: float | None = None,
                bootstrap: int | None = None, every_class: bool = False) -> None:
    """Set what the metrics of the test set score; those of a classifier score every class, too.

    Args:
        cfg (Config): It is changed.
        metrics (Sequence[str], optional): ``iou_metrics`` of the IoUMetrics. Defaults to None: the config's.
        boundary_tolerance (float, optional): Theirs. Defaults to None: the config's.
        bootstrap (int, optional): Draws for intervals. Defaults to None: as the config says.
        every_class (bool): Take ours for mmseg's IoUMetric: it keeps the scores of the classes. Defaults to False.

    Raises:
        UserError: There is no metric that has this option, or a number is out of its range.
    """
    asked = dict(iou_metrics=metrics and list(metrics), boundary_tolerance=boundary_tolerance, bootstrap=bootstrap)
    options = {name: value for name, value in asked.items() if value is not None}
    flags = joined(['--' + ('metrics' if name == 'iou_metrics' else name.replace('_', '-')) for name in options])
    try:
        Bootstrap.of(bootstrap)
    except ValueError as error:
        raise UserError(f'--{error}') from error
    if 'decode_head' not in cfg.model:
        if set(options) - {'bootstrap'}:
            raise UserError(f'{flags}: boundaries and IoU are for segmentation; this is a classifier.')
        cfg.test_evaluator = [*evaluators(cfg), dict(type='mmwhitebox.ClassScores', bootstrap=bootstrap)]
        return
    if not options and not every_class:
        return
    with METRICS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        found = [part for part in metric_parts(cfg, 'test') if gives_iou(part)]
    if not found and options:
        raise UserError(f'{flags}: the config has no IoUMetric in its test_evaluator.')
    for part in found:
        if not getattr(part.cls, 'scores_boundaries', False):
            part.cfg['type'] = 'mmwhitebox.IoUMetric'  # for mmseg's: takes its arguments, and gives its scores
        part.cfg.update(options)
    if boundary_tolerance is not None and not any('mBoundaryF' in part.cfg.get('iou_metrics', ()) for part in found):
        raise UserError('--boundary-tolerance is for the boundary F: add --metrics mBoundaryF.')
    if boundary_tolerance is not None and not 0 < boundary_tolerance < 1:
        raise UserError(f'--boundary-tolerance {boundary_tolerance} must lie between 0 and 1: it is a share of the '
                        'diagonal of the image.')


@master_only
def write_scores(path: str, cfg: Config, checkpoint: str, scores: dict[str, float], metrics: Sequence) -> None:
    """Write the scores of a test to a JSON file, in percent; a score that there is not is null.

    Args:
        path (str): The file.
        cfg (Config): Of the test.
        checkpoint (str): What was tested.
        scores (dict[str, float]): As they are logged.
        metrics (Sequence): Those that have ``scored`` (:class:`.scores.class_scores.ScoredClasses`) give the classes.
    """
    found: dict = dict(config=cfg.filename, checkpoint=checkpoint, scores={
        name: float(value) if np.isfinite(value) else None for name, value in scores.items()
        if isinstance(value, Real)}, classes={})
    for metric in metrics:
        if getattr(metric, 'scored', None) is not None:
            for key, values in metric.scored.as_json().items():
                if isinstance(values, dict) and key != 'bootstrap':
                    values = {f'{metric.prefix}/{name}' if metric.prefix else name: value
                              for name, value in values.items()}
                    values = {**found.get(key, {}), **values}
                found[key] = values
    write_bytes(path, json.dumps(found, indent=1, ensure_ascii=False).encode())


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


def evaluate(cfg: Config, checkpoint: str, out: str | None = None, show_dir: str | None = None, tta: bool = False,
             precision: str = 'fp32', trust_checkpoint: bool = False, check: bool = True,
             metrics: Sequence[str] | None = None, boundary_tolerance: float | None = None,
             bootstrap: int | None = None, scores_file: str | None = None,
             load: Callable[[nn.Module], dict] | None = None) -> dict[str, float]:
    """Evaluate a checkpoint on the test set of a config.

    Args:
        cfg (Config): From :func:`mmwhitebox.config.reading.load_config`; it is changed.
        checkpoint (str): Checkpoint of that config.
        out (str, optional): Write the label maps to this folder; of a classifier the predictions to this ``.pkl`` file.
        show_dir (str, optional): Write pictures to this folder.
        tta (bool): Test-time augmentation. Defaults to False.
        precision (str): 'fp32', 'bf16' or 'fp16'. Defaults to 'fp32'.
        trust_checkpoint (bool): Read a checkpoint that needs more than weights. Defaults to False.
        check (bool): Check the config first. Defaults to True.
        metrics (Sequence[str], optional): What to score, see :func:`use_scoring`. Defaults to None: the config's.
        boundary_tolerance (float, optional): Of the boundary F. Defaults to None: the config's.
        bootstrap (int, optional): Draws for intervals. Defaults to None.
        scores_file (str, optional): Write scores, those of every class, and intervals to this JSON file.
        load (Callable, optional): Gives the model what is scored, and returns the ``meta`` of a checkpoint. Defaults to
            None: the weights of the checkpoint.

    Returns:
        dict[str, float]: The scores.

    Raises:
        UserError: What cannot work: the config, the data, the checkpoint, or nothing to score or write.
    """
    if check:
        check_config(cfg, training=False)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{cfg.filename or "The folder of a pretrained model"} has no test_dataloader, so there is '
                        'nothing to evaluate on.')
    cfg.load_from, cfg.resume = None, False  # the given checkpoint is evaluated, not one of the config
    leave_out_scores(cfg, bool(out or show_dir))
    if evaluators(cfg) or metrics or boundary_tolerance or bootstrap:
        use_scoring(cfg, metrics, boundary_tolerance, bootstrap, every_class=bool(scores_file))
    if scores_file:
        if Path(scores_file).is_dir():
            raise UserError(f'--scores {scores_file} is a folder; name a file in it.')
        prepare_folder(str(Path(scores_file).parent), '--scores')
    prepare_folder(cfg.work_dir, '--work-dir')
    if show_dir:
        prepare_folder(show_dir, '--show-dir')
        add_hook(cfg, dict(type='mmwhitebox.PictureHook', out_dir=show_dir))
    if out:
        write_predictions(cfg, out)
    if load is None and not trust_checkpoint:
        use_safe_loading()
        safe_load(checkpoint)  # a broken file shows now, not after the data is set up
    raise_together(lambda: check_consistency(cfg, ('test', )), lambda: check_datasets(cfg, splits=('test', )))
    if tta:
        use_augmentation(cfg)
    use_precision(cfg, precision)
    use_compile(cfg)
    pin_memory(cfg)
    setup_launcher(cfg)
    with named_build_errors(cfg), watch_workers():
        runner = ConsoleRunner.from_cfg(cfg)
        model = unwrap(runner.model)
        check_model(model)
        meta = load_weights(model, checkpoint, trust_checkpoint) if load is None else load(model)
        compare_classes(meta, runner.test_loop.dataloader.dataset.metainfo.get('classes'), checkpoint)
        with torch.inference_mode():
            scores = runner.test()
    if scores_file:
        write_scores(scores_file, cfg, checkpoint, scores, runner.test_loop.evaluator.metrics)
    return scores
