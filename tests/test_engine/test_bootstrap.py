"""Bootstrap intervals: of a known distribution, and as a plain loop over draws of images finds them."""
import numpy as np
import pytest
import torch
from scipy import sparse, stats

from mmwhitebox.engine import ClassScores, IoUMetric
from mmwhitebox.engine.scores import bootstrap
from mmwhitebox.engine.scores.bootstrap import Bootstrap
from mmwhitebox.errors import UserError


def share_of(sums):
    return dict(share=sums[..., 0] / sums[..., 1])


@pytest.mark.parametrize('hits, count', [(120, 400), (30, 50)])
def test_a_share_of_images_has_the_interval_of_a_binomial_variable(hits, count):
    """A draw of N images, each right with probability p, has Binomial(N, p) right ones."""
    sums = np.stack([np.arange(count) < hits, np.ones(count)], axis=1).astype(float)
    found = Bootstrap(samples=20000).intervals(sums, share_of)['share'] * count
    expected = stats.binom(count, hits / count).ppf([0.025, 0.975])
    assert np.abs(found - expected).max() <= 1, (found, expected)
    draws = []
    Bootstrap(samples=20000).intervals(sums, lambda s: draws.append(share_of(s)['share']) or share_of(s))
    deviation = np.concatenate(draws).std()
    assert deviation == pytest.approx(np.sqrt(hits / count * (1 - hits / count) / count), rel=0.03)


def test_level_and_seed():
    sums = np.stack([np.arange(100) < 40, np.ones(100)], axis=1).astype(float)
    wide, narrow = (np.ptp(Bootstrap(2000, level=level).intervals(sums, share_of)['share']) for level in (0.95, 0.5))
    assert wide / narrow == pytest.approx(1.96 / 0.674, rel=0.15)
    ends = [Bootstrap(seed=seed).intervals(sums, share_of)['share'].tolist() for seed in (0, 0, 1)]
    assert ends[0] == ends[1] and ends[0] != ends[2]


def maps(seed=0, images=9, classes=4):
    """Pairs of label maps; the class 3 is in one image alone."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(images):
        truth = rng.integers(0, 3, (6 + i, 8)).astype(np.uint8)
        if i == 2:
            truth[:3] = 3
        prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape)).astype(np.uint8)
        truth[0, :3] = 255
        pairs.append((prediction, truth))
    return pairs


def evaluated(metric, pairs, classes=tuple('abcd')):
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.tensor(p)[None]), gt_sem_seg=dict(data=torch.tensor(t)[None]))
                        for p, t in pairs])
    return metric.evaluate(len(pairs))


def plain_scores(pairs):
    """IoU of every class, of the pixels of all images laid side by side."""
    prediction, truth = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    prediction, truth = prediction[truth != 255], truth[truth != 255]
    with np.errstate(invalid='ignore'):
        return np.array([np.divide(((prediction == c) & (truth == c)).sum(), ((prediction == c) | (truth == c)).sum())
                         for c in range(4)]), (prediction == truth).mean()


@pytest.mark.parametrize('block', [1 << 22, 40])
def test_intervals_as_by_a_loop_over_draws_of_images(block, monkeypatch):
    monkeypatch.setattr(bootstrap, 'BLOCK', block)
    pairs = maps()
    metric = IoUMetric(iou_metrics=['mIoU', 'mBoundaryF'], bootstrap=dict(samples=200, seed=5))
    means = evaluated(metric, pairs)
    generator = np.random.default_rng(5)
    ious, accuracies = zip(*(plain_scores([pairs[i] for i in generator.integers(9, size=9)]) for _ in range(200)))
    assert 0 < np.isnan(np.array(ious)[:, 3]).sum() < 200  # draws without the only image of a class
    np.testing.assert_allclose(metric.scored.intervals['IoU'], np.nanquantile(ious, [0.025, 0.975], axis=0), rtol=1e-9)
    for name, values in (('mIoU', np.nanmean(ious, axis=1)), ('aAcc', accuracies)):
        low, high = 100 * np.quantile(values, [0.025, 0.975])
        assert [means[f'{name}_low'], means[f'{name}_high']] == pytest.approx([low, high], abs=0.006)
        assert means[f'{name}_low'] < means[name] < means[f'{name}_high']
    assert set(metric.scored.intervals) == {'aAcc', 'IoU', 'mIoU', 'Acc', 'mAcc', 'BoundaryF', 'mBoundaryF'}


def test_a_boundary_score_is_drawn_by_images():
    """Two of eight images have a boundary of the class; a draw's score is the mean of those that it has of them."""
    line, flat = np.array([[0, 1]] * 9, np.uint8), np.zeros((9, 2), np.uint8)
    metric = IoUMetric(iou_metrics='mBoundaryF', bootstrap=3000)
    evaluated(metric, [(line, line), (flat, line), *[(flat, flat)] * 6])
    assert metric.scored.scores['BoundaryF'][0] == 0.5
    np.testing.assert_array_equal(metric.scored.intervals['BoundaryF'][:, 0], [0, 1])


def test_one_image_has_no_interval():
    metric = IoUMetric(bootstrap=100)
    assert set(evaluated(metric, maps()[:1])) == {'aAcc', 'mIoU', 'mAcc'} and not metric.scored.intervals


def test_sums_may_be_sparse():
    sums = np.random.default_rng(0).integers(0, 3, (20, 6)).astype(float)
    dense, thin = (Bootstrap(100).intervals(matrix, lambda s: dict(part=s[..., :3] / s[..., 3:]))['part']
                   for matrix in (sums, sparse.csr_array(sums)))
    np.testing.assert_array_equal(dense, thin)


@pytest.mark.parametrize('value, problem', [
    (True, 'samples=True'), (99, 'samples=99'), (1000., 'samples=1000.0'), (dict(level=95), 'level=95')])
def test_numbers_out_of_their_range(value, problem):
    with pytest.raises(ValueError, match=problem):
        Bootstrap.of(value)


def images(true, predicted):
    return [dict(gt_label=torch.tensor([t]), pred_label=torch.tensor([p])) for t, p in zip(true, predicted)]


def test_every_class_of_a_classifier():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, (2, 300))
    predicted = np.where(rng.random(300) < 0.7, true, predicted)
    metric = ClassScores(bootstrap=5000)
    metric.dataset_meta = dict(classes=tuple('abcde'))
    metric.process({}, images(true, predicted))
    means = metric.evaluate(300)
    for c in range(4):
        hits = ((true == c) & (predicted == c)).sum()
        precision, recall = hits / (predicted == c).sum(), hits / (true == c).sum()
        scores = [metric.scored.scores[name][c] for name in ('Precision', 'Recall', 'Fscore')]
        assert scores == pytest.approx([precision, recall, 2 * precision * recall / (precision + recall)])
    assert np.isnan(metric.scored.scores['Recall'][4])
    ends = 100 * stats.binom(300, (true == predicted).mean()).ppf([0.025, 0.975]) / 300
    assert [means['accuracy/top1_low'], means['accuracy/top1_high']] == pytest.approx(ends, abs=0.4)


def test_a_classifier_of_several_labels():
    sample = dict(gt_label=torch.tensor([0, 1]), pred_label=torch.tensor([1]))
    metric = ClassScores()
    metric.dataset_meta = dict(classes=tuple('ab'))
    metric.process({}, [*images([0], [1]), sample])
    assert metric.evaluate(2) == {} and metric.scored is None
    with pytest.raises(UserError, match='one label each'):
        ClassScores(bootstrap=100).process({}, [sample])
