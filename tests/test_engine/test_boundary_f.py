"""Boundary F: hand-made maps whose score is known, and an independent computation by distance transforms."""
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt, generate_binary_structure

from mmwhitebox.engine import IoUMetric
from mmwhitebox.engine.scores.boundary_f import boundary_f

SHAPE = (30, 40)  # a diagonal of 50
DIAGONAL = 50


def half(column, shape=SHAPE):
    """Class 0 at the left of a column, class 1 from it on."""
    return np.broadcast_to((np.arange(shape[1]) >= column).astype(np.uint8), shape).copy()


def with_square(*corners, side=6):
    labels = np.zeros(SHAPE, np.uint8)
    for row, column in corners:
        labels[row:row + side, column:column + side] = 1
    return labels


@pytest.mark.parametrize('shift', [0, 1, 3])
def test_a_straight_boundary_that_is_moved(shift):
    truth, prediction = half(20), half(20 + shift)
    assert boundary_f(prediction, truth, 2, tolerance=(shift + 0.01) / DIAGONAL).tolist() == [1, 1]
    if shift:
        assert boundary_f(prediction, truth, 2, tolerance=shift / DIAGONAL).tolist() == [0, 0]  # not equal


def test_the_tolerance_is_three_quarters_of_a_percent_of_the_diagonal():
    shape = (300, 400)  # 3.75 pixels
    assert boundary_f(half(203, shape), half(200, shape), 2).tolist() == [1, 1]
    assert boundary_f(half(204, shape), half(200, shape), 2).tolist() == [0, 0]


def test_a_second_square_that_is_not_there_halves_the_precision():
    truth, prediction = with_square((3, 3)), with_square((3, 3), (20, 30))
    assert boundary_f(prediction, truth, 2)[1] == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert boundary_f(truth, prediction, 2)[1] == pytest.approx(2 / 3)  # and so the recall


def test_classes_without_a_boundary():
    one, two = np.zeros(SHAPE, np.uint8), half(20)
    assert np.isnan(boundary_f(one, one, 3)).all()  # the frame of the image is none
    scores = boundary_f(one, two, 3)
    assert scores[:2].tolist() == [0, 0] and math.isnan(scores[2])
    assert boundary_f(two, one, 3)[:2].tolist() == [0, 0]


def test_what_lies_at_an_ignored_region_is_no_boundary():
    truth = half(20)
    truth[:, 17:23] = 255
    assert np.isnan(boundary_f(half(20), truth, 2)).all()
    assert boundary_f(half(30), truth, 2).tolist() == [0, 0]
    truth = half(20)
    truth[10:20, 18:22] = 255
    assert boundary_f(half(20), truth, 2).tolist() == [1, 1]
    prediction = half(20)
    prediction[12:18, 19:21] = 1 - prediction[12:18, 19:21]  # errors inside of the ignored region
    assert boundary_f(prediction, truth, 2).tolist() == [1, 1]
    truth[truth == 255] = 7
    assert boundary_f(prediction, truth, 2, ignore_index=7).tolist() == [1, 1]


def by_distance_transforms(prediction, truth, num_classes, ignore_index, radius):
    """The definition, a class at a time."""
    cross = generate_binary_structure(2, 1)
    valid = truth != ignore_index
    scores = []
    for index in range(num_classes):
        lines = [valid & (labels == index) & binary_dilation(valid & (labels != index), cross)
                 for labels in (prediction, truth)]
        if not any(line.any() for line in lines):
            scores.append(np.nan)
        elif not all(line.any() for line in lines):
            scores.append(0.)
        else:
            precision, recall = ((distance_transform_edt(~other)[line] < radius).mean()
                                 for line, other in (lines, lines[::-1]))
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.)
    return scores


def blobs(rng, size, num_classes):
    coarse = rng.integers(0, num_classes, (7, 9))
    return np.kron(coarse, np.ones((size, size), int))[:-3, :-5].astype(np.uint8)


@pytest.mark.parametrize('seed', range(4))
def test_random_maps_as_by_distance_transforms(seed):
    rng = np.random.default_rng(seed)
    truth = blobs(rng, 8, 5)
    prediction = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    prediction[rng.random(truth.shape) < 0.01] = 4
    truth[10:20, 5:15] = 255
    for tolerance in (0.0075, 0.03):
        radius = tolerance * math.hypot(*truth.shape)
        expected = by_distance_transforms(prediction, truth, 7, 255, radius)
        assert 0 < np.nanmean(expected) < 1
        np.testing.assert_allclose(boundary_f(prediction, truth, 7, tolerance=tolerance), expected, atol=1e-12)


def test_the_metric_is_the_mean_over_images_and_then_classes():
    """Class 0 and 1 are met in the first image and missed in the second; class 2 is in the third alone."""
    third = np.full(SHAPE, 2, np.uint8)
    third[:, :9] = 3
    pairs = [(half(20), half(20)), (half(35), half(5)), (third, third)]
    metric = IoUMetric(iou_metrics=['mBoundaryF'])
    metric.dataset_meta = dict(classes=tuple('abcde'))
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.tensor(p)[None]), gt_sem_seg=dict(data=torch.tensor(t)[None]))
                        for p, t in pairs])
    assert metric.evaluate(3)['mBoundaryF'] == pytest.approx(100 * (0.5 + 0.5 + 1 + 1) / 4)
    np.testing.assert_array_equal(metric.scored.scores['BoundaryF'], [0.5, 0.5, 1, 1, np.nan])


@pytest.mark.parametrize('tolerance', [0, 1, -0.1])
def test_a_tolerance_that_is_no_share(tolerance):
    with pytest.raises(ValueError, match='share of the diagonal'):
        IoUMetric(boundary_tolerance=tolerance)
