"""Images with all their channels and bits: what is read is what another library has written."""
import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmwhitebox.datasets import LoadImage
from mmwhitebox.datasets.image_io import read_image
from mmwhitebox.datasets.stored_images import from_range, in_range, read_stored
from mmwhitebox.errors import ImageArrayError, ImageReadError

SIZE = (9, 12)


def pixels(channels, dtype=np.uint8, seed=0):
    """(H, W, C), each value another."""
    values = np.random.default_rng(seed).permutation(SIZE[0] * SIZE[1] * channels).reshape(*SIZE, channels)
    return (values % 251).astype(dtype) if np.dtype(dtype).itemsize == 1 else values.astype(dtype)


def tiff(path, array, **options):
    tifffile.imwrite(path, array, **{'photometric': 'minisblack', **options})
    return str(path)


LAYOUTS = {
    'interleaved': lambda path, a: tiff(path, a, planarconfig='contig'),
    'planes': lambda path, a: tiff(path, a.transpose(2, 0, 1), planarconfig='separate'),
    'pages': lambda path, a: tiff(path, a.transpose(2, 0, 1)),
    'deflate, tiles, big endian': lambda path, a: tiff(path, a, planarconfig='contig', compression='deflate',
                                                       tile=(16, 16), byteorder='>'),
    'BigTIFF': lambda path, a: tiff(path, a, planarconfig='contig', bigtiff=True),
    'ImageJ': lambda path, a: tiff(path, a.transpose(2, 0, 1), imagej=True, metadata={'axes': 'CYX'}),
    'OME': lambda path, a: tiff(path, a.transpose(2, 0, 1), ome=True, metadata={'axes': 'CYX'}),
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('channels', [2, 4, 5])
def test_every_layout(layout, channels, tmp_path):
    array = pixels(channels, np.uint16)
    path = LAYOUTS[layout](tmp_path / 'a.tif', array)
    stored = read_stored(path)
    assert stored.array.dtype == np.uint16 and not stored.alpha
    assert np.array_equal(stored.array, array)
    loaded = LoadImage(channels=channels, value_range=(0, 4095))(dict(img_path=path))
    assert loaded['img'].dtype == np.float32 and loaded['ori_shape'] == SIZE
    np.testing.assert_allclose(loaded['img'], array / 4095 * 255, rtol=1e-6)


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'u4', 'i2', 'i4', 'f2', 'f4', 'f8'])
@pytest.mark.parametrize('channels', [1, 4])
def test_every_type(dtype, channels, tmp_path):
    array = pixels(channels, dtype)
    path = tiff(tmp_path / 'a.tif', array.squeeze(), **(dict(planarconfig='contig') if channels > 1 else {}))
    assert np.array_equal(read_stored(path).array, array) and read_stored(path).array.dtype == dtype
    img = LoadImage(channels=channels, value_range=(-10, 500))(dict(img_path=path))['img']
    np.testing.assert_allclose(img, (array.astype(np.float64) + 10) / 510 * 255, rtol=1e-6)


def test_values_beyond_the_range_are_not_cut():
    values = np.array([[[-1, 0, 100, 2**20]]], np.int32)
    assert in_range(values, (0, 100)).tolist() == [[[pytest.approx(-2.55), 0, 255, pytest.approx(255 * 2**20 / 100)]]]
    np.testing.assert_allclose(from_range(in_range(values, (0, 100)), (0, 100)), values, rtol=1e-6)


def test_three_channels_are_turned_to_bgr_and_no_others(tmp_path):
    for channels in (3, 4):
        array = pixels(channels, np.float32)
        path = tiff(tmp_path / 'a.tif', array, photometric='rgb' if channels == 3 else 'minisblack',
                    planarconfig='contig')
        img = LoadImage(channels=channels, value_range=(0, 255))(dict(img_path=path))['img']
        np.testing.assert_allclose(img, array[..., ::-1] if channels == 3 else array, rtol=1e-6)


