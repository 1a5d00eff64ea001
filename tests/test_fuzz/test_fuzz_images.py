"""Whatever an image file holds: labels of its size and of the classes, or an ImageReadError that names it."""
import io

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.datasets import read_image
from mmwhitebox.datasets.image_io import IMAGE_SUFFIXES
from mmwhitebox.errors import ImageReadError, UserError
from tests.configs import reduced

CLASSES = 5
MOST_PIXELS = 1 << 18  # of a damaged file that still decodes: more are read, but not segmented here
MODES = ['1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I;16', 'I', 'F']
FORMATS = {'.png': 'PNG', '.jpg': 'JPEG', '.bmp': 'BMP', '.tif': 'TIFF', '.webp': 'WEBP', '.gif': 'GIF', '.ppm': 'PPM'}
MAGIC = [b'', b'\xff\xd8\xff\xe0\x00\x10JFIF\x00', b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR', b'GIF89a', b'BM', b'II*\x00',
         b'MM\x00*', b'P6 ', b'P5 16 16 255\n', b'RIFF\x40\x00\x00\x00WEBPVP8 ', b'\x00\x00\x01\x00', b'8BPS']


def build(mode):
    torch.manual_seed(0)
    if mode == 'classification':
        return init_model(reduced('cbt/cbt_mini_imagenet.py'), device='cpu')
    options = {'model.decode_head.num_classes': CLASSES}
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    if mode == 'slide':
        cfg.model.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(48, 48))
    return init_model(cfg, device='cpu', cfg_options=options)


@pytest.fixture(scope='module', params=['whole', 'slide', 'classification'])
def model(request):
    return build(request.param)


@pytest.fixture(scope='module')
def classifier():
    return build('classification')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('images')


def check(model, path):
    """The result of an image file is complete, or the error is the documented one and names the file."""
    try:
        expected = read_image(path)
    except ImageReadError as error:
        assert str(path) in str(error)
        with pytest.raises(ImageReadError):
            inference_model(model, path)
        return None
    assert expected.dtype == np.uint8 and expected.ndim == 3 and expected.shape[2] == 3 and expected.size > 0
    if expected.shape[0] * expected.shape[1] > MOST_PIXELS:
        return None
    result = inference_model(model, path)
    if 'pred_label' in result:
        assert 0 <= result.pred_label.item() < 12
        assert np.isfinite(result.probabilities).all() and result.probabilities.sum() == pytest.approx(1, abs=1e-4)
    else:
        assert result.mask.shape == expected.shape[:2]
        assert np.issubdtype(result.mask.dtype, np.integer)
        assert 0 <= result.mask.min() and result.mask.max() < CLASSES
    return result


def picture(mode, width, height, seed=0):
    """An image of noise in any of Pillow's modes."""
    rng = np.random.default_rng(seed)
    if mode == 'I;16':
        return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == 'I':
        return Image.fromarray(rng.integers(-5, 70000, (height, width), dtype=np.int32))
    if mode == 'F':
        return Image.fromarray(rng.normal(size=(height, width)).astype(np.float32))
    colour = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode == 'LAB':
        return Image.merge('LAB', colour.split())
    return colour.convert('P').convert('PA') if mode == 'PA' else colour.convert(mode)


