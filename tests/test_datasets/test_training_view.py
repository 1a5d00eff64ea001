"""What a training sees of a mask: crops without a pixel that counts, areas smaller than a patch."""
import numpy as np
import pytest
import scipy.ndimage
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from mmwhitebox.config.reading import load_config
from mmwhitebox.datasets.training_view import NUM_BINS, TrainingView, bins_of
from tests.configs import ROOT


def blobs(seed: int, size: tuple[int, int] = (30, 41)) -> np.ndarray:
    field = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 3)
    return field > np.quantile(field, 0.97)


@pytest.mark.parametrize('crop', [(7, 9), (1, 1), (30, 5), (64, 64), (12, 100)])
def test_empty_crops_are_those_of_every_place(crop):
    counts = blobs(0)
    height, width = min(crop[0], 30), min(crop[1], 41)
    every = [not counts[y:y + height, x:x + width].any() for y in range(31 - height) for x in range(42 - width)]
    assert TrainingView(crop=crop).empty_crops(counts) == pytest.approx(np.mean(every), abs=1e-12)


def test_empty_crops_are_those_that_random_crop_makes():
    counts = blobs(1, (40, 40))
    step = TRANSFORMS.build(dict(type='mmseg.RandomCrop', crop_size=(10, 10)))
    np.random.seed(0)
    labels = np.where(counts, 1, 255).astype(np.uint8)
    made = [(step(dict(img=labels[..., None], gt_seg_map=labels, seg_fields=['gt_seg_map']))['gt_seg_map'] == 255).all()
            for _ in range(4000)]
    assert TrainingView(crop=(10, 10)).empty_crops(counts) == pytest.approx(np.mean(made), abs=0.03)


def test_crops_are_taken_at_the_size_of_the_scale():
    counts = np.zeros((20, 40), bool)
    counts[:, :4] = True
    view = TrainingView((80, 80), True, (40, 8))
    assert view.size(20, 40) == (40, 80)
    assert view.empty_crops(counts) == pytest.approx(65 / 73)  # 8 columns count, 73 places
    assert view.empty_crops(counts, 2) == pytest.approx(57 / 65)
    assert TrainingView((80, 60), False, (40, 8)).size(20, 40) == (60, 80)


def test_areas_are_those_of_scipy_at_the_size_of_the_scale():
    labels = blobs(3, (50, 60)).astype(np.uint8) + 2 * blobs(4, (50, 60)).astype(np.uint8)
    labels[0, :5] = 255
    classes, pixels = TrainingView((120, 120), True).areas(labels, range(4))
    assert set(classes.tolist()) == set(np.unique(labels).tolist()) - {255}
    for label in np.unique(classes):
        parts, _ = scipy.ndimage.label(labels == label, np.ones((3, 3)))
        expected = np.bincount(parts.ravel())[1:] * 4
        assert sorted(pixels[classes == label]) == pytest.approx(sorted(expected))


def test_bins_keep_the_order_of_areas_and_powers_of_two_apart():
    assert bins_of(np.array([1, 63.9, 64, 65, 256, 1e30])).tolist() == [0, 23, 24, 24, 32, NUM_BINS - 1]


def test_the_view_of_a_config():
    cfg = load_config(str(ROOT / 'configs/cbt_decoder/cbt_decoder_small_camvid.py'))
    with TRANSFORMS.switch_scope_and_registry('mmseg'):
        assert TrainingView.of(cfg) == TrainingView((480, 360), True, (352, 352), 16)
        assert TrainingView.of(Config(dict())) == TrainingView()
        mini = load_config('cbt_decoder_cbt_mini_ade20k')
        assert TrainingView.of(mini).patch == 8
        unknown = Config(dict(model=dict(backbone=dict(type='ResNet'))))
        assert TrainingView.of(unknown).patch is None