def test_grey_is_repeated_where_three_channels_are_wanted(tmp_path):
    array = pixels(1, np.float32)
    img = LoadImage(value_range=(0, 255))(dict(img_path=tiff(tmp_path / 'a.tif', array[..., 0])))['img']
    np.testing.assert_allclose(img, array.repeat(3, 2), rtol=1e-6)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_alpha_counts_if_it_makes_the_number(suffix, tmp_path):
    array, path = pixels(4), str(tmp_path / f'a{suffix}')
    Image.fromarray(array, 'RGBA').save(path)
    assert np.array_equal(LoadImage(channels=4)(dict(img_path=path))['img'], array)
    assert np.array_equal(LoadImage(channels=3)(dict(img_path=path))['img'], array[..., 2::-1])
    assert np.array_equal(LoadImage()(dict(img_path=path))['img'], array[..., 2::-1])
    with pytest.raises(ImageReadError, match='a.*: 3 channels of 12 x 9 pixels, but 5 are stated'):
        LoadImage(channels=5)(dict(img_path=path))


def test_a_fourth_band_is_no_alpha(tmp_path):
    path = tiff(tmp_path / 'a.tif', pixels(4), photometric='rgb', planarconfig='contig', extrasamples=['unspecified'])
    assert not read_stored(path).alpha


def test_png_of_16_bits(tmp_path):
    for array in (pixels(1, np.uint16)[..., 0], pixels(3, np.uint16)):
        path = str(tmp_path / 'a.png')
        cv2.imwrite(path, array[..., ::-1] if array.ndim == 3 else array)
        assert np.array_equal(read_stored(path).array.squeeze(), array)


def test_bits_are_cut_without_a_range_and_kept_with_one(tmp_path):
    array = pixels(4, np.uint16)
    path = tiff(tmp_path / 'a.tif', array, planarconfig='contig')
    assert np.array_equal(LoadImage(channels=4)(dict(img_path=path))['img'], (array >> 8).astype(np.uint8))
    assert np.array_equal(LoadImage(channels=4, bit_depth=10)(dict(img_path=path))['img'],
                          (array >> 2).astype(np.uint8))
    with pytest.raises(ImageReadError, match='a.tif: values up to 431 do not fit bit_depth=8'):
        LoadImage(channels=4, bit_depth=8)(dict(img_path=path))


def test_pages_that_may_be_rows(tmp_path):
    """An array (H, W, 4) that tifffile was not told about is a page of W x 4 for each row."""
    array = pixels(4, np.uint16)
    path = tiff(tmp_path / 'a.tif', array)
    with pytest.raises(ImageReadError, match="9 pages of 12 x 4 values.*channel_axis='first' or 'last'"):
        read_stored(path)
    assert np.array_equal(read_stored(path, 'last').array, array)
    assert np.array_equal(read_stored(path, 'first').array, np.moveaxis(array, 0, 2))
    assert LoadImage(channels=4, value_range=(0, 500), channel_axis='last')(dict(img_path=path))['img'].shape[2] == 4


def test_stacks_are_refused_and_pages_in_colour_give_the_first(tmp_path):
    path = tiff(tmp_path / 'a.tif', np.zeros((2, 3, *SIZE), np.uint8), imagej=True, metadata={'axes': 'ZCYX'})
    with pytest.raises(ImageReadError, match='axes ZCYX.*each image of a stack as a file of its own'):
        read_stored(path)
    array = np.stack([pixels(3, seed=seed) for seed in range(2)])
    path = tiff(tmp_path / 'b.tif', array, photometric='rgb')
    assert np.array_equal(read_stored(path).array, array[0])


def test_values_that_are_no_numbers(tmp_path):
    array = pixels(2, np.float32)
    array[0, 0, 0], array[3, 4], array[5, 5, 1] = np.nan, np.inf, -np.inf
    path = tiff(tmp_path / 'a.tif', array, planarconfig='contig')
    with pytest.raises(ImageReadError, match='a.tif: 3 pixels are NaN or infinite.*replace_nan'):
        LoadImage(channels=2, value_range=(0, 100))(dict(img_path=path))
    img = LoadImage(channels=2, value_range=(0, 100), replace_nan=50)(dict(img_path=path))['img']
    np.testing.assert_allclose(img, np.where(np.isfinite(array), array, 50) * 2.55, rtol=1e-6)