def save(image, suffix, **options):
    """The bytes of a file, or None when the format cannot hold the image."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, FORMATS[suffix], **options)
    except (OSError, ValueError, KeyError):
        return None
    return buffer.getvalue()


@st.composite
def sizes(draw, most_pixels=1 << 15):
    """(width, height): 1 to 4096 (512 in a short run, beside the examples), up to 100 : 1, few pixels."""
    longest = 4096 if settings().max_examples > 50 else 512
    long = draw(st.one_of(st.integers(1, 64), st.integers(1, longest), st.sampled_from([1, 2, longest - 1, longest])))
    least = -(-long // 100)
    short = draw(st.integers(least, max(least, min(long, most_pixels // long))))
    return draw(st.sampled_from([(long, short), (short, long)]))


@given(data=st.binary(max_size=600), magic=st.sampled_from(MAGIC), suffix=st.sampled_from(IMAGE_SUFFIXES))
def test_arbitrary_bytes(classifier, folder, data, magic, suffix):
    path = folder / f'bytes{suffix}'
    path.write_bytes(magic + data)
    check(classifier, path)


@given(draw=st.data(), mode=st.sampled_from(MODES), suffix=st.sampled_from(sorted(FORMATS)))
def test_damaged_files(classifier, folder, draw, mode, suffix):
    content = save(picture(mode, 33, 21), suffix)
    assume(content is not None)
    damaged = bytearray(content)
    for _ in range(draw.draw(st.integers(0, 4))):
        damaged[draw.draw(st.integers(0, len(content) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    path = folder / f'damaged{suffix}'
    path.write_bytes(bytes(damaged[:draw.draw(st.integers(0, len(content)))]))
    check(classifier, path)


@example(size=(4096, 41), mode='L', suffix='.png', seed=0)
@example(size=(41, 4096), mode='P', suffix='.png', seed=0)
@given(size=sizes(), mode=st.sampled_from(MODES), suffix=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 9))
def test_every_shape_and_mode(model, folder, size, mode, suffix, seed):
    content = save(picture(mode, *size, seed), suffix)
    assume(content is not None)
    path = folder / f'whole{suffix}'
    path.write_bytes(content)
    result = check(model, path)
    assert mode == 'F' or result is not None  # only floating point has no meaning as an image


@given(size=sizes(most_pixels=1 << 10), orientation=st.integers(-1, 300),
       suffix=st.sampled_from(['.jpg', '.png', '.webp']))
def test_orientations(model, folder, size, orientation, suffix):
    image = picture('RGB', *size)
    exif = Image.Exif()
    exif[0x0112] = max(0, orientation)
    path = folder / f'turned{suffix}'
    path.write_bytes(save(image, suffix, exif=exif))
    result = check(model, path)
    turned = 5 <= orientation <= 8
    if 'pred_sem_seg' in result:
        assert result.mask.shape == (size if turned else size[::-1])


@given(frames=st.integers(2, 4), size=sizes(most_pixels=1 << 10),
       suffix=st.sampled_from(['.gif', '.webp', '.png', '.tif']))
def test_animations_give_their_first_frame(classifier, folder, frames, size, suffix):
    images = [picture('RGB', *size, seed) for seed in range(frames)]
    content = save(images[0], suffix, save_all=True, append_images=images[1:])
    path = folder / f'animated{suffix}'
    path.write_bytes(content)
    assert check(classifier, path) is not None
    assert read_image(path).shape[:2] == size[::-1]


@given(size=sizes(), colours=st.sampled_from([0, 255, None]), contiguous=st.booleans())
def test_arrays(model, size, colours, contiguous):
    array = np.full((*size[::-1], 3), colours, np.uint8) if colours is not None else \
        np.asarray(picture('RGB', *size))[..., ::-1]
    result = inference_model(model, np.ascontiguousarray(array) if contiguous else array)
    if 'pred_sem_seg' in result:
        assert result.mask.shape == size[::-1] and result.mask.max() < CLASSES
    else:
        assert np.isfinite(result.probabilities).all()


@given(shape=st.lists(st.integers(0, 5), min_size=0, max_size=4), dtype=st.sampled_from(['u1', 'u2', 'f4', '?', 'O']))
def test_arrays_that_are_no_images(classifier, shape, dtype):
    array = np.zeros(shape, dtype)
    assume(not (array.ndim == 3 and array.shape[2] == 3 and dtype == 'u1' and array.size))
    with pytest.raises((ValueError, UserError), match='array must be|without pixels|image array is'):
        inference_model(classifier, array)
