"""Metrics: IoU of every class as a logged value, zero-shot segmentation by looking inside the model."""
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric as MMSegIoUMetric
from prettytable import PrettyTable
from torch import nn

from mmwhitebox.errors import UserError, joined
from mmwhitebox.interpret.attention_map import class_token_maps, has_class_token
from mmwhitebox.interpret.capture import attention_layers
from mmwhitebox.interpret.patch_maps import patch_size
from mmwhitebox.interpret.zero_shot import ZeroShotScores, make_targets, score_image
from mmwhitebox.registry import HOOKS, METRICS

from .runner_parts import bare_model


@METRICS.register_module(name='IoUMetric')
class IoUMetric(MMSegIoUMetric):
    """mmseg's ``IoUMetric`` with a table of the classes that occur, and a word about those that do not.

    The scores are mmseg's: a mean is taken over the classes that have the score. A class that occurs neither in the
    truth nor in the predictions has none; one that is predicted but does not occur has an IoU of 0 and no accuracy.
    Arguments as in mmseg's.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """mmseg's values, in percent."""
        if self.format_only:
            return super().compute_metrics(results)
        areas = [sum(area) for area in zip(*results)]
        scores = self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)
        means = {key if key == 'aAcc' else f'm{key}': np.round(np.nanmean(value) * 100, 2)
                 for key, value in scores.items()}
        self.report({key: value for key, value in scores.items() if key != 'aAcc'}, *(areas[i].numpy() for i in (2, 3)))
        return means

    def report(self, scores: dict[str, np.ndarray], predicted: np.ndarray, truth: np.ndarray) -> None:
        """Print the scores (K, ) of the classes that occur; areas (K, ) in pixels say which do."""
        classes = np.array([str(name) for name in self.dataset_meta['classes']])
        shown = (predicted > 0) | (truth > 0)
        table = PrettyTable()
        table.add_column('Class', classes[shown].tolist())
        for key, values in scores.items():
            table.add_column(key, np.round(100 * values[shown], 2))
        print_log(f'per class results:\n{table.get_string()}', 'current')
        if truth.all():
            return
        lines = [f'{(truth == 0).sum()} of {len(classes)} classes do not occur in the truth.']
        absent = 'left out' if self.nan_to_num is None else f'counted as {self.nan_to_num}'
        for mask, what in ((~shown, f'Not predicted either, {absent}'), (shown & (truth == 0), 'Predicted, IoU 0')):
            if mask.any():
                lines.append(f'{what}: {joined(classes[mask])}.')
        counted = ', '.join(f'm{key} {np.isfinite(values).sum()}' for key, values in scores.items())
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
            intersections, unions = (sum(areas) for areas in list(zip(*results))[:2])
            for name, iou in zip(self.dataset_meta['classes'], 100 * intersections / unions):
                metrics[f'IoU.{name}'] = round(iou.item(), 2)
        return metrics


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