def test_values_without_a_defined_range(tmp_path):
    for dtype in ('f4', 'i2', 'u4'):
        path = tiff(tmp_path / 'a.tif', pixels(4, dtype), planarconfig='contig')
        with pytest.raises(ImageReadError, match=f'{np.dtype(dtype)} have no defined range.*value_range=.LOW, HIGH.'):
            LoadImage(channels=4)(dict(img_path=path))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_of_bands(orientation, tmp_path):
    """As Pillow turns a grey TIFF."""
    array = pixels(4)
    extra = [(274, 'H', 1, orientation, True)]
    path = tiff(tmp_path / 'a.tif', array, planarconfig='contig', extratags=extra)
    grey = tiff(tmp_path / 'grey.tif', array[..., 2], extratags=extra)
    with open(grey, 'rb') as file, Image.open(file) as image:  # of a path, Pillow maps and turns it wrongly
        expected = np.asarray(image)
    assert np.array_equal(read_stored(path).array[..., 2], expected)
    assert np.array_equal(LoadImage(channels=4, exif='ignore')(dict(img_path=path))['img'], array)


def test_broken_files_are_named(tmp_path):
    whole = (tmp_path / 'a.tif').parent / 'a.tif'
    tiff(whole, pixels(5, np.uint16), planarconfig='contig')
    data = whole.read_bytes()
    for name, content in (('half.tif', data[:len(data) // 2]), ('none.tif', b''), ('text.tif', b'no image'),
                          ('head.tif', data[:12])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageReadError, match=name):
            LoadImage(channels=5)(dict(img_path=str(tmp_path / name)))
    with pytest.raises(ImageReadError, match='no such image file'):
        read_stored(tmp_path / 'missing.tif')


def test_arrays_are_taken_as_files_are():
    array = pixels(4, np.uint16)
    load = LoadImage(channels=4, value_range=(0, 4095))
    np.testing.assert_allclose(load(array)['img'], array / 4095 * 255, rtol=1e-6)
    for wrong in (array[..., :3], array[0], array[..., None], array > 3):
        with pytest.raises(ImageArrayError, match=r'must be \(H, W, 4\) of the values of files, about 0 to 4095'):
            load(wrong)
    with pytest.raises(ImageArrayError, match=r'must be \(H, W, 4\) uint8.*order of the files, got .* float32'):
        LoadImage(channels=4)(array.astype(np.float32))
    assert LoadImage(channels=1)(pixels(1)[..., 0])['img'].shape == (*SIZE, 1)
    with pytest.raises(ImageArrayError, match='NaN or infinite'):
        load(np.full((2, 2, 4), np.nan))


@pytest.mark.parametrize('wrong', [
    dict(channels=0), dict(channels='4'), dict(channels=2.5), dict(channels=True), dict(value_range=(1, 1)),
    dict(value_range=(0, np.inf)), dict(value_range=5), dict(value_range=(0, 1, 2)), dict(channel_axis='middle'),
    dict(replace_nan='x'), dict(replace_nan=float('nan')), dict(value_range=(0, 4095), bit_depth=12)])
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LoadImage(**wrong)


def test_a_fourth_band_is_not_dropped_without_a_word(tmp_path):
    for name, kind in (('alpha', 'unassalpha'), ('band', 'unspecified')):
        for dtype in (np.uint8, np.uint16):
            tifffile.imwrite(tmp_path / f'{name}{dtype.__name__}.tif', np.full((4, 5, 4), 200, dtype),
                             photometric='rgb', extrasamples=[kind])
    assert read_image(tmp_path / 'alphauint8.tif').shape == (4, 5, 3)
    for name in ('banduint8', 'banduint16'):
        with pytest.raises(ImageReadError, match='1 more channel.* no alpha: state the number of all'):
            read_image(tmp_path / f'{name}.tif')
