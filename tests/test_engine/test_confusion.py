"""Confusion matrices: counts of images, scores, files, and the picture for few and for many classes."""
import csv
import io
import warnings

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mmwhitebox.engine import IoUMetric
from mmwhitebox.engine.scores.confusion import Confusion, sample_confusion
from mmwhitebox.engine.scores.confusion_figure import confusion_figure


def sample(prediction, truth):
    return dict(pred_sem_seg=dict(data=torch.tensor(prediction)[None]), gt_sem_seg=dict(data=torch.tensor(truth)[None]))


def label_maps(rng, labels=(0, 1, 2, 3, 200, 255)):
    truth = rng.choice(labels, (9, 11)).astype(np.uint8)
    return rng.integers(0, 4, (9, 11)).astype(np.uint8), truth


def test_pixels_as_by_counting_pairs():
    """Labels that are no class (200) are wrong pixels of what is predicted there; ignored ones are none."""
    rng = np.random.default_rng(0)
    pairs = [label_maps(rng) for _ in range(3)]
    expected = np.zeros((6, 6), int)
    for prediction, truth in pairs:
        for p, t in zip(prediction.flat, truth.flat):
            if t != 255:
                expected[min(t, 5), p] += 1
    confusion = Confusion.of_samples('abcde', [sample_confusion(sample(*pair), 5, 255) for pair in pairs], 'pixels')
    np.testing.assert_array_equal(confusion.counts, expected)
    np.testing.assert_array_equal(confusion.matrix, expected[:5, :5])
    again = Confusion.from_json(confusion.as_json())
    np.testing.assert_array_equal(again.counts, expected)
    assert (again.classes, again.unit) == (list('abcde'), 'pixels')

    metric = IoUMetric(iou_metrics=['mIoU', 'mFscore'])
    metric.dataset_meta = dict(classes='abcde')
    metric.process({}, [sample(*pair) for pair in pairs])
    metric.evaluate(3)
    assert set(confusion.scores()) == {'IoU', 'Fscore', 'Precision', 'Recall'}
    for name, values in confusion.scores().items():
        np.testing.assert_allclose(values, metric.scored.scores[name])


def test_images():
    def image(true, predicted):
        return dict(gt_label=torch.tensor([true]), pred_label=torch.tensor([predicted]))

    found = [sample_confusion(image(*pair), 2, 255) for pair in ((0, 0), (0, 1), (1, 1), (1, 1))]
    assert Confusion.of_samples('ab', found, 'images').matrix.tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize('other', [
    {}, dict(gt_label=torch.tensor([0, 1]), pred_label=torch.tensor([0])), dict(gt_label=torch.tensor([0])),
    sample([[0, 1]], [[0], [1]])])
def test_samples_without_a_label_each(other):
    assert sample_confusion(other, 2, 255) is None


def matrix(number, unit='pixels', names=None):
    rng = np.random.default_rng(0)
    counts = np.zeros((number + 1, number + 1), np.int64)
    counts[:number, :number] = rng.integers(0, 50, (number, number)) + np.diag(rng.integers(0, 1000 * number, number))
    counts[0, :] = 0
    return Confusion(names or [f'class {i}' for i in range(number)], counts, unit)


def test_files():
    confusion = matrix(3, names=['a,b', 'c', 'd'])
    rows = list(csv.reader(io.StringIO(confusion.as_csv())))
    assert rows[0] == ['true \\ predicted', 'a,b', 'c', 'd']
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == confusion.matrix.tolist()
    scores = list(csv.DictReader(io.StringIO(confusion.scores_as_csv())))
    assert [row['class'] for row in scores] == ['a,b', 'c', 'd']
    assert scores[0]['Recall (%)'] == '' and scores[0]['true pixels'] == '0'
    recall = 100 * confusion.matrix[1, 1] / confusion.matrix[1].sum()
    assert float(scores[1]['Recall (%)']) == pytest.approx(recall, abs=1e-3)


def drawn(confusion):
    """The axes of the picture, and the boxes of its texts in pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        figure = confusion_figure(confusion, 'title')
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return figure, figure.axes[0], canvas.get_renderer()


@pytest.mark.parametrize('number', [2, 12, 60])
def test_names_stand_apart_and_rows_are_shares_of_the_truth(number):
    confusion = matrix(number)
    figure, axes, renderer = drawn(confusion)
    boxes = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    assert [label.get_text() for label in axes.get_yticklabels()] == confusion.classes
    assert all(lower.y1 <= upper.y0 + 1 for upper, lower in zip(boxes, boxes[1:]))
    assert boxes[0].height >= 7 and boxes[0].x0 >= 0
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares[1:].sum(1), 100)
    assert np.ma.masked_invalid(shares)[0].mask.all()
    assert '%' in figure.axes[1].get_ylabel() and axes.get_xlabel() == 'predicted class'
    texts = [text.get_text() for text in axes.texts]
    if number == 12:
        assert len(texts) == 12 * 11 + 1 and texts.count('does not occur') == 1
        assert f'{shares[1, 1]:.1f} %\n{confusion.matrix[1, 1]}' in texts
        assert all(text.get_window_extent(renderer).width < axes.get_window_extent(renderer).width / 12
                   for text in axes.texts if text.get_text() != 'does not occur')
    assert bool(texts) is (number < 40)


def test_hundreds_of_classes_have_no_names():
    _, axes, _ = drawn(matrix(201, 'images'))
    assert 'index' in axes.get_xlabel() and len(axes.get_xticklabels()) < 20


def test_names_of_any_kind():
    _, axes, _ = drawn(matrix(3, names=['$x$ \\frac{', 'a' * 80, 'b']))
    assert axes.get_xticklabels()[0].get_text() == '$x$ \\frac{' and len(axes.get_xticklabels()[1].get_text()) == 30


def test_large_counts_are_shortened():
    confusion = matrix(2)
    confusion.counts[1, 1] = 12_345_678_901
    _, axes, _ = drawn(confusion)
    assert any(text.get_text().endswith('\n12.3G') for text in axes.texts)
