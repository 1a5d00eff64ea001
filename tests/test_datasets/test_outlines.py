"""Polygons of a label map give it back to the pixel, as pycocotools draws them."""
import numpy as np
import pytest
from pycocotools import mask as rle
from scipy import ndimage

from mmwhitebox.datasets.formats.outlines import regions


def drawn(found, shape):
    """Label map of regions, -1 where there is none; no two may overlap."""
    labels, times = np.full(shape, -1), np.zeros(shape, int)
    for region in found:
        area = rle.decode(rle.merge(rle.frPyObjects([region.polygon], *shape))).astype(bool)
        assert area.sum() == region.area
        labels[area] = region.label
        times += area
    assert times.max(initial=0) <= 1
    return labels


@pytest.mark.parametrize('blur', [0, 1, 4], ids=['noise', 'spots', 'areas'])
def test_drawing_gives_the_label_map_back(blur):
    rng = np.random.default_rng(blur)
    for _ in range(40):
        shape = tuple(rng.integers(1, 40, 2))
        noise = ndimage.gaussian_filter(rng.random(shape), blur)
        labels = np.digitize(noise, np.quantile(noise, [.3, .5, .8])) if blur else rng.integers(0, 4, shape)
        found = drawn(regions(labels.astype(np.uint8), 3), shape)  # the last class is none
        assert np.array_equal(found, np.where(labels < 3, labels, -1))


def test_a_ring_is_one_region_without_its_hole():
    labels = np.full((7, 9), 255, np.uint8)
    labels[1:6, 2:8] = 1
    labels[2:4, 3:5] = 0
    labels[3:5, 6] = 255
    found = sorted(regions(labels, 2))
    assert [(region.label, region.area) for region in found] == [(0, 4), (1, 5 * 6 - 4 - 2)]
    assert found[0].polygon and set(zip(found[0].polygon[::2], found[0].polygon[1::2])) == {
        (3, 2), (5, 2), (5, 4), (3, 4)}  # corners of pixels
    assert np.array_equal(drawn(found, labels.shape), np.where(labels < 2, labels.astype(int), -1))


def test_separate_areas_are_separate_regions():
    labels = np.zeros((5, 5), np.uint8)
    labels[0, 0] = labels[4, 4] = 1
    assert sorted((region.label, region.area) for region in regions(labels, 2)) == [(0, 23), (1, 1), (1, 1)]
