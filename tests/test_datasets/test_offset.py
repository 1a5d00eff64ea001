"""Masks that lie beside their images: the offset is found, and none is seen where there is none."""
import numpy as np
import pytest
from PIL import Image

from mmwhitebox.cli.main import main
from mmwhitebox.datasets.offset import REACH, common_offset, edges_under_borders
from tests.test_datasets.test_likeness import photograph


def sample(index: int, shift: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with a box that is brighter, and its mask, moved down and right."""
    rng = np.random.default_rng(index)
    top, left = rng.integers(20, 40, 2)
    mask = np.zeros((120, 160), np.uint8)
    mask[top:top + 45, left:left + 70] = 1
    image = np.clip(photograph(index) // 2 + 90 * mask[..., None].astype(int), 0, 255).astype(np.uint8)
    return image, np.roll(mask, shift, (0, 1))


def surfaces(shift, number=12, image_of=lambda image: image):
    pairs = (sample(index, shift) for index in range(number))
    return [edges_under_borders(image_of(image), mask) for image, mask in pairs]


@pytest.mark.parametrize('shift', [(2, 0), (0, -5), (7, 4), (-3, 11)])
def test_the_offset_is_found(shift):
    assert common_offset(surfaces(shift)) == (-shift[0], -shift[1])


@pytest.mark.parametrize('given', [
    surfaces((0, 0)), surfaces((1, 0)), surfaces((5, 5), 7), [],
    surfaces((5, 5), image_of=lambda image: np.random.default_rng(0).integers(0, 255, image.shape, np.uint8))],
    ids=['right', 'a pixel', 'too few', 'none', 'no edges'])
def test_none_is_seen_where_it_cannot_be_judged(given):
    assert common_offset(given) is None


def test_each_of_its_own_offset_is_none_of_all():
    rng = np.random.default_rng(1)
    assert common_offset([edges_under_borders(*sample(i, tuple(rng.integers(-9, 10, 2)))) for i in range(20)]) is None


def test_edges_at_a_shift_are_those_under_the_moved_border():
    image, mask = sample(0)
    grey = image[..., :3].mean(2)
    rows, columns = np.gradient(grey)
    found = edges_under_borders(np.repeat(grey[..., None], 3, 2).astype(np.uint8), mask)
    assert found.shape == (2 * REACH + 1, 2 * REACH + 1)
    edges = np.hypot(rows, columns)
    border = np.zeros(mask.shape, bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    at = {shift: edges[np.roll(border, shift, (0, 1))].mean() for shift in ((0, 0), (0, 6), (-8, 0))}
    order = sorted(at, key=at.get)
    assert order == sorted(at, key=lambda shift: found[shift[0] + REACH, shift[1] + REACH])


@pytest.mark.parametrize('image, mask', [
    (np.zeros((90, 90, 3), np.uint8), np.eye(90, dtype=np.uint8)), (photograph(0), np.zeros((120, 160), np.uint8)),
    (photograph(0)[:30], np.ones((30, 160), np.uint8))], ids=['no edges', 'no borders', 'no room'])
def test_samples_that_say_nothing(image, mask):
    assert edges_under_borders(image, mask) is None


@pytest.mark.parametrize('shift, status', [((0, 0), '0'), ((0, 6), '1')])
def test_check_data_says_so(shift, status, tmp_path, capsys):
    for folder in ('images', 'masks'):
        (tmp_path / 'data' / folder).mkdir(parents=True)
    for index in range(12):
        image, mask = sample(index, shift)
        Image.fromarray(image).save(tmp_path / 'data' / 'images' / f'{index:02}.png')
        Image.fromarray(mask).save(tmp_path / 'data' / 'masks' / f'{index:02}.png')
    with pytest.raises(SystemExit, match=status):
        main(['check-data', str(tmp_path / 'data'), '--workers', '0'])
    assert ('offset masks' in capsys.readouterr().out) is (status == '1')
