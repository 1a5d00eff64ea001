"""What frozen features tell of classes, as metrics: k nearest neighbours and a linear probe."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmpretrain.evaluation import Accuracy
from torch import Tensor

from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.interpret.knn import NEIGHBOURS, TEMPERATURE, knn_scores
from mmwhitebox.interpret.linear_probe import MAX_ITERATIONS, PENALTY, LinearProbe
from mmwhitebox.registry import METRICS


class Bank(NamedTuple):
    """Images whose labels a metric of features may use.

    Attributes:
        features (Tensor): (n, D) float32.
        labels (Tensor): (n, ) int64.
        num_classes (int): Number of classes; labels lie below.
    """
    features: Tensor
    labels: Tensor
    num_classes: int


class FeatureAccuracy(Accuracy):
    """mmpretrain's ``Accuracy`` of what a bank of labelled features says of an image's ``features``.

    :class:`.feature_validation.FeatureValLoop` gives it the bank and the features.

    Args:
        topk (int | Sequence[int]): Score an image as right if its class is among the k best. Defaults to 1.
        **kwargs: Arguments of mmengine's ``BaseMetric``.
    """

    needs_features = True
    scores_of_topk = True

    def __init__(self, topk: int | Sequence[int] = 1, **kwargs) -> None:
        super().__init__(topk=topk, thrs=self.threshold, **kwargs)
        self.bank: Any = None

    threshold: float | None = None  # a class with no more than this score is not predicted

    def check_bank(self, size: int, num_classes: int | None) -> None:
        """Refuse a bank before anything is computed.

        Args:
            size (int): Its images.
            num_classes (int, optional): Its classes, if they are known.

        Raises:
            ConfigError: There are fewer classes than ``topk`` asks for.
        """
        if num_classes is not None and max(self.topk) > num_classes:
            raise ConfigError(f'{type(self).__name__}.topk={max(self.topk)} asks for more than the {num_classes} '
                              f'classes: lower it to {num_classes} or less.')

    def set_bank(self, bank: Bank | None) -> None:
        """Take the bank of a validation; None when it is over, and the memory is free again."""
        self.bank = bank

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, classes) of features (B, D)."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): With ``features`` (D, ) and ``gt_label`` (1, ).

        Raises:
            UserError: There is no bank.
        """
        if self.bank is None:
            raise UserError(f'{type(self).__name__} needs the features: set val_cfg='
                            "dict(type='mmwhitebox.FeatureValLoop').")
        scores = self.scores(torch.stack([sample['features'] for sample in data_samples]))
        super().process(data_batch, [
            dict(pred_score=score, gt_label=sample['gt_label']) for score, sample in zip(scores, data_samples)])


@METRICS.register_module()
class KNNAccuracy(FeatureAccuracy):
    """Accuracy of the k nearest neighbours, by the cosine of features; see :mod:`mmwhitebox.interpret.knn`.

    Args:
        k (int): Neighbours. Defaults to 20.
        temperature (float): T of their weights exp(cos / T). Defaults to 0.07.
        topk (int | Sequence[int]): As of mmpretrain's ``Accuracy``; a class without a neighbour is never right.
            Defaults to 1.
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Metrics: ``knn/top1`` and so on, in percent.

    Raises:
        ConfigError: ``k`` or ``temperature`` is not positive, or the bank has fewer than ``k`` images.
    """

    default_prefix = 'knn'
    threshold = 0.

    def __init__(self, k: int = NEIGHBOURS, temperature: float = TEMPERATURE, topk: int | Sequence[int] = 1,
                 **kwargs) -> None:
        super().__init__(topk, **kwargs)
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise ConfigError(f'KNNAccuracy.k={k!r} is a number of neighbours: 1 or more.')
        if not isinstance(temperature, (int, float)) or not 0 < temperature < float('inf'):
            raise ConfigError(f'KNNAccuracy.temperature={temperature!r} must be a positive number.')
        self.k = k
        self.temperature = temperature

    def check_bank(self, size: int, num_classes: int | None) -> None:
        """Refuse a bank of fewer than k images."""
        super().check_bank(size, num_classes)
        if self.k > size:
            raise ConfigError(f'KNNAccuracy.k={self.k} asks for more neighbours than the bank has images, {size}: '
                              'lower k, or give a larger bank.')

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, classes) of features (B, D)."""
        return knn_scores(features, *self.bank, k=self.k, temperature=self.temperature)


@METRICS.register_module()
class LinearProbeAccuracy(FeatureAccuracy):
    """Accuracy of a linear classifier on frozen features, fitted anew on the bank in every validation.

    See :mod:`mmwhitebox.interpret.linear_probe`.

    Args:
        penalty (float): On the squared weights, of a loss that is summed over the bank. Defaults to 1.
        max_iterations (int): Of the solver. Defaults to 500.
        topk (int | Sequence[int]): As of mmpretrain's ``Accuracy``. Defaults to 1.
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Metrics: ``linear/top1`` and so on, in percent.

    Raises:
        ConfigError: ``penalty`` is negative or ``max_iterations`` not positive.
    """

    default_prefix = 'linear'

    def __init__(self, penalty: float = PENALTY, max_iterations: int = MAX_ITERATIONS, topk: int | Sequence[int] = 1,
                 **kwargs) -> None:
        super().__init__(topk, **kwargs)
        if not isinstance(penalty, (int, float)) or not 0 <= penalty < float('inf'):
            raise ConfigError(f'LinearProbeAccuracy.penalty={penalty!r} must be 0 or a positive number.')
        if not isinstance(max_iterations, int) or max_iterations < 1:
            raise ConfigError(f'LinearProbeAccuracy.max_iterations={max_iterations!r} must be 1 or more.')
        self.penalty = penalty
        self.max_iterations = max_iterations

    def set_bank(self, bank: Bank | None) -> None:
        """Fit the classifier; only it is kept."""
        self.bank = bank and LinearProbe(*bank, penalty=self.penalty, max_iterations=self.max_iterations)

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, classes) of features (B, D)."""
        return self.bank.logits(features)
