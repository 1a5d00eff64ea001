"""Images of every mode load; broken files and wrong annotations are named."""
import pickle

import numpy as np
import pytest
import torchvision
from mmengine.config import Config, ConfigDict
from mmseg.datasets import ADE20KDataset
from PIL import Image
from scipy.io import savemat

from mmwhitebox.datasets import CIFAR10, SVHN, LoadImage, LoadSegAnnotation, check_datasets, read_image
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import AnnotationError, ConfigError, DatasetLayoutError, ImageReadError

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def write(path, image):
    image.save(path)
    return path


MODES = {
    'rgb': lambda: (Image.fromarray(RGB), RGB),
    'grey': lambda: (Image.fromarray(RGB[..., 0]), RGB[..., [0] * 3]),
    'rgba': lambda: (Image.fromarray(np.dstack([RGB, RGB[..., :1]])), RGB),
    'grey-alpha': lambda: (Image.fromarray(RGB[..., 0]).convert('LA'), RGB[..., [0] * 3]),
    '16-bit': lambda: (Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), RGB[..., [0] * 3]),
    'palette': lambda: (Image.fromarray(RGB).quantize(256), None),
    'bilevel': lambda: (Image.fromarray(RGB[..., 0] > 50), (RGB[..., [0] * 3] > 50) * np.uint8(255)),
}


@pytest.mark.parametrize('mode', MODES)
def test_every_mode_becomes_8_bit_bgr(tmp_path, mode):
    image, expected = MODES[mode]()
    array = read_image(write(tmp_path / 'image.png', image))
    assert array.dtype == np.uint8 and array.shape == (5, 7, 3) and array.flags.c_contiguous
    if expected is None:  # a palette of few colours approximates
        assert np.abs(array[..., ::-1].astype(int) - RGB).max() < 12
    else:
        assert np.array_equal(array[..., ::-1], expected)


def test_cmyk(tmp_path):
    red = Image.new('CMYK', (8, 8), (0, 255, 255, 0))
    array = read_image(write(tmp_path / 'image.jpg', red))
    assert array.shape == (8, 8, 3) and np.abs(array[0, 0].astype(int) - [0, 0, 255]).max() < 8


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(RGB).save(tmp_path / 'image.png', exif=exif)
    assert read_image(tmp_path / 'image.png').shape == (7, 5, 3)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('damage', ['truncated', 'text', 'empty', 'missing'])
