"""Validation of what a model's features tell, for models with classes and without: mmengine's loop and a bank.

A self-supervised training adds to its config, with the images to score under ``val_dataloader``::

    val_evaluator = [dict(type='mmwhitebox.KNNAccuracy'), dict(type='mmwhitebox.LinearProbeAccuracy')]
    val_cfg = dict(type='mmwhitebox.FeatureValLoop')
"""
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement
from mmpretrain.evaluation import Accuracy, AveragePrecision, MultiLabelMetric, SingleLabelMetric
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.data import DataLoader

from mmwhitebox.datasets import check_datasets
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import ConfigError, DatasetLayoutError, UserError, joined
from mmwhitebox.models.access import image_features, preprocessed, unwrap
from mmwhitebox.registry import LOOPS

from .feature_scores import Bank, FeatureAccuracy

OF_PREDICTIONS = (Accuracy, AveragePrecision, MultiLabelMetric, SingleLabelMetric)


def bank_loader(cfg: Config, bank: dict | None = None, split: str = 'val') -> dict:
    """Dataloader config of the bank: that of the images to score, with another dataset, every image of it once.

    Args:
        cfg (Config): Full config.
        bank (dict, optional): Dataset config; the pipeline is the validation's unless it has one. Defaults to None:
            the training's images, out of wrappers that repeat them, as the validation prepares them.
        split (str): Where the images to score are, 'val' or 'test'. Defaults to 'val'.

    Raises:
        ConfigError: The config has no dataset to take.
    """
    train, val = (list(leaf_datasets(cfg[name]['dataset'])) if cfg.get(name) else [] for name in (
        'train_dataloader', f'{split}_dataloader'))
    if not val or bank is None and not train:
        raise ConfigError(f'Features are scored on {split}_dataloader, by the labels of train_dataloader or '
                          'val_cfg.bank: the config lacks them.')
    pipeline = dict(pipeline=val[0].get('pipeline') or [])
    banks = [{**dataset, **pipeline} for dataset in train] if bank is None else [{**pipeline, **bank}]
    loader = {key: value for key, value in cfg[f'{split}_dataloader'].items()
              if key not in ('batch_sampler', 'num_batch_per_epoch', 'persistent_workers', 'drop_last')}
    return {**loader, 'sampler': dict(type='DefaultSampler', shuffle=False),
            'dataset': banks[0] if len(banks) == 1 else dict(type='ConcatDataset', datasets=banks)}


def check_bank(cfg: Config, loader: dict) -> None:
    """Check the folders of a bank that the config names, which no check of its splits sees.

    Args:
        cfg (Config): Full config.
        loader (dict): From :func:`bank_loader`.

    Raises:
        DatasetLayoutError: As :func:`mmwhitebox.datasets.check_datasets`.
    """
    try:
        check_datasets(Config(dict(default_scope=cfg.get('default_scope', 'mmseg'), val_dataloader=loader)), ('val', ))
    except DatasetLayoutError as error:
        raise DatasetLayoutError(str(error).replace('val_dataloader.dataset', 'val_cfg.bank')) from error


def label_of(sample: BaseDataElement, name: str) -> int:
    """The label of an image.

    Raises:
        UserError: It has none, or several.
    """
    label = sample.get('gt_label')
    if not isinstance(label, Tensor) or label.numel() != 1:
        raise UserError(f'{name}: {sample.get("img_path") or "an image"} has '
                        f'{"no label" if label is None else "several labels"}; the score of features needs one label '
                        'for each image: a dataset with labels, and PackInputs at the end of its pipeline.')
    return int(label)


def check_labels(loader: DataLoader, name: str) -> None:
    """Look at the first image of a loader: are there any, and does it have a label?

    Raises:
        UserError: No.
    """
    if not len(loader.dataset):
        raise UserError(f'{name} has no images.')
    sample = loader.dataset[0].get('data_samples')
    label_of(sample if sample is not None else BaseDataElement(), name)


def batch_features(model: nn.Module, batch: dict, mixed: bool = False) -> tuple[Tensor, list, Any]:
    """Features of a batch of a loader.

    Args:
        model (nn.Module): With ``data_preprocessor`` and ``extract_feat``, in evaluation mode, without wrappers.
        batch (dict): ``inputs`` and ``data_samples``.
        mixed (bool): Under mmengine's autocast. Defaults to False.

    Returns:
        tuple[Tensor, list, Any]: Features (B, D), data samples, and what ``extract_feat`` gave.
    """
    data = preprocessed(model, batch['inputs'], batch['data_samples'])
    with torch.no_grad(), autocast(enabled=mixed):
        found = model.extract_feat(data['inputs'])
    return image_features(model, found), data['data_samples'], found


