"""Which classes are taken for which: counted for every image, summed, scored, written."""
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .class_scores import class_scores


def sample_labels(sample: dict) -> tuple[int, int] | None:
    """Label and prediction of an image that has one of each; None if it has several or none."""
    labels = [sample.get(key) for key in ('gt_label', 'pred_label')]
    if not all(isinstance(label, Tensor) and label.numel() == 1 for label in labels):
        return None
    true, predicted = map(int, labels)
    return true, predicted


def known_labels(labels: Tensor, num_classes: int, counted: Tensor) -> Tensor:
    """Labels (H, W) as int64; ``num_classes`` in the place of what is no class or is not counted, a mask (H, W)."""
    labels = labels.long()
    return torch.where(counted & (labels >= 0) & (labels < num_classes), labels, num_classes)


def sample_confusion(sample: dict, num_classes: int, ignore_index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Cells of the flattened confusion matrix that an image counts in, and the counts.

    Args:
        sample (dict): A data sample of mmseg or mmpretrain, with truth and prediction.
        num_classes (int): K. The matrix is (K + 1, K + 1), rows are the truth; the last of both is for labels that are
            no class.
        ignore_index (int): Label of the pixels that are not counted.

    Returns:
        tuple[np.ndarray, np.ndarray] | None: Cells and counts (M, ); None if the sample has no such labels.
    """
    side = num_classes + 1
    if 'gt_sem_seg' not in sample or 'pred_sem_seg' not in sample:
        labels = sample_labels(sample)
        if labels is None:
            return None
        truth, prediction = (label if 0 <= label < num_classes else num_classes for label in labels)
        return np.array([truth * side + prediction]), np.array([1])
    truth, prediction = (sample[key]['data'].squeeze(0) for key in ('gt_sem_seg', 'pred_sem_seg'))
    if truth.shape != prediction.shape:
        return None
    truth = truth.to(prediction.device)
    ignored = int((truth == ignore_index).sum())
    truth, prediction = (known_labels(labels, num_classes, truth != ignore_index) for labels in (truth, prediction))
    counts = torch.bincount((truth * side + prediction).flatten(), minlength=side**2).cpu().numpy()
    counts[-1] -= ignored
    cells = np.flatnonzero(counts)
    return cells, counts[cells]


@dataclass
class Confusion:
    """A confusion matrix.

    Args:
        classes (Sequence[str]): Names of the K classes.
        counts (np.ndarray): (K + 1, K + 1) whole numbers, rows are the truth; the last of both is for no class.
        unit (str): What is counted, 'pixels' or 'images'.
    """
    classes: list[str]
    counts: np.ndarray
    unit: str

    @classmethod
    def of_samples(cls, classes: Sequence[str], samples: Sequence[tuple[np.ndarray, np.ndarray]],
                   unit: str) -> 'Confusion':
        """The sum of what :func:`sample_confusion` gave for images."""
        counts = np.zeros((len(classes) + 1)**2, np.int64)
        for cells, found in samples:
            counts[cells] += found
        return cls([str(name) for name in classes], counts.reshape(len(classes) + 1, -1), unit)

    @property
    def matrix(self) -> np.ndarray:
        """Counts (K, K) of the classes alone."""
        return self.counts[:-1, :-1]

    def scores(self) -> dict[str, np.ndarray]:
        """IoU, accuracy and the like of the classes, (K, ) in [0, 1]."""
        metrics = ['mIoU', 'mFscore'] if self.unit == 'pixels' else ['mFscore']
        scores = class_scores(self.matrix.diagonal(), self.counts.sum(0)[:-1], self.counts.sum(1)[:-1], metrics)
        return {name: values for name, values in scores.items() if name not in ('aAcc', 'Acc')}

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` takes; zeros are left out."""
        cells = np.flatnonzero(self.counts)
        return dict(classes=self.classes, unit=self.unit, cells=cells.tolist(),
                    counts=self.counts.ravel()[cells].tolist())

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> 'Confusion':
        """Of :meth:`as_json`."""
        return cls.of_samples(found['classes'], [(np.array(found['cells'], int), np.array(found['counts'], np.int64))],
                              found['unit'])

    def as_csv(self) -> str:
        """Counts with the names of the classes; a row is of one true class."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['true \\ predicted', *self.classes])
        writer.writerows([name, *row] for name, row in zip(self.classes, self.matrix.tolist()))
        return text.getvalue()

    def scores_as_csv(self) -> str:
        """Scores of the classes in percent; empty where there is none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        scores = self.scores()
        writer.writerow(['class', *(f'{name} (%)' for name in scores), f'true {self.unit}', f'predicted {self.unit}'])
        for i, name in enumerate(self.classes):
            values = (f'{100 * value[i]:.4f}' if np.isfinite(value[i]) else '' for value in scores.values())
            writer.writerow([name, *values, self.counts[i].sum(), self.counts[:, i].sum()])
        return text.getvalue()