def test_unreadable_images_are_named(tmp_path, suffix, damage):
    path = tmp_path / f'photo{suffix}'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = write(path, Image.fromarray(noise)).read_bytes()
    if damage == 'missing':
        path.unlink()
    else:
        path.write_bytes({'truncated': data[:len(data) // 2], 'text': b'<html></html>', 'empty': b''}[damage])
    with pytest.raises(ImageReadError, match=f'photo{suffix}'):
        LoadImage()(dict(img_path=str(path)))


def test_arrays_pass_and_wrong_arrays_are_refused():
    assert LoadImage()(RGB)['ori_shape'] == (5, 7)
    with pytest.raises(ValueError, match=r'got \(5, 7\) uint8'):
        LoadImage()(RGB[..., 0])


def annotation_results(tmp_path, labels, reduce_zero_label=False):
    path = write(tmp_path / 'labels.png', Image.fromarray(labels))
    return dict(img_path='photo.jpg', ori_shape=(5, 7), img_shape=(5, 7), seg_map_path=str(path),
                reduce_zero_label=reduce_zero_label, label_map=None, seg_fields=[])


def test_good_annotations_load(tmp_path):
    labels = np.full((5, 7), 3, np.uint8)
    labels[0] = 0
    results = LoadSegAnnotation(num_classes=3)(annotation_results(tmp_path, labels, reduce_zero_label=True))
    assert set(np.unique(results['gt_seg_map'])) == {2, 255}


@pytest.mark.parametrize('labels, message', [
    (np.full((5, 6), 1, np.uint8), r'labels.png: the annotation is 6 x 5 pixels, its image photo.jpg is 7 x 5'),
    (np.full((5, 7), 4, np.uint8), r'labels.png: labels \[4\] are outside the 4 classes'),
    (np.zeros((5, 7, 3), np.uint8), r'labels.png: an annotation is a single-channel image'),
])
def test_wrong_annotations_are_named(tmp_path, labels, message):
    with pytest.raises(AnnotationError, match=message):
        LoadSegAnnotation(num_classes=4)(annotation_results(tmp_path, labels))


def test_label_maps_of_fractions_are_refused(tmp_path):
    results = annotation_results(tmp_path, np.zeros((5, 7), np.uint8))
    for value, message in ((1.5, 'this map has fractions'), (2.0, None)):
        labels = Image.fromarray(np.full((5, 7), value, np.float32))
        results['seg_map_path'] = str(write(tmp_path / 'labels.tif', labels))
        if message is None:
            assert (LoadSegAnnotation(num_classes=4)(dict(results))['gt_seg_map'] == 2).all()
        else:
            with pytest.raises(AnnotationError, match=f'labels.tif: .*{message}'):
                LoadSegAnnotation(num_classes=4)(dict(results))


def test_more_classes_than_labels_of_8_bits():
    for num_classes, ignore_index in ((255, 255), (256, 0)):
        LoadSegAnnotation(num_classes, ignore_index)
    for num_classes, ignore_index in ((256, 255), (257, 0)):
        with pytest.raises(ConfigError, match=f'num_classes={num_classes}, .* leaves {num_classes - 1} classes'):
            LoadSegAnnotation(num_classes, ignore_index)


def test_unreadable_annotation(tmp_path):
    results = annotation_results(tmp_path, np.zeros((5, 7), np.uint8))
    (tmp_path / 'labels.png').write_bytes(b'\x89PNG')
    with pytest.raises(ImageReadError, match='labels.png: cannot read this annotation'):
        LoadSegAnnotation(num_classes=4)(results)


@pytest.fixture
def ade_cfg(tmp_path):
    for kind, suffix in (('images', '.jpg'), ('annotations', '.png')):
        for split in ('training', 'validation'):
            folder = tmp_path / 'ade' / kind / split
            folder.mkdir(parents=True)
            for name in 'ab':
                write(folder / f'{name}{suffix}', Image.fromarray(RGB[..., 0]))
    dataset = dict(type='ADE20KDataset', data_root=str(tmp_path / 'ade'), pipeline=[],
                   data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'))
    return Config(dict(train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset))))


def test_complete_folders_pass(ade_cfg):
    check_datasets(ade_cfg)


@pytest.mark.parametrize('damage, message', [
    (lambda root: (root / 'ade').rename(root / 'elsewhere'), 'images/training does not exist'),
    (lambda root: [p.unlink() for p in (root / 'ade/images/training').iterdir()], r'holds no \*.jpg'),
    (lambda root: (root / 'ade/annotations/training/b.png').unlink(), '1 of 2 images .* no annotation: b.jpg'),
])
def test_missing_files_show_the_expected_layout(tmp_path, ade_cfg, damage, message):
    damage(tmp_path)
    with pytest.raises(DatasetLayoutError, match=message) as caught:
        check_datasets(ade_cfg)
    assert 'Expected layout of ADE20KDataset' in str(caught.value)
    assert 'data_root' in str(caught.value)


class Listed(ADE20KDataset):
    """A data set that finds its samples in its own way."""

    def load_data_list(self):
        return [dict(img_path='a.jpg', seg_map_path='a.png')]


@pytest.mark.parametrize('change', [
    lambda root, cfg: (root / 'images/training/._a.jpg').write_bytes(b'Mac OS X'),  # as macOS leaves them
    lambda root, cfg: cfg.update(lazy_init=True),
    lambda root, cfg: ((root / 'annotations/training/b.png').unlink(), cfg.update(indices=1)),
    lambda root, cfg: cfg.update(type=Listed, data_prefix=dict(img_path='elsewhere')),
    lambda root, cfg: cfg.update(data_root='', data_prefix=dict(
        img_path=str(root / 'images/training'), seg_map_path=str(root / 'annotations/training'))),
    lambda root, cfg: cfg.update(data_prefix=dict(img_path='linked', seg_map_path='linked')),
])
def test_what_training_reads_is_not_refused(tmp_path, ade_cfg, change):
    (tmp_path / 'ade/linked').mkdir()
    for kind in ('images', 'annotations'):
        (tmp_path / 'ade/linked' / kind).symlink_to(tmp_path / 'ade' / kind / 'training')
    for name in 'ab':  # beside the images, so that the folder of links serves for both
        write(tmp_path / f'ade/images/training/{name}.png', Image.fromarray(RGB[..., 0]))
    change(tmp_path / 'ade', ade_cfg.train_dataloader.dataset.dataset)
    check_datasets(ade_cfg)


@pytest.mark.parametrize('key', ['dataset', 'datasets'])
def test_an_argument_named_as_those_of_wrappers(key):
    own = {'type': 'Own', key: 'voc'}
    wrapped = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=own), own])
    assert list(leaf_datasets(wrapped)) == [own, own]


