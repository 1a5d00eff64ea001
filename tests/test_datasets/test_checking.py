"""Every kind of fault in a data set is found, in whatever data set, and a sound one has none."""
import os
import pickle
import re
import signal

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmwhitebox.datasets import CIFAR10
from mmwhitebox.datasets.check_report import check_set, class_table, make_sets
from mmwhitebox.datasets.set_findings import judge
from mmwhitebox.errors import DatasetLayoutError, UserError

STEPS = [dict(type='mmwhitebox.LoadImage'), dict(type='mmwhitebox.LoadSegAnnotation', num_classes=4)]
CLASSES = ('a', 'b', 'c', 'd')


def noise(seed, size=(6, 8)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def seg_dataset(root, split, **kwargs):
    return dict(type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=CLASSES), img_suffix='.png',
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'masks/{split}'), pipeline=STEPS, **kwargs)


@pytest.fixture
def seg(tmp_path):
    """Twelve training and three validation samples; each mask has the four classes and ignored pixels."""
    seed = 0
    for split, count in (('train', 12), ('val', 3)):
        for i in range(count):
            write(tmp_path / 'images' / split / f'{i}.png', noise(seed := seed + 1))
            labels = np.tile(np.array([0, 0, 0, 1, 1, 2, 3, 255], np.uint8), (6, 1))
            write(tmp_path / 'masks' / split / f'{i}.png', labels)
    return tmp_path


def seg_cfg(root, **kwargs):
    val = dict(dataset=seg_dataset(root, 'val'))
    return Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=seg_dataset(root, 'train', **kwargs)),
                       val_dataloader=val, test_dataloader=val))


def findings(cfg, workers=0, splits=('train', 'val', 'test')):
    """(kind, file name, message) of everything found."""
    sets = make_sets(cfg, splits)
    for checked in sets:
        check_set(checked, workers)
    judge(sets)
    return [(finding.kind, os.path.basename(finding.file), finding.message) for checked in sets
            for finding in checked.findings]


@pytest.mark.parametrize('workers', [0, 2])
def test_sound_sets_have_no_findings_and_count_their_classes(seg, workers):
    cfg = seg_cfg(seg)
    sets = make_sets(cfg, ('train', 'val', 'test'))
    assert [checked.splits for checked in sets] == [('train', ), ('val', 'test')]
    done = []
    for checked in sets:
        check_set(checked, workers, done.append)
    judge(sets)
    assert not any(checked.findings for checked in sets) and sum(done) == 15
    table = class_table(sets[0])
    assert [row['name'] for row in table] == list(CLASSES) and [row['images'] for row in table] == [12] * 4
    assert [row['pixels'] for row in table] == [12 * 18, 12 * 12, 12 * 6, 12 * 6]
    assert [row['share'] for row in table] == pytest.approx([3 / 7, 2 / 7, 1 / 7, 1 / 7])


def labels_of(value, dtype=np.uint8, size=(6, 8)):
    return np.full(size, value, dtype)


def grey_levels():
    return np.tile(np.array([0, 60, 120, 180], np.uint8), (6, 2))


FAULTS = {
    'unreadable image': (lambda r: (r / 'images/train/3.png').write_bytes(b'\x89PNG\r\n\x1a\nno'), '3.png',
                         'cannot read'),
    'unreadable mask': (lambda r: (r / 'masks/train/3.png').write_bytes(b'text'), '3.png', 'cannot read'),
    'empty file': (lambda r: (r / 'images/train/3.png').write_bytes(b''), '3.png', '0 bytes'),
    'missing mask': (lambda r: (r / 'masks/train/3.png').unlink(), '3.png', 'No such file'),
    'unpaired mask': (lambda r: (r / 'images/train/3.png').unlink(), '3.png', r'no image 3.png'),
    'size mismatch': (lambda r: write(r / 'masks/train/3.png', labels_of(1, size=(8, 6))), '3.png',
                      '6 x 8 pixels, its image 8 x 6'),
    'all ignored': (lambda r: write(r / 'masks/train/3.png', labels_of(255)), '3.png', 'every pixel is 255'),
    'duplicate': (lambda r: write(r / 'images/train/3.png', noise(2), compress_level=0), '3.png',
                  'same picture as .*1.png'),
    'leak': (lambda r: write(r / 'images/val/2.png', noise(7)), '2.png', 'same picture as .*train/6.png of train'),
}


@pytest.mark.parametrize('kind', FAULTS)
def test_every_fault_is_found(seg, kind):
    damage, file, message = FAULTS[kind]
    damage(seg)
    found = findings(seg_cfg(seg))
    assert [(k, f) for k, f, _ in found] == [(kind, file)]
    assert re.search(message, found[0][2])


@pytest.mark.parametrize('mask, kind, advice', [
    (labels_of(4), 'label out of range', r'labels 4 of 4 classes: if they are 1 to 4 .* reduce_zero_label=True'),
    (labels_of(9), 'label out of range', r'labels 9 .* set num_classes to 10'),
    (grey_levels(), 'label out of range', r'labels 60, 120, 180 .* 4 grey levels 0, 60, 120, 180 .* 0 to 3'),
    (labels_of(300, np.uint16), 'label out of range', 'labels up to 300; label maps are read as 8 bit'),
    (np.repeat(labels_of(1)[..., None], 3, axis=2), 'coloured mask', '3 channels that repeat one'),
    (noise(3), 'coloured mask', r'3 channels, \d+ colours, 0 of them in the palette'),
])
def test_wrong_labels_come_with_a_proposal(seg, mask, kind, advice):
    write(seg / 'masks/train/3.png', mask)
    (found, ) = findings(seg_cfg(seg))
    assert found[:2] == (kind, '3.png') and re.search(advice, found[2])