def gather_samples(part: Tensor, size: int) -> Tensor:
    """The rows of all processes in the order of the data, without those that fill up the last round.

    Args:
        part (Tensor): Of this process, (n, ...): rows r, r + processes, ... of the data, as mmengine's
            ``DefaultSampler`` deals them out; n may differ by one.
        size (int): Number of samples in the data.

    Returns:
        Tensor: (size, ...), the same in every process.

    Raises:
        ValueError: The rows are too few.
    """
    world = get_world_size()
    rounds = -(-size // world)
    if len(part) < len(range(get_rank(), size, world)):
        raise ValueError(f'{len(part)} samples of process {get_rank()}, of {size} in {world} processes.')
    part = pad(part[:rounds].movedim(0, -1), (0, rounds - len(part[:rounds]))).movedim(-1, 0).contiguous()
    return torch.stack(all_gather(part), 1).flatten(0, 1)[:size]


def collect_bank(model: nn.Module, loader: DataLoader, name: str = 'The bank', mixed: bool = False,
                 batches: Iterable | None = None) -> Bank:
    """Features and labels of all images of a loader, from all processes.

    Args:
        model (nn.Module): In evaluation mode, without wrappers.
        loader (DataLoader): Reads by a ``DefaultSampler`` that does not shuffle.
        name (str): What errors call it.
        mixed (bool): Under mmengine's autocast. Defaults to False.
        batches (Iterable, optional): The loader with a progress bar around it. Defaults to None: the loader.

    Raises:
        UserError: An image without a label or with several.
    """
    features, labels = [], []
    for batch in loader if batches is None else batches:
        found, samples, _ = batch_features(model, batch, mixed)
        features.append(found)
        labels += [label_of(sample, name) for sample in samples]
    size = len(loader.dataset)
    every = gather_samples(torch.cat(features), size)
    broken = int((~every.isfinite().all(1)).sum())
    if broken:
        raise UserError(f'{name}: the features of {broken} of {size} images are not finite (NaN or infinite): the '
                        'model is broken, or its weights are.')
    truth = gather_samples(torch.tensor(labels, device=every.device), size)
    return Bank(every, truth, num_classes_of(loader) or int(truth.max()) + 1)


def num_classes_of(loader: DataLoader) -> int | None:
    """Number of classes that the dataset of a loader names; None if it names none."""
    classes = getattr(loader.dataset, 'metainfo', {}).get('classes')
    return len(classes) if classes else None


@contextmanager
def kept_generators() -> Iterator[None]:
    """A context that leaves the random numbers of Python, NumPy and torch as they were."""
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@LOOPS.register_module()
class FeatureValLoop(ValLoop):
    """mmengine's ``ValLoop`` whose samples have ``features``, for metrics such as :class:`KNNAccuracy`.

    Works for every model with ``extract_feat``, a self-supervised algorithm or a classifier, whose predictions are then
    made from the same pass, for metrics of its own classes beside. Neither the random numbers nor anything else of the
    training are touched: it ends with the same parameters, bit for bit, with this validation and without.

    The features of the bank are kept on the device of the model during the validation, in every process: 4 bytes x
    images x width, 4 GB of ImageNet at width 768, and as much again while neighbours are looked for. ``indices`` of the
    bank's dataset take some of its images.

    Args:
        runner (Runner): The training.
        dataloader (DataLoader | dict): The images to score, with labels.
        evaluator (Evaluator | dict | list): The metrics.
        bank (dict, optional): Dataset config of the images whose labels are used. Defaults to None: the training's,
            through the pipeline of the validation.
        fp16 (bool): Under mmengine's autocast. Defaults to False.

    Raises:
        UserError: Before training: images without labels, a metric of predictions for a model that makes none, another
            order of classes in the bank than in the validation, a bank that is too small for a metric.
    """

    gives_features = True

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list,
                 bank: dict | None = None, fp16: bool = False) -> None:
        with kept_generators():
            super().__init__(runner, dataloader, evaluator, fp16)
            loader = bank_loader(runner.cfg, bank)
            if bank is not None:
                check_bank(runner.cfg, loader)
            self.bank_loader = runner.build_dataloader(loader, seed=runner.seed)
            self.check()

    @property
    def model(self) -> nn.Module:
        """The model without wrappers."""
        return unwrap(self.runner.model)

    @property
    def predicts(self) -> bool:
        """Whether the model makes predictions, too."""
        return isinstance(self.model, ImageClassifier)

    def check(self) -> None:
        """Refuse what cannot work."""
        if not hasattr(self.model, 'extract_feat'):
            raise ConfigError(f'val_cfg: FeatureValLoop takes a model with extract_feat; {type(self.model).__name__} '
                              'has none.')
        check_labels(self.dataloader, 'val_dataloader')
        check_labels(self.bank_loader, 'val_cfg.bank')
        bank, val = (getattr(loader.dataset, 'metainfo', {}).get('classes') for loader in (
            self.bank_loader, self.dataloader))
        if bank and val and list(bank) != list(val):
            raise ConfigError(f'val_cfg.bank has the classes {joined(bank)}, val_dataloader {joined(val)}: write the '
                              'same in both, in one order.')
        for metric in self.evaluator.metrics:
            if isinstance(metric, FeatureAccuracy):
                metric.check_bank(len(self.bank_loader.dataset), num_classes_of(self.bank_loader))
            elif isinstance(metric, OF_PREDICTIONS) and not self.predicts:
                raise ConfigError(f'val_evaluator: {type(metric).__name__} scores predictions, and '
                                  f'{type(self.model).__name__} makes none: take mmwhitebox.KNNAccuracy or '
                                  'mmwhitebox.LinearProbeAccuracy.')

    def run(self) -> dict:
        """Launch validation."""
        with kept_generators():
            try:
                return super().run()
            finally:
                self.set_bank(None)

    def set_bank(self, bank: Bank | None) -> None:
        """Give a bank to the metrics, or take it from them."""
        for metric in self.evaluator.metrics:
            if isinstance(metric, FeatureAccuracy):
                metric.set_bank(bank)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Iterate one mini-batch; before the first one, the bank."""
        if idx == 0:  # now hooks have put the weights in place, an average say
            self.set_bank(collect_bank(self.model, self.bank_loader, 'val_cfg.bank', self.fp16))
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        features, samples, found = batch_features(self.model, data_batch, self.fp16)
        if self.predicts:
            with autocast(enabled=self.fp16):
                samples = self.model.head.predict(found, samples)
        if not features.isfinite().all():
            raise UserError('val_dataloader: features are not finite (NaN or infinite): the model is broken, or its '
                            'weights are.')
        for sample, feature in zip(samples, features):
            label_of(sample, 'val_dataloader')
            sample.set_field(feature, 'features', dtype=Tensor)
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook('after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=samples)
