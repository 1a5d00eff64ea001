"""The IoU of every class as a value of its own, and what is said of classes that do not occur."""
import logging
import math

import numpy as np
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
    assert {name: metrics[name] for name in theirs} == pytest.approx(theirs)


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
    assert metrics == pytest.approx(theirs) and metrics['mIoU'] == pytest.approx((100 / 3 + 50 + 0) / 3, abs=0.01)
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


def test_all_scores_as_by_counting_pixels():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (5, 20, 30))
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, 3, truth.shape))
    truth[:, :4] = 255
    metric = IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], beta=2)
    means = evaluate(metric, prediction.tolist(), truth.tolist())
    counted = truth != 255
    p, t = prediction[counted], truth[counted]
    rows = []
    for c in range(3):
        both, precision, recall = ((p == c) & (t == c)).sum(), (t[p == c] == c).mean(), (p[t == c] == c).mean()
        rows.append(dict(IoU=both / ((p == c) | (t == c)).sum(), Acc=recall, Precision=precision, Recall=recall,
                         Dice=2 * both / ((p == c).sum() + (t == c).sum()),
                         Fscore=5 * precision * recall / (4 * precision + recall)))
    for name in rows[0]:
        np.testing.assert_allclose(metric.scored.scores[name][:3], [row[name] for row in rows])
        assert means[f'm{name}'] == pytest.approx(100 * np.mean([row[name] for row in rows]), abs=0.006)
    assert means['aAcc'] == pytest.approx(100 * (p == t).mean(), abs=0.006)


def test_a_class_of_which_nothing_is_found_counts_in_the_mean_f_score():
    means = evaluate(IoUMetric(iou_metrics='mFscore'), [[[0, 0, 0, 0]]], [[[0, 0, 1, 1]]])
    assert means['mFscore'] == pytest.approx(100 * (2 / 3 + 0) / 2, abs=0.01)


def test_pixels_beyond_what_float_counts():
    """mmseg's histogram in float32 ends at 2^24."""
    label = torch.zeros(2**24 + 3, dtype=torch.uint8)
    label[-1] = 1
    areas = IoUMetric.intersect_and_union(label, label, 2, 255)
    assert [area.tolist() for area in areas] == [[2**24 + 2, 1]] * 4


def test_what_there_is_not():
    with pytest.raises(ValueError, match='there is no mIOU; there are mIoU, mDice, mFscore, mBoundaryF'):
        IoUMetric(iou_metrics=['mIOU'])
