"""Scores of a model in memory on the test set of its config, by the config's own metrics, without a Runner."""
import copy
from collections.abc import Callable
from numbers import Real

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from mmwhitebox.datasets import check_datasets
from mmwhitebox.engine.silence import silent
from mmwhitebox.errors import NotApplicableError, UserError

from .data import evaluation_split, scope_of

MAIN_SCORES = ('mIoU', 'accuracy/top1')


def evaluation_loader(cfg: Config, max_images: int | None = None) -> DataLoader:
    """Loader of the test dataset of a config, of the validation where there is no test, or of some images of it.

    Args:
        cfg (Config): Full config.
        max_images (int, optional): Evenly spaced ones. Defaults to None, all.

    Raises:
        NotApplicableError: The config has no test or validation dataset.
        DatasetLayoutError: The data is not there.
    """
    split = evaluation_split(cfg)
    if split is None:
        raise NotApplicableError('The config has no test or validation dataset, which the score needs.')
    check_datasets(cfg, (split, ))
    loader = cfg[f'{split}_dataloader']
    with DATASETS.switch_scope_and_registry(scope_of(cfg)) as registry:
        dataset = registry.build(loader.dataset)
    if max_images is not None and max_images < len(dataset):
        metainfo = dataset.metainfo
        dataset = Subset(dataset, [i * len(dataset) // max_images for i in range(max_images)])
        dataset.metainfo = metainfo
    return Runner.build_dataloader(dict(loader, dataset=dataset))


def scores_of(model: BaseModel, loader: DataLoader, evaluator: Evaluator,
              on_batch: Callable[[], None] | None = None) -> dict[str, float]:
    """What an evaluator says of a model on the images of a loader.

    Args:
        model (BaseModel): In evaluation mode.
        loader (DataLoader): From :func:`evaluation_loader`.
        evaluator (Evaluator): Its ``dataset_meta`` becomes that of the loader's dataset.
        on_batch (Callable, optional): Called after each batch.
    """
    evaluator.dataset_meta = loader.dataset.metainfo
    with torch.inference_mode(), silent():
        for batch in loader:
            evaluator.process(data_samples=model.test_step(batch), data_batch=batch)
            if on_batch is not None:
                on_batch()
        found = evaluator.evaluate(len(loader.dataset))
    return {name: float(value) for name, value in found.items() if isinstance(value, Real)}


def evaluator_of(cfg: Config) -> Evaluator:
    """The metrics of the split that :func:`evaluation_loader` reads.

    Raises:
        NotApplicableError: The config has none.
    """
    metrics = cfg.get(f'{evaluation_split(cfg)}_evaluator')
    if not metrics:
        raise NotApplicableError(f'The config has no {evaluation_split(cfg)}_evaluator, so it does not say how a model '
                                 'is scored.')
    with METRICS.switch_scope_and_registry(scope_of(cfg)):
        return Evaluator(copy.deepcopy(metrics))


def main_score(scores: dict[str, float]) -> tuple[str, float]:
    """Name and value, in percent, of the score that stands for a model: mIoU, or the top-1 accuracy.

    Raises:
        UserError: The metrics give neither.
    """
    for name, value in scores.items():
        if any(name == main or name.endswith(f'/{main}') for main in MAIN_SCORES):
            return name.rpartition('/')[2], value
    raise UserError(f'The metrics of the config give neither mIoU nor top-1 accuracy, but {", ".join(scores)}.')
