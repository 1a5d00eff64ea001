"""Wide images have one scale in all files; a photograph and its mask are turned alike, or it is explained."""
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmseg.registry import TRANSFORMS as MMSEG_TRANSFORMS
from PIL import Image

from mmwhitebox.apis.inference import list_images
from mmwhitebox.datasets import LoadImage, LoadSegAnnotation, read_image
from mmwhitebox.datasets.check_report import check_set, make_sets
from mmwhitebox.errors import AnnotationError, ImageReadError

ROW = np.arange(24, dtype=np.uint8).reshape(4, 6)  # of other sides, each pixel another value


def save_grey16(path, values):
    Image.fromarray(np.asarray(values, np.uint16)).save(path)
    return str(path)


def save_with_orientation(path, array, orientation):
    image = Image.fromarray(array)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_a_value_of_16_bits_is_the_same_in_every_file(tmp_path, suffix):
    dark = save_grey16(tmp_path / f'dark{suffix}', [[200, 255, 0]])
    bright = save_grey16(tmp_path / f'bright{suffix}', [[200, 65535, 51200]])
    assert read_image(dark)[0, :, 0].tolist() == [0, 0, 0]
    assert read_image(bright)[0, :, 0].tolist() == [0, 255, 200]


def test_bit_depth(tmp_path):
    path = save_grey16(tmp_path / 'a.png', [[0, 16, 4095]])
    assert LoadImage(bit_depth=12)(dict(img_path=path))['img'][0, :, 1].tolist() == [0, 1, 255]
    with pytest.raises(ImageReadError, match='values up to 4095 do not fit bit_depth=10'):
        read_image(path, bit_depth=10)
    for wrong in (7, 12.5, 'x'):
        with pytest.raises(ValueError, match='bit_depth'):
            LoadImage(bit_depth=wrong)


def test_wide_colour_and_integers(tmp_path):
    colour = np.array([[[16, 4080, 65535], [0, 256, 512]]], np.uint16)  # BGR
    cv2.imwrite(str(tmp_path / 'c.png'), colour)
    assert read_image(tmp_path / 'c.png').tolist() == (colour >> 8).tolist()
    cv2.imwrite(str(tmp_path / 'd.png'), colour.clip(0, 4095))
    assert read_image(tmp_path / 'd.png', bit_depth=12).tolist() == (colour.clip(0, 4095) >> 4).tolist()
    Image.fromarray(np.array([[5, 70000]], np.int32)).save(tmp_path / 'i.tif')
    with pytest.raises(ImageReadError, match='32-bit integers.*bit_depth'):
        read_image(tmp_path / 'i.tif')
    assert read_image(tmp_path / 'i.tif', bit_depth=17)[0, :, 0].tolist() == [0, 136]
    Image.fromarray(np.array([[0.5]], np.float32)).save(tmp_path / 'f.tif')
    with pytest.raises(ImageReadError, match='floating-point'):
        read_image(tmp_path / 'f.tif')


@pytest.mark.parametrize('orientation', range(1, 9))
def test_every_exif_orientation(tmp_path, orientation):
    """As Pillow turns it, an independent implementation."""
    from PIL import ImageOps
    path = save_with_orientation(tmp_path / 'a.png', ROW, orientation)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path)[..., 0], expected)
    assert np.array_equal(read_image(path, exif='ignore')[..., 0], ROW)


def load_both(image, mask, **options):
    results = LoadImage(**options)(dict(img_path=image))
    return LoadSegAnnotation(num_classes=24)({**results, 'seg_map_path': mask, 'seg_fields': [], 'label_map': None,
                                              'reduce_zero_label': False})


@pytest.mark.parametrize('orientation', [3, 6])
def test_image_and_mask_are_turned_alike(tmp_path, orientation):
    image = save_with_orientation(tmp_path / 'i.png', ROW, orientation)
    upright = read_image(image)[..., 0]
    Image.fromarray(upright).save(tmp_path / 'turned.png')  # drawn on the turned picture
    results = load_both(image, str(tmp_path / 'turned.png'))
    assert np.array_equal(results['img'][..., 0], results['gt_seg_map'])
    own = save_with_orientation(tmp_path / 'own.png', ROW, orientation)  # a mask with an orientation of its own
    assert np.array_equal(load_both(image, own)['gt_seg_map'], upright)
    Image.fromarray(ROW).save(tmp_path / 'raw.png')  # drawn on the stored pixels
    results = load_both(image, str(tmp_path / 'raw.png'), exif='ignore')
    assert np.array_equal(results['img'][..., 0], results['gt_seg_map'])


def test_a_lying_mask_is_explained(tmp_path):
    image = save_with_orientation(tmp_path / 'i.png', ROW, 6)
    Image.fromarray(ROW).save(tmp_path / 'raw.png')
    with pytest.raises(AnnotationError, match=r"EXIF orientation \(6\).*exif='ignore'"):
        load_both(image, str(tmp_path / 'raw.png'))


@MMSEG_TRANSFORMS.register_module(force=True)
class ReadsMyLabels:
    """A user's own step that reads masks, of no class that is known."""

    def __call__(self, results):
        with Image.open(results['seg_map_path']) as mask:
            results['gt_seg_map'] = np.asarray(mask) // 100
        return results


def checked(folder, **loading):
    pipeline = [dict(type='mmwhitebox.LoadImage', **loading), dict(type='ReadsMyLabels'), dict(type='PackSegInputs')]
    dataset = dict(type='BaseSegDataset', data_root=str(folder), img_suffix='.png',
                   data_prefix=dict(img_path='img', seg_map_path='mask'), metainfo=dict(classes=('a', 'b', 'c')),
                   pipeline=pipeline)
    sets = make_sets(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])
    check_set(sets[0], 0)
    return sets[0]


def test_check_of_own_mask_loaders_bit_depth_turned_and_hidden_files(tmp_path):
    (tmp_path / 'img').mkdir()
    (tmp_path / 'mask').mkdir()
    save_grey16(tmp_path / 'img/a.png', np.arange(16).reshape(4, 4) * 200)
    save_with_orientation(tmp_path / 'img/b.png', np.arange(16, dtype=np.uint8).reshape(4, 4), 3)
    for name in 'ab':
        Image.fromarray(np.array([[0, 100], [200, 0]], np.uint8).repeat(2, 0).repeat(2, 1)).save(
            tmp_path / f'mask/{name}.png')
    (tmp_path / 'img/._a.png').write_bytes(b'Mac OS X')
    found = checked(tmp_path)
    kinds = {finding.kind: finding for finding in found.findings}
    assert kinds.keys() == {'bit depth', 'EXIF orientation', 'hidden file'} and not found.faults()
    assert 'bit_depth=12' in kinds['bit depth'].message and kinds['EXIF orientation'].file.endswith('b.png')
    assert found.pixels[:3].tolist() == [16, 8, 8]  # what the own step reads
    assert 'bit depth' not in {finding.kind for finding in checked(tmp_path, bit_depth=12).findings}
    assert [path.name for path in list_images(tmp_path / 'img')] == ['a.png', 'b.png']


def test_registry_builds_it_from_a_config():
    step = TRANSFORMS.build(dict(type='mmwhitebox.LoadImage', bit_depth=12, exif='ignore', on_error='skip'))
    assert (step.bit_depth, step.exif, step.on_error) == (12, 'ignore', 'skip')
