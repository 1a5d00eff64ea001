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
from mmwhitebox.datasets.set_findings import judge
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


@pytest.mark.parametrize('compression', [None, 'tiff_lzw'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_every_orientation_of_tiff(tmp_path, orientation, compression):
    """Pillow turns TIFFs itself as it loads them, and those that it maps into memory wrongly."""
    image, exif = Image.fromarray(ROW), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / 'a.tif', exif=exif, compression=compression)
    upright = {1: ROW, 2: np.fliplr(ROW), 3: np.rot90(ROW, 2), 4: np.flipud(ROW), 5: ROW.T, 6: np.rot90(ROW, -1),
               7: np.rot90(ROW, 2).T, 8: np.rot90(ROW)}[orientation]
    assert np.array_equal(read_image(tmp_path / 'a.tif')[..., 0], upright)
    assert np.array_equal(read_image(tmp_path / 'a.tif', exif='ignore')[..., 0], ROW)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp'])
def test_images_of_8_bits_are_the_same_at_any_bit_depth(tmp_path, suffix):
    values = np.full((16, 160, 3), 200, np.uint8)  # a side of 16 is no 16 bits
    Image.fromarray(values).save(tmp_path / f'a{suffix}')
    assert np.array_equal(read_image(tmp_path / f'a{suffix}', bit_depth=12), values)


def test_a_pgm_is_scaled_by_the_maximum_it_states(tmp_path):
    (tmp_path / 'a.pgm').write_bytes(b'P5\n2 1\n4095\n' + np.array([4095, 16], '>u2').tobytes())
    for bit_depth in (None, 12):
        assert read_image(tmp_path / 'a.pgm', bit_depth)[0, :, 0].tolist() == [255, 1]


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


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('exif', ['apply', 'ignore'])
@pytest.mark.parametrize('orientation', [3, 6])
def test_masks_with_an_orientation_follow_their_images(tmp_path, orientation, exif, suffix):
    image = save_with_orientation(tmp_path / 'i.png', ROW, orientation)
    mask = save_with_orientation(tmp_path / f'm{suffix}', ROW, orientation)
    results = load_both(image, mask, exif=exif)
    assert np.array_equal(results['img'][..., 0], results['gt_seg_map'])
    assert np.array_equal(results['gt_seg_map'], ROW) == (exif == 'ignore')


def test_a_turned_mask_of_a_lying_image_is_explained(tmp_path):
    image = save_with_orientation(tmp_path / 'i.png', ROW, 6)
    Image.fromarray(np.rot90(ROW, -1)).save(tmp_path / 'turned.png')
    with pytest.raises(AnnotationError, match="set exif='apply'"):
        load_both(image, str(tmp_path / 'turned.png'), exif='ignore')


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


def checked(folder, loader='mmwhitebox.LoadImage', **loading):
    pipeline = [dict(type=loader, **loading), dict(type='ReadsMyLabels'), dict(type='PackSegInputs')]
    dataset = dict(type='BaseSegDataset', data_root=str(folder), img_suffix='.png',
                   data_prefix=dict(img_path='img', seg_map_path='mask'), metainfo=dict(classes=('a', 'b', 'c')),
                   pipeline=pipeline)
    sets = make_sets(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])
    check_set(sets[0], 0)
    judge(sets)
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


def pairs(folder, images):
    """Images and masks of mmseg's layout; the masks hold 0, 100 and 200."""
    for name in ('img', 'mask'):
        (folder / name).mkdir()
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f'img/{i}.png'), image)
        cv2.imwrite(str(folder / f'mask/{i}.png'), np.array([[0, 100], [200, 0]], np.uint8))
    return folder


@pytest.mark.parametrize('largest, channels, bits', [(255, 1, 8), (1000, 1, 10), (4095, 3, 12), (16000, 1, 14),
                                                     (16384, 1, None), (65535, 3, None)])
def test_the_bits_that_wide_images_use_are_told(tmp_path, largest, channels, bits):
    image = np.array([[0, largest], [1, 2]], np.uint16)[..., None].repeat(channels, 2).squeeze()
    (message, ) = [finding.message for finding in checked(pairs(tmp_path, [image])).findings] or ['']
    assert f'below {1 << bits}: set bit_depth={bits} of' in message if bits else not message


def test_check_of_own_mask_loaders_when_the_first_files_are_broken(tmp_path):
    pairs(tmp_path, [np.full((2, 2, 3), i, np.uint8) for i in range(3)])
    (tmp_path / 'mask/0.png').write_bytes(b'')
    found = checked(tmp_path)
    assert [finding.kind for finding in found.findings] == ['empty file'] and found.pixels[:3].tolist() == [4, 2, 2]


@MMSEG_TRANSFORMS.register_module(force=True)
class WideLabels:
    """Labels beyond 8 bits, and below 0."""

    def __call__(self, results):
        return {**results, 'gt_seg_map': np.array([[0, 300], [-1, 2]])}


def test_check_of_labels_beyond_8_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(ReadsMyLabels, '__call__', WideLabels.__call__)
    found = checked(pairs(tmp_path, [np.zeros((2, 2, 3), np.uint8)]))
    assert 'labels -1, 300 of 3 classes' in found.faults()[0].message and found.pixels.sum() == 2


@pytest.mark.parametrize('color_type, turned', [('color', True), ('unchanged', False),
                                                ('color_ignore_orientation', False)])
def test_check_of_turned_photographs_with_the_loader_of_mmcv(tmp_path, color_type, turned):
    pairs(tmp_path, [])
    save_with_orientation(tmp_path / 'img/0.png', np.dstack([ROW] * 3), 6)
    Image.fromarray(ROW % 3 * 100).save(tmp_path / 'mask/0.png')
    found = checked(tmp_path, loader='LoadImageFromFile', color_type=color_type)
    assert [finding.kind for finding in found.findings] == ['size mismatch'] * turned


@MMSEG_TRANSFORMS.register_module(force=True)
class LacksItsPackage:
    def __init__(self):
        raise ImportError('not installed')


def test_check_builds_only_the_steps_that_load(tmp_path):
    pairs(tmp_path, [np.zeros((2, 2, 3), np.uint8)])
    dataset = dict(type='BaseSegDataset', data_root=str(tmp_path), img_suffix='.png',
                   data_prefix=dict(img_path='img', seg_map_path='mask'), metainfo=dict(classes=('a', 'b')),
                   pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                             dict(type='LacksItsPackage')])
    (found, ) = make_sets(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])
    assert type(found.checker.load_mask).__name__ == 'LoadAnnotations'


def test_hidden_files_and_folders_are_no_images(tmp_path):
    for name in ('a.png', '._a.png', '.ipynb_checkpoints/a-checkpoint.png', 'sub/b.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ['a.png', 'b.png']
    assert [path.name for path in list_images(f'{tmp_path}/*.png')] == ['a.png']
    assert [path.name for path in list_images(f'{tmp_path}/._*.png')] == ['._a.png']
    assert [path.name for path in list_images(tmp_path / '.ipynb_checkpoints')] == ['a-checkpoint.png']


def test_registry_builds_it_from_a_config():
    step = TRANSFORMS.build(dict(type='mmwhitebox.LoadImage', bit_depth=12, exif='ignore', on_error='skip'))
    assert (step.bit_depth, step.exif, step.on_error) == (12, 'ignore', 'skip')
