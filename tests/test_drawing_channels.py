"""Pictures of images of any channels: which are shown, between which values."""
import numpy as np
import pytest
import tifffile
import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor  # noqa: F401  # registers mmseg's first
from mmseg.structures import SegDataSample
from torch import nn

from mmwhitebox.datasets.viewable import read_viewable, viewable, viewable_input
from mmwhitebox.drawing import draw_panels, show_channels
from mmwhitebox.engine.hooks.predictions import shown_image
from mmwhitebox.interpret.patch_maps import seen_image
from mmwhitebox.models.data_preprocessor import SegDataPreProcessor as OurPreProcessor

RNG = np.random.default_rng(0)


def shown(channels, display, value_range=None):
    return dict(channels=channels, display=display, channel_axis=None, value_range=value_range)


def stretched(values):
    low, high = np.percentile(values, (2, 98))
    return ((values.astype(np.float64) - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8)


def test_bytes_are_shown_as_they_are():
    array = RNG.integers(0, 9, (5, 6, 4), np.uint8)
    image, note = show_channels(array, (4, 2, 1))
    assert np.array_equal(image, array[..., [3, 1, 0]]) and note == 'channel 4\nchannel 2\nchannel 1'
    assert np.array_equal(show_channels(array, (2, )).image, array[..., [1, 1, 1]])


@pytest.mark.parametrize('dtype', ['u2', 'i2', 'f4', 'f8'])
def test_other_values_are_stretched_and_the_range_is_stated(dtype):
    array = (RNG.random((50, 60, 3)) * 3000 - 100).clip(0).astype(dtype)
    image, note = show_channels(array, (3, 1, 2))
    assert np.array_equal(image[..., 0], stretched(array[..., 2]))
    low, high = np.percentile(array[..., 2], (2, 98))
    assert note.splitlines()[0] == f'channel 3: {low:.4g} to {high:.4g}'


def test_constants_and_what_is_no_number():
    array = np.full((4, 4, 1), 7.)
    assert show_channels(array, (1, )).image.max() == 0
    array[0, 0] = 9.
    assert show_channels(array, (1, )).image[0, 0, 0] == 255
    array = RNG.random((40, 40, 1))
    array[0, 0], array[0, 1] = np.nan, np.inf
    image, note = show_channels(array, (1, ))
    assert image[0, 0, 0] == 0 and image[0, 1, 0] == 255
    assert np.array_equal(image[1:, :, 0], stretched_like(array))
    assert show_channels(np.full((2, 2, 1), np.nan), (1, )).image.max() == 0


def stretched_like(array):
    finite = array[np.isfinite(array)]
    low, high = np.percentile(finite, (2, 98))
    return ((array[1:, :, 0] - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8)


def test_file_array_and_network_input_give_one_picture(tmp_path):
    array = RNG.integers(0, 4096, (30, 40, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / 'a.tif', array, photometric='minisblack', planarconfig='contig')
    says = shown(4, [4, 3, 1], (0, 4095))
    of_file = read_viewable(tmp_path / 'a.tif', (30, 40), says)
    inputs = (array / 4095 * 255).astype(np.float32).transpose(2, 0, 1)
    of_input = viewable_input(inputs, says)
    assert np.array_equal(of_file.image, viewable(array, says).image) and of_file.note == viewable(array, says).note
    assert np.abs(of_file.image.astype(int) - of_input.image).max() <= 1 and of_file.note == of_input.note
    model = nn.Module()
    model.data_preprocessor = OurPreProcessor([1, 2, 3, 4], [5, 6, 7, 8])
    seen = seen_image(model, model.data_preprocessor(dict(inputs=[torch.from_numpy(inputs)]))['inputs'][0], says)
    assert np.abs(of_file.image.astype(int) - seen.image).max() <= 1 and seen.note == of_file.note
    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'a.tif')))
    assert np.array_equal(shown_image(sample, torch.from_numpy(inputs), (30, 40), says).image, of_file.image)
    sample.set_metainfo(dict(img_path=str(tmp_path / 'gone.tif')))
    assert shown_image(sample, torch.from_numpy(inputs), (15, 20), says).image.shape == (15, 20, 3)


def test_three_channels_are_bgr_in_pipelines_and_arrays():
    array = RNG.integers(0, 255, (4, 5, 3), np.uint8)
    for says in (None, shown(3, [1, 2, 3])):
        assert np.array_equal(viewable(array, says).image, array[..., ::-1])
        assert np.array_equal(viewable_input(array.transpose(2, 0, 1), says).image, array[..., ::-1])


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_seen_images_without_a_word_about_them(channels):
    model = nn.Module()
    model.data_preprocessor = OurPreProcessor([5.] * channels, [2.] * channels)
    array = RNG.integers(0, 255, (channels, 4, 4), np.uint8)
    view = seen_image(model, (torch.from_numpy(array).float() - 5) / 2)
    assert np.array_equal(view.image, np.moveaxis(array[[0, 1, 2] if channels > 2 else [0] * 3], 0, 2))
    assert not view.note


def test_the_note_is_written_into_the_image_alone():
    image, labels = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), int)
    plain, noted = (draw_panels(image, dict(a=labels), ['x'], [[0, 0, 0]], note=note) for note in ('', 'channel 1'))
    assert plain.shape == noted.shape
    changed = np.flatnonzero((plain != noted).any((0, 2)))
    assert changed.size and changed.max() < plain.shape[1] / 2.5
