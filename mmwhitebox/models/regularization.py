"""Losses that a segmentor or classifier adds to its own, made of what some of its modules give: ``regularizers=[...]``.

The modules are read by forward hooks that are there during a training step's forward pass alone: evaluation, windows
and export run the model as it is, and recomputed activations are not read a second time.
"""
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import MODELS


def check_weight(name: str, weight: float) -> float:
    """The weight of a loss; a ConfigError unless it is a number of at least 0."""
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float('inf'):
        raise ConfigError(f'{name}={weight!r}: the weight of a loss is a number from 0 up.')
    return weight


def check_precision(name: str, eps: float) -> float:
    """The precision of a code; a ConfigError unless it is a finite number above 0."""
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < float('inf'):
        raise ConfigError(f'{name}={eps!r}: the precision of a code is a number above 0.')
    return eps


class Regularizer(ABC):
    """A loss on what modules of a model give. It has no parameters."""

    log_name: str
    """What its values are called in the log: ``srr`` of ``srr.loss``."""

    @abstractmethod
    def watch(self, model: nn.Module) -> dict[str, nn.Module]:
        """Find the modules that it reads in a model that has just been built.

        Args:
            model (nn.Module): A segmentor or a classifier.

        Returns:
            dict[str, nn.Module]: Names of its own -> modules.

        Raises:
            ConfigError: The model does not have what it reads.
        """

    @abstractmethod
    def losses(self, outputs: Mapping[str, Any], data_samples: Sequence) -> dict[str, Tensor]:
        """The values of one batch.

        Args:
            outputs (Mapping[str, Any]): What the modules of :meth:`watch` gave, by its names.
            data_samples (Sequence): The labels of the batch.

        Returns:
            dict[str, Tensor]: Scalars. ``loss`` is added to the model's, others are only logged.
        """


class Regularized:
    """Mix-in of segmentors and classifiers that have losses besides those of their heads.

    In a training step the losses of the regularizers join the others, as ``srr.loss`` and the like; two of a kind are
    ``srr_0`` and ``srr_1``. A head's ``loss``, which would stand in the log in the place of the sum, is then
    ``loss_cls``.

    Args:
        *args: Of the model.
        regularizers (Sequence[dict]): Configs of :class:`Regularizer`. Defaults to none.
        **kwargs: Of the model.

    Raises:
        ConfigError: One of them is none, or the model does not have what it reads.
    """

    def __init__(self, *args, regularizers: Sequence[dict] = (), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        built = [MODELS.build(cfg) for cfg in regularizers]
        for i, regularizer in enumerate(built):
            if not isinstance(regularizer, Regularizer):
                raise ConfigError(f'model.regularizers.{i}: {type(regularizer).__name__} is no regularizer: '
                                  'mmwhitebox.SparseRateRegularizer and mmwhitebox.RateReductionLoss are.')
        names = [regularizer.log_name for regularizer in built]
        self.regularizers = {name if names.count(name) == 1 else f'{name}_{names[:i].count(name)}': regularizer
                             for i, (name, regularizer) in enumerate(zip(names, built))}
        self.watched = {name: regularizer.watch(self) for name, regularizer in self.regularizers.items()}

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of a batch: the model's and, in training, those of the regularizers.

        Args:
            inputs (Tensor): Normalised images, (B, C, H, W).
            data_samples (Sequence): Their labels.
        """
        if not (self.regularizers and self.training):
            return super().loss(inputs, data_samples)
        outputs: dict[str, dict[str, Any]] = {name: {} for name in self.regularizers}

        def record(name: str, key: str, module: nn.Module, args: tuple, output: Any) -> None:
            outputs[name][key] = output

        with ExitStack() as stack:
            for name, modules in self.watched.items():
                for key, module in modules.items():
                    stack.callback(module.register_forward_hook(partial(record, name, key)).remove)
            losses = super().loss(inputs, data_samples)
        if 'loss' in losses:
            losses['loss_cls'] = losses.pop('loss')
        for name, regularizer in self.regularizers.items():
            values = regularizer.losses(outputs[name], data_samples)
            losses.update({f'{name}.{key}': value for key, value in values.items()})
        return losses