def test_reduced_labels_are_judged_as_training_sees_them(seg):
    for split in ('train', 'val'):
        for path in (seg / 'masks' / split).iterdir():
            labels = np.asarray(Image.open(path))
            write(path, np.where(labels == 255, 0, labels + 1).astype(np.uint8))
    cfg = seg_cfg(seg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.reduce_zero_label = True
    assert findings(cfg) == []
    write(seg / 'masks/train/3.png', labels_of(6))
    (found, ) = findings(cfg)
    assert 'labels 5 of 4 classes: the file has them one higher' in found[2]


def test_masks_of_0_and_255(seg):
    for path in (seg / 'masks/train').iterdir():
        write(path, np.tile(np.array([0, 255], np.uint8), (6, 4)))
    found = {kind: message for kind, _, message in findings(seg_cfg(seg), splits=('train', ))}
    assert 'If 255 means a class, save that class as 1' in found['0/255 mask']
    assert found['class never occurs'] == '3 of 4 classes: b (1), c (2), d (3).'


def test_wrappers_lists_and_sides_of_one_pixel(seg):
    (seg / 'list.txt').write_text('0\n1\n99\n')
    write(seg / 'images/train/1.png', noise(40, (1, 8)))
    write(seg / 'masks/train/1.png', labels_of(2, size=(1, 8)))
    listed = seg_dataset(seg, 'train', ann_file='list.txt')
    whole = dict(type='RepeatDataset', times=3, dataset=seg_dataset(seg, 'val'))
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dict(
        type='ConcatDataset', datasets=[listed, whole]))))
    assert [found[:2] for found in findings(cfg)] == [('missing image', '99.png'), ('missing mask', '99.png')]


def test_a_sample_that_kills_its_reader_is_named_and_the_others_are_read(seg, monkeypatch):
    sets = make_sets(seg_cfg(seg), ('train', ))
    check = type(sets[0].checker).check

    def deadly(self, index):
        if self.name(index).endswith(('/3.png', '/11.png')):
            os.kill(os.getpid(), signal.SIGKILL)
        return check(self, index)

    monkeypatch.setattr(type(sets[0].checker), 'check', deadly)
    check_set(sets[0], workers=2)
    assert sorted((finding.kind, os.path.basename(finding.file)) for finding in sets[0].findings) == [
        ('crash', '11.png'), ('crash', '3.png')]
    assert [row['images'] for row in class_table(sets[0])] == [10] * 4


def class_cfg(root, **kwargs):
    dataset = dict(type='CustomDataset', data_root=str(root), pipeline=STEPS[:1], **kwargs)
    return Config(dict(default_scope='mmpretrain', model=dict(head=dict(num_classes=3)),
                       train_dataloader=dict(dataset={**dataset, 'data_prefix': 'train'}),
                       val_dataloader=dict(dataset={**dataset, 'data_prefix': 'val'})))


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate('abc' * 2):
        write(tmp_path / ('train' if i < 3 else 'val') / name / f'{i}.png', noise(100 + i))
    return tmp_path


def test_class_folders(folders):
    cfg = class_cfg(folders, metainfo=dict(classes=('a', 'b', 'c')))
    assert findings(cfg) == []
    (folders / 'train/b/1.png').rename(folders / 'train/b/1.txt')
    write(folders / 'train/c/copy.png', noise(100))
    (folders / 'val/a/3.png').write_bytes(b'\xff\xd8')
    found = findings(cfg)
    assert [(kind, file) for kind, file, _ in found] == [
        ('empty class', 'CustomDataset'), ('duplicate', 'copy.png'), ('label conflict', 'copy.png'),
        ('unreadable image', '3.png')]
    assert found[0][2].startswith('b (1)') and 'class 2 here, 0 of' in found[2][2]


def test_listed_labels_out_of_range(folders):
    (folders / 'train.txt').write_text('a/0.png 0\nb/1.png 1\nc/2.png 7\n')
    cfg = class_cfg(folders, metainfo=dict(classes=('a', 'b', 'c')))
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    found = findings(cfg, splits=('train', ))
    assert found[0][:2] == ('label out of range', '2.png')
    assert 'labels 7 of 3 classes: set num_classes to 8' in found[0][2]
    assert found[1][0] == 'empty class' and len(found) == 2


def test_another_number_of_classes_in_the_model(folders):
    cfg = class_cfg(folders, metainfo=dict(classes=('a', 'b', 'c')))
    cfg.model.head.num_classes = 5
    assert [kind for kind, _, _ in findings(cfg)] == ['classes differ'] * 2


def test_images_in_memory(tmp_path, monkeypatch):
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for i, (name, _) in enumerate(CIFAR10.train_list):
        pixels = np.random.default_rng(i % 4).integers(0, 256, (2, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps(dict(data=pixels, labels=[i, i + 5])))
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    dataset = dict(type='mmwhitebox.CIFAR10', data_root=str(tmp_path), split='train', pipeline=STEPS[:1])
    found = findings(Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dataset))))
    assert [(kind, file) for kind, file, _ in found] == [  # the fifth file repeats the first
        ('duplicate', 'CIFAR10[8]'), ('label conflict', 'CIFAR10[8]'), ('duplicate', 'CIFAR10[9]'),
        ('label conflict', 'CIFAR10[9]')]


def test_no_data_and_no_dataset(tmp_path, seg):
    with pytest.raises(DatasetLayoutError, match='images/train does not exist'):
        make_sets(seg_cfg(tmp_path / 'nowhere'), ('train', ))
    with pytest.raises(UserError, match='has no dataset for test'):
        make_sets(Config(dict(train_dataloader=dict(dataset=seg_dataset(seg, 'train')))), ('test', ))
