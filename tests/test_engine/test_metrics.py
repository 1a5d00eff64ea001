"""The IoU of every class as a value of its own, and what is said of classes that do not occur."""
import logging
import math

import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric as MMSegIoUMetric

from mmwhitebox.engine import IoUMetric, PerClassIoUMetric


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
    theirs = evaluate(MMSegIoUMetric(), prediction, label)
    assert {name: metrics[name] for name in theirs} == theirs


def log_of(caplog, metric):
    """What a metric logs for truth of the classes a and b, and predictions of a, b and c."""
    caplog.set_level(logging.INFO)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        metrics = evaluate(metric, [[[0, 0, 1, 2]]], [[[0, 1, 1, 0]]])
    finally:
        logger.removeHandler(caplog.handler)
    return metrics, caplog.text


def test_classes_that_do_not_occur_are_named(caplog):
    metrics, text = log_of(caplog, IoUMetric(iou_metrics=['mIoU', 'mDice']))
    theirs = evaluate(MMSegIoUMetric(iou_metrics=['mIoU', 'mDice']), [[[0, 0, 1, 2]]], [[[0, 1, 1, 0]]])
    assert metrics == theirs and metrics['mIoU'] == pytest.approx((100 / 3 + 50 + 0) / 3, abs=0.01)
    assert ('2 of 4 classes do not occur in the truth. Not predicted either, left out: d. Predicted, IoU 0: c. '
            'Classes in each mean: mIoU 3, mAcc 2, mDice 3.') in text
    rows = [line.split('|')[1].strip() for line in text.splitlines() if line.startswith('|')]
    assert rows == ['Class', 'a', 'b', 'c']


def test_nothing_is_said_of_classes_that_all_occur(caplog):
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'd'))
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    evaluate(metric, [[[0, 1, 2, 3]]], [[[0, 1, 2, 3]]])
    logger.removeHandler(caplog.handler)
    assert 'do not occur' not in caplog.text


def test_numbers_in_the_place_of_no_score(caplog):
    metrics, text = log_of(caplog, IoUMetric(nan_to_num=0))
    assert metrics['mIoU'] == pytest.approx((100 / 3 + 50) / 4, abs=0.01)
    assert 'Not predicted either, counted as 0: d' in text and 'mIoU 4' in text