def test_other_datasets_are_left_to_themselves():
    dataset = dict(type='mmpretrain.CIFAR10', data_root='nowhere')
    check_datasets(Config(dict(train_dataloader=ConfigDict(dataset=dataset))))


@pytest.fixture
def class_folders(tmp_path):
    """Two class folders with an image each, and a config that names two classes."""
    for name in 'ab':
        folder = tmp_path / 'set' / 'train' / name
        folder.mkdir(parents=True)
        write(folder / 'photo.JPEG', Image.fromarray(RGB))
    dataset = dict(type='CustomDataset', data_root=str(tmp_path / 'set'), data_prefix='train',
                   metainfo=dict(classes=('a', 'b')))
    return Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dataset)))


def test_complete_class_folders_pass(class_folders):
    check_datasets(class_folders)


def test_links_in_class_folders_are_followed(tmp_path, class_folders):
    for name in 'ab':
        folder = tmp_path / 'set/train' / name
        folder.rename(tmp_path / name)
        folder.mkdir()
        (folder / 'linked').symlink_to(tmp_path / name)
    check_datasets(class_folders)


@pytest.mark.parametrize('damage, message', [
    (lambda root: (root / 'set').rename(root / 'elsewhere'), 'set/train does not exist'),
    (lambda root: [p.rename(root / p.name) for p in (root / 'set/train').iterdir()], 'holds no class folders'),
    (lambda root: (root / 'set/train/c').mkdir(), r'holds 3 class folders \(a, b, c\), the dataset has 2'),
    (lambda root: [p.unlink() for p in root.rglob('*.JPEG')], 'hold no images'),
])
def test_missing_classes_show_the_expected_layout(tmp_path, class_folders, damage, message):
    damage(tmp_path)
    with pytest.raises(DatasetLayoutError, match=message) as caught:
        check_datasets(class_folders)
    assert 'Expected layout of CustomDataset' in str(caught.value) and 'train/CLASS/*' in str(caught.value)


def test_missing_list_of_classes_shows_the_expected_layout(tmp_path):
    (tmp_path / 'images').mkdir()
    dataset = dict(type='OxfordIIITPet', data_root=str(tmp_path))
    with pytest.raises(DatasetLayoutError, match='annotations/trainval.txt does not exist.\nExpected layout'):
        check_datasets(Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dataset))))


def test_svhn_is_read_in_bgr_order(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 2), dtype=np.uint8)
    savemat(tmp_path / 'train_32x32.mat', dict(X=pixels, y=np.array([[10], [3]])))
    monkeypatch.setattr(torchvision.datasets.SVHN, '_check_integrity', lambda self: True)
    dataset = SVHN(str(tmp_path), 'train', download=False, pipeline=[LoadImage()])
    assert len(dataset) == 2 and [dataset[i]['gt_label'] for i in range(2)] == [0, 3]  # 10 stands for 0
    assert np.array_equal(dataset[1]['img'], pixels[..., ::-1, 1])


def test_cifar_is_read_in_bgr_order(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for name, _ in CIFAR10.train_list:
        (folder / name).write_bytes(pickle.dumps(dict(data=pixels, labels=[4, 7])))
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    dataset = CIFAR10(str(tmp_path), 'train', pipeline=[LoadImage()])
    assert len(dataset) == 10 and dataset[1]['gt_label'] == 7 and dataset.metainfo['classes'][4] == 'deer'
    red = pixels[0, :1024].reshape(32, 32)
    assert np.array_equal(dataset[0]['img'][..., 2], red)
