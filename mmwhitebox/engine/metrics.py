"""Metrics: scores of every class, with intervals; zero-shot segmentation by looking inside the model."""
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric as MMSegIoUMetric
from scipy import sparse
from torch import Tensor, nn

from mmwhitebox.config.consistency.scores import offered_scores
from mmwhitebox.errors import UserError, joined
from mmwhitebox.interpret.attention_map import class_token_maps, has_class_token
from mmwhitebox.interpret.patch_maps import patch_size
from mmwhitebox.interpret.zero_shot import ZeroShotScores, make_targets, score_image
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.registry import HOOKS, METRICS

from .runner_parts import bare_model
from .scores.bootstrap import Bootstrap
from .scores.boundary_f import TOLERANCE, boundary_f
from .scores.class_scores import ScoredClasses, class_scores, over_classes
from .scores.confusion import known_labels, sample_labels


@METRICS.register_module(name='IoUMetric')
class IoUMetric(MMSegIoUMetric):
    """mmseg's ``IoUMetric`` with boundaries, intervals, a table of the classes that occur, a word about the others.

    The scores are mmseg's: a mean is taken over the classes that have the score. A class that occurs neither in the
    truth nor in the predictions has none; one that is predicted but does not occur has an IoU of 0 and no accuracy.
    Two are mended: pixels are counted exactly (mmseg's counts end at 2^24 in an image), and a class of which nothing is
    found has an F-score of 0 (mmseg leaves it out of mFscore, and so raises it).

    Args:
        *args: As in mmseg's.
        iou_metrics (str | Sequence[str]): Of ``mIoU`` (IoU, Acc), ``mDice`` (Dice, Acc), ``mFscore`` (Fscore,
            Precision, Recall) and ``mBoundaryF``, see :mod:`.scores.boundary_f`, which takes some time.
            Defaults to ('mIoU', ).
        boundary_tolerance (float): Of ``mBoundaryF``, as a share of the diagonal. Defaults to 0.0075.
        bootstrap (int | dict, optional): Draws for the intervals of all scores, or arguments of
            :class:`.scores.bootstrap.Bootstrap`. ``<mean>_low`` and ``<mean>_high`` are then scores, too. Defaults to
            None.
        **kwargs: As in mmseg's.

    Attributes:
        scored (ScoredClasses, optional): Of the last evaluation, in the process that computes.

    Raises:
        ValueError: An unknown metric, or a number out of its range.
    """

    scores_boundaries = True

    def __init__(self, *args, iou_metrics: str | Sequence[str] = ('mIoU', ), boundary_tolerance: float = TOLERANCE,
                 bootstrap: int | dict | None = None, **kwargs) -> None:
        asked = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        super().__init__(*args, iou_metrics=asked, **kwargs)
        offered = offered_scores(type(self))
        unknown = [name for name in asked if name not in offered]
        if unknown:
            raise ValueError(f'iou_metrics: there is no {joined(unknown)}; there are {joined(list(offered))}.')
        if not 0 < boundary_tolerance < 1:
            raise ValueError(f'boundary_tolerance={boundary_tolerance!r} must lie between 0 and 1: it is a share of '
                             'the diagonal.')
        self.boundary_tolerance = boundary_tolerance
        self.bootstrap = Bootstrap.of(bootstrap)
        self.scored: ScoredClasses | None = None

    @staticmethod
    def intersect_and_union(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> tuple:
        """Areas (K, ) of intersection, union, prediction and truth, in pixels."""
        counted = label != ignore_index
        prediction, truth = (known_labels(labels, num_classes, counted) for labels in (pred_label, label))
        right, predicted, true = (torch.bincount(labels.flatten(), minlength=num_classes + 1)[:-1].cpu() for labels in (
            torch.where(prediction == truth, truth, num_classes), prediction, truth))
        return right, predicted + true - right, predicted, true

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch, and compare its boundaries if they are asked for."""
        first = len(self.results)
        super().process(data_batch, data_samples)
        if self.format_only or 'mBoundaryF' not in self.metrics:
            return
        for i, sample in enumerate(data_samples, first):
            maps = (sample[key]['data'].squeeze(0).cpu().numpy() for key in ('pred_sem_seg', 'gt_sem_seg'))
            self.results[i] += (boundary_f(*maps, len(self.dataset_meta['classes']), self.ignore_index,
                                           self.boundary_tolerance), )

    def scores_of_sums(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the classes and their means, from sums (..., 3 K or 5 K) over images."""
        sums = sums.reshape(*sums.shape[:-1], -1, len(self.dataset_meta['classes']))
        scores = class_scores(*np.moveaxis(sums[..., :3, :], -2, 0), self.metrics, self.beta)
        if 'mBoundaryF' in self.metrics:
            with np.errstate(invalid='ignore'):
                scores['BoundaryF'] = sums[..., 3, :] / sums[..., 4, :]
        return over_classes(scores, self.nan_to_num)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The means in percent, with the ends of their intervals if there are some."""
        if self.format_only:
            return super().compute_metrics(results)
        rows = []
        for right, _, predicted, true, *boundary in results:
            row = [np.asarray(area, np.float64) for area in (right, predicted, true)]
            for score in boundary:
                row += [np.nan_to_num(score), np.isfinite(score).astype(np.float64)]
            rows.append(np.concatenate(row))
        sums = np.stack(rows)
        self.scored = ScoredClasses.of(self.dataset_meta['classes'], sums, self.scores_of_sums, self.bootstrap)
        predicted, true = sums.sum(0).reshape(-1, len(self.dataset_meta['classes']))[1:3]
        self.report(self.scored, predicted, true)
        return self.scored.in_percent()

    def report(self, scored: ScoredClasses, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Print the scores of the classes that occur; areas (K, ) in pixels say which do."""
        classes = np.array([str(name) for name in scored.classes])
        shown = (predicted > 0) | (truth > 0)
        print_log(f'per class results:\n{scored.table(shown)}', 'current')
        if scored.intervals:
            print_log(scored.said_intervals(), 'current')
        if truth.all():
            return
        lines = [f'{(truth == 0).sum()} of {len(classes)} classes do not occur in the truth.']
        absent = 'left out' if self.nan_to_num is None else f'counted as {self.nan_to_num}'
        for mask, what in ((~shown, f'Not predicted either, {absent}'), (shown & (truth == 0), 'Predicted, IoU 0')):
            if mask.any():
                lines.append(f'{what}: {joined(classes[mask])}.')
        counted = ', '.join(f'm{key} {np.isfinite(values).sum()}' for key, values in scored.of_classes().items())
        print_log(f'{" ".join(lines)} Classes in each mean: {counted}.', 'current', logging.WARNING)


@METRICS.register_module()
class PerClassIoUMetric(IoUMetric):
    """:class:`IoUMetric` with ``IoU.<class>`` in percent as values of their own.

    Logs and files then hold them; a class that neither occurs nor is predicted has NaN. Arguments as in
    ``IoUMetric``.
    """

    logs_every_class = True

    def compute_metrics(self, results: list) -> dict[str, float]:
        """mmseg's values and the IoU of every class."""
        metrics = super().compute_metrics(results)
        if not self.format_only:
            right, union = (sum(areas) for areas in list(zip(*results))[:2])
            for name, iou in zip(self.dataset_meta['classes'], 100 * right / union):
                metrics[f'IoU.{name}'] = round(iou.item(), 2)
        return metrics


@METRICS.register_module()
class ClassScores(BaseMetric):
    """Precision, recall and F-score of every class of a classifier, as a table in the log; intervals if asked for.

    The mean scores are mmpretrain's metrics' affair: this one's only values are the ends of the intervals. A mean is
    over the classes that have the score; one that is never predicted has no precision and an F-score of 0.

    Args:
        bootstrap (int | dict, optional): Draws for the intervals of all scores, or arguments of
            :class:`.scores.bootstrap.Bootstrap`. Defaults to None.
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Attributes:
        scored (ScoredClasses, optional): Of the last evaluation, in the process that computes.

    Metrics: with intervals ``accuracy/top1_low``, ``accuracy/top1_high`` and likewise ``mPrecision``, ``mRecall``,
    ``mFscore``, in percent.
    """

    default_prefix = 'accuracy'

    def __init__(self, bootstrap: int | dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.bootstrap = Bootstrap.of(bootstrap)
        self.scored: ScoredClasses | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note label and prediction of every image.

        Raises:
            UserError: Images have several labels, and intervals are asked for.
        """
        for sample in data_samples:
            label = sample_labels(sample)
            if label is None and self.bootstrap is not None:
                raise UserError('The bootstrap is for images with one label each; here they may have several.')
            self.results.append(label or ())

    def scores_of_sums(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the classes and their means, from sums (..., 3 K) over images."""
        scores = over_classes(class_scores(*np.split(sums, 3, axis=-1), ['mFscore']))
        return dict(top1=scores.pop('aAcc'), **scores)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The ends of the intervals, in percent."""
        if () in results or not results:
            return {}
        true, predicted = np.array(results).T
        count = len(self.dataset_meta['classes'])
        rows = np.arange(len(results))
        right = rows[true == predicted]
        columns = (true[right], count + predicted, 2 * count + true)
        where = np.concatenate([right, rows, rows]), np.concatenate(columns)
        sums = sparse.coo_array((np.ones(len(where[0])), where), shape=(len(results), 3 * count)).tocsr()
        self.scored = ScoredClasses.of(self.dataset_meta['classes'], sums, self.scores_of_sums, self.bootstrap)
        of_images = np.bincount(true, minlength=count)
        shown = (of_images > 0) | (np.bincount(predicted, minlength=count) > 0)
        print_log(f'per class results:\n{self.scored.table(shown, images=of_images)}', 'current')
        if not self.scored.intervals:
            return {}
        print_log(self.scored.said_intervals(), 'current')
        return {name: value for name, value in self.scored.in_percent().items() if name.endswith(('_low', '_high'))}


@METRICS.register_module()
class ZeroShotSegmentation(BaseMetric):
    """Jaccard index of the class token's attention with foreground, background and boundary.

    Readings and protocol: :mod:`mmwhitebox.interpret.zero_shot`. It needs the model, which :class:`ModelForMetrics`
    gives to it, and runs the encoder once more, on the whole image:

        test_evaluator = [dict(type='IoUMetric'), dict(type='mmwhitebox.ZeroShotSegmentation')]
        custom_hooks = [dict(type='mmwhitebox.ModelForMetrics')]

    The ground truth is the sample's ``gt_sem_seg``.

    Args:
        mass (float, optional): Share of a map that its set of patches holds; None takes the best of all
            thresholds. Defaults to 0.6.
        foreground (Sequence[int], optional): Labels of the foreground. Defaults to None: all but ``background``.
        background (Sequence[int]): Labels of the background. Defaults to 0.
        boundary_width (int, optional): None takes the pixels of ``ignore_index`` for the boundary (VOC), a number
            makes it that wide. Defaults to None.
        ignore_index (int): Label of pixels without a class. Defaults to 255.
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Metrics: ``zero_shot/<target>`` by the best map of all layers, ``zero_shot/<target>_layer<i>`` by the best head of
    a layer and ``zero_shot/<target>_fixed`` by the best single head, in percent.
    """

    default_prefix = 'zero_shot'

    def __init__(self,
                 mass: float | None = 0.6,
                 foreground: Sequence[int] | None = None,
                 background: Sequence[int] = (0, ),
                 boundary_width: int | None = None,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.mass = mass
        self.target_args = dict(foreground=foreground, background=background, boundary_width=boundary_width,
                                ignore_index=ignore_index)
        self.model: nn.Module | None = None
        self.layers: dict[str, nn.Module] = {}

    def set_model(self, model: nn.Module) -> None:
        """Take the model to look into.

        Raises:
            UserError: It has no class token that looks at patches.
        """
        self.model = model
        self.layers = {name: layer for name, layer in attention_layers(model).items()
                       if has_class_token(model, name, layer)}
        if not self.layers:
            raise UserError('ZeroShotSegmentation: this model has no class token that looks at patches.')

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score the images of a batch.

        Args:
            data_batch (dict): ``inputs``, images (3, H, W), and ``data_samples`` with ``gt_sem_seg``.
            data_samples (Sequence[dict]): Predictions; not used.

        Raises:
            UserError: The metric has no model.
        """
        if self.model is None:
            raise UserError("ZeroShotSegmentation needs the model: add custom_hooks=[dict(type='mmwhitebox."
                            "ModelForMetrics')] to the config.")
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            batch = self.model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
            labels = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
            self.results.append(score_image(
                class_token_maps(self.model, batch['inputs'], self.layers),
                make_targets(labels.astype(np.int64), **self.target_args), image.shape[-2:],
                patch_size(self.model), self.mass))

    def compute_metrics(self, results: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
        """Means over the images, in percent."""
        scores = ZeroShotScores()
        for result in results:
            scores.add(result)
        metrics: dict[str, Any] = {}
        for row in scores.rows():
            if row['layer'] == 'all':
                metrics[row['target']] = 100 * row['best_head']
                metrics[f'{row["target"]}_fixed'] = 100 * row['fixed_head']
            else:
                metrics[f'{row["target"]}_layer{scores.layers.index(row["layer"])}'] = 100 * row['best_head']
        return {key: round(value, 2) for key, value in metrics.items()}


@HOOKS.register_module()
class ModelForMetrics(Hook):
    """Gives the model to the metrics that look into it (those with ``set_model``)."""

    @staticmethod
    def _give(runner: Runner, evaluator) -> None:
        model = bare_model(runner.model)
        for metric in evaluator.metrics:
            if hasattr(metric, 'set_model'):
                metric.set_model(model)

    def before_val(self, runner: Runner) -> None:
        self._give(runner, runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        self._give(runner, runner.test_evaluator)
