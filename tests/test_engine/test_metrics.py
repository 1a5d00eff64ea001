"""The IoU of every class as a value of its own."""
import math

import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmwhitebox.engine import PerClassIoUMetric


def evaluate(metric, prediction, label):
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'd'))
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.tensor([p])), gt_sem_seg=dict(data=torch.tensor([t])))
                        for p, t in zip(prediction, label)])
    return metric.evaluate(len(prediction))


def test_per_class_iou_of_all_images():
    prediction, label = [[[0, 0, 1, 1]], [[0, 1, 2, 2]]], [[[0, 0, 0, 255]], [[0, 1, 1, 2]]]
    metrics = evaluate(PerClassIoUMetric(), prediction, label)
    # class 0: 3 of 4; class 1: 1 of 3; class 2: 1 of 2; class 3 is nowhere
    assert [metrics[f'IoU.{name}'] for name in 'abc'] == [75., 33.33, 50.] and math.isnan(metrics['IoU.d'])
    assert metrics['mIoU'] == pytest.approx((75 + 100 / 3 + 50) / 3, abs=0.01)
    theirs = evaluate(IoUMetric(), prediction, label)
    assert {name: metrics[name] for name in theirs} == theirs
