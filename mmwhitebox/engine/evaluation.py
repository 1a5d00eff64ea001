"""Evaluating a checkpoint on the test set of a config: what is scored, in which precision, what is written."""
import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmwhitebox.checkpoints import load_weights, safe_load, use_safe_loading
from mmwhitebox.checkpoints.trained_classes import compare_classes
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.config.model_check import check_model
from mmwhitebox.datasets import check_datasets, watch_workers
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import UserError
from mmwhitebox.models.access import unwrap

from .devices import autocast_dtype
from .runner import ConsoleRunner
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


def evaluate(cfg: Config, checkpoint: str, out: str | None = None, show_dir: str | None = None, tta: bool = False,
             precision: str = 'fp32', trust_checkpoint: bool = False, check: bool = True) -> dict[str, float]:
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

    Returns:
        dict[str, float]: The scores.

    Raises:
        UserError: What cannot work: the config, the data, the checkpoint, or nothing to score or write.
    """
    if check:
        check_config(cfg, training=False)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{cfg.filename} has no test_dataloader, so there is nothing to evaluate on.')
    cfg.load_from, cfg.resume = None, False  # the given checkpoint is evaluated, not one of the config
    leave_out_scores(cfg, bool(out or show_dir))
    prepare_folder(cfg.work_dir, '--work-dir')
    if show_dir:
        prepare_folder(show_dir, '--show-dir')
        add_hook(cfg, dict(type='mmwhitebox.PictureHook', out_dir=show_dir))
    if out:
        write_predictions(cfg, out)
    if not trust_checkpoint:
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
        meta = load_weights(model, checkpoint, trust_checkpoint)
        compare_classes(meta, runner.test_loop.dataloader.dataset.metainfo.get('classes'), checkpoint)
        with torch.inference_mode():
            return runner.test()
