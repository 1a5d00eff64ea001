"""Images and annotations are found, however they are named; what does not fit is named in one line."""
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmwhitebox.datasets.formats import find_pairs, look, split
from mmwhitebox.datasets.formats.words import bare_mask, meaning, split_of
from mmwhitebox.errors import ConfigError, DatasetLayoutError
from tests.test_datasets import own_folders as own


def names(pairs):
    return [(sample.image.relative_to(pairs.root).as_posix(),
             [path.relative_to(pairs.root).as_posix() for path in sample.annotation], sample.split)
            for sample in pairs.samples]


@pytest.mark.parametrize('image, mask', [
    ('images/{i:03}.jpg', 'masks/{i:03}.png'), ('img/{i:03}.JPG', 'ann/{i:03}.PNG'),
    ('JPEGImages/2007_{i:06}.jpg', 'SegmentationClass/2007_{i:06}.png'),
    ('leftImg8bit/c/c_{i:03}_leftImg8bit.png', 'gtFine/c/c_{i:03}_gtFine_labelIds.png'),
    ('{i:03}.jpg', '{i:03}_mask.png'), ('{i:03}.jpg', '{i:03}-mask.tif'), ('{i:03}.jpg', '{i:03}_gt.png'),
    ('x/{i:03}.jpg', 'x/{i:03}_label.bmp'), ('{i:03}.jpeg', '{i:03}_labelIds.png'), ('{i:03}.jpg', '{i:03}.png'),
    ('images/{i:03}.webp', 'labels/{i:03}_gt.tiff'), ('images/img_{i}.png', 'masks/mask_{i}.png'),
    ('{i}_sat.jpg', '{i}_mask.png'), ('training/images/{i}_training.tif', 'training/1st_manual/{i}_manual1.gif'),
    ('Image_{i:02}L.jpg', 'Image_{i:02}L_1stHO.png'), ('input/a/{i}.png', 'gt/{i}.png'),
    ('photos/{i}.jpg', 'truth/{i}-abc.png'), ('a/{i}.jpg', 'b/{i}.png'), ('images/A_{i}.jpg', 'masks/a_{i}.png'),
    ('images/images_{i}.jpg', 'images/images_{i}_mask.png'),
])
def test_names_of_pairs(tmp_path, image, mask):
    pairs = find_pairs(own.pairs_of(tmp_path, image, mask))
    assert pairs.kind == 'masks' and not pairs.unlabelled
    assert sorted(names(pairs)) == sorted((image.format(i=i), [mask.format(i=i)], pairs.samples[0].split)
                                          for i in range(6))


@pytest.mark.parametrize('image, mask', [
    ('images/{split}/{i}.jpg', 'masks/{split}/{i}.png'), ('{split}/images/{i}.jpg', '{split}/masks/{i}.png'),
    ('{split}_images/{i}.jpg', '{split}_masks/{i}.png'), ('{split}/{i}.jpg', '{split}annot/{i}.png'),
    ('images/{split}/{i}.jpg', 'masks/{i}.png'), ('{split}/{i}.jpg', '{split}/{i}_mask.png'),
    ('data/{split}2017/{i}.jpg', 'data/annotations/{split}/{i}.png')])
@pytest.mark.parametrize('words', [('train', 'val', 'test'), ('training', 'validation', 'testing'), ('Train', 'valid')])
def test_splits_by_folder(tmp_path, image, mask, words):
    pairs = find_pairs(own.in_splits(tmp_path, image, mask, words, count=3))
    assert pairs.split_source == 'folders' and pairs.splits == dict(zip(('train', 'val', 'test'), [3] * len(words)))
    assert all(PurePosixPath(image).stem == PurePosixPath(mask[0]).stem.removesuffix('_mask')
               for image, mask, _ in names(pairs))


def test_a_mask_that_could_be_of_two_images_is_of_neither(tmp_path):
    own.pairs_of(tmp_path, 'images/{i}.jpg', 'masks/{i}.png')
    (tmp_path / 'images' / 'east').mkdir()
    (tmp_path / 'images' / 'west').mkdir()
    shutil.move(tmp_path / 'images' / '0.jpg', tmp_path / 'images' / 'east' / '0.jpg')
    shutil.copy(tmp_path / 'images' / 'east' / '0.jpg', tmp_path / 'images' / 'west' / '0.jpg')
    pairs = find_pairs(tmp_path)
    assert len(pairs.samples) == 5 and all('/0.' not in image for image, _, _ in names(pairs))
    assert any('0.png' in line for line in pairs.problems) and any('0.jpg' in line for line in pairs.problems)


def test_lists(tmp_path):
    own.pairs_of(tmp_path, 'JPEGImages/{i:03}.jpg', 'SegmentationClass/{i:03}.png')
    own.write(tmp_path / 'ImageSets/Segmentation/train.txt', '000\n001\n002\n')
    own.write(tmp_path / 'ImageSets/Segmentation/val.txt', '003\n001\n999\n')
    own.write(tmp_path / 'ImageSets/Segmentation/trainval.txt', '000\n001\n002\n003\n')
    own.write(tmp_path / 'ImageSets/Main/train.txt', '000\n001\n002\n003\n004\n')
    pairs = find_pairs(tmp_path)
    assert pairs.splits == {'train': 3, 'val': 1} and pairs.split_source == 'lists'
    text = '\n'.join(pairs.problems)
    assert '1 images in two lists (JPEGImages/001.jpg)' in text
    assert '1 lines of ImageSets/Segmentation/val.txt that name no image with an annotation (999)' in text
    assert '2 images with an annotation that no list names (JPEGImages/004.jpg, JPEGImages/005.jpg)' in text
    assert '1 other lists of splits (ImageSets/Main/train.txt)' in text


def test_lists_of_two_columns_pair(tmp_path):
    own.pairs_of(tmp_path, 'images/{i}.jpg', 'masks/{i}.png', 4)
    own.write(tmp_path / 'train_list.txt', '/far/away/images/0.jpg /far/masks/1.png\nimages/1.jpg masks/0.png\n')
    own.write(tmp_path / 'val.txt', 'images/2.jpg,masks/2.png\n')
    assert names(find_pairs(tmp_path)) == [
        ('images/0.jpg', ['masks/1.png'], 'train'), ('images/1.jpg', ['masks/0.png'], 'train'),
        ('images/2.jpg', ['masks/2.png'], 'val')]


def test_of_several_masks_the_indices_are_taken(tmp_path):
    own.pairs_of(tmp_path, 'leftImg8bit/train/c/c_{i}_leftImg8bit.png', 'gtFine/train/c/c_{i}_gtFine_labelIds.png')
    own.pairs_of(tmp_path, 'leftImg8bit/train/c/c_{i}_leftImg8bit.png', 'gtFine/train/c/c_{i}_gtFine_color.png')
    own.pairs_of(tmp_path, 'leftImg8bit/train/c/c_{i}_leftImg8bit.png', 'gtFine/train/c/c_{i}_gtFine_instanceIds.png')
    pairs = find_pairs(tmp_path)
    assert pairs.kind == 'masks' and all('labelIds' in sample.annotation[0].name for sample in pairs.samples)
    assert pairs.problems[0].startswith('12 masks of another kind, gtfine/ *gtfine_color, gtfine/ *gtfine_instanceids')


def test_binary_files(tmp_path):
    pairs = find_pairs(own.per_class(tmp_path / 'folders'))
    assert (pairs.kind, pairs.classes) == ('binary', ['car', 'road'])
    assert pairs.samples[0].names == ('car', 'road') and pairs.samples[0].annotation[1].parent.name == 'road'
    own.per_instance(tmp_path / 'instances')
    pairs = find_pairs(own.per_instance(tmp_path / 'instances', 2, 'stage1_test'))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('binary', ['object'], {'train': 4, 'test': 2})
    assert len(pairs.samples[0].annotation) == 3
    for name in own.CLASSES:
        own.pairs_of(tmp_path / 'suffixes', 'images/{i}.jpg', f'masks/{{i}}_{name}.png')
    pairs = find_pairs(tmp_path / 'suffixes')
    assert (pairs.kind, pairs.classes, pairs.samples[0].names) == ('binary', ['car', 'road'], ('car', 'road'))
    for i in (0, 1):
        own.pairs_of(tmp_path / 'numbers', '{i}.jpg', f'{{i}}_mask_{i}.png')
    assert find_pairs(tmp_path / 'numbers').classes == ['object']


@pytest.mark.parametrize('pattern, names, classes', [
    ('{name}/{i}.jpg', ('cat', 'dog'), ['cat', 'dog']), ('images/{name}/{i}.jpg', ('cat', 'dog'), ['cat', 'dog']),
    ('all/pets/{name}/{i}.jpg', ('cat', 'dog'), ['cat', 'dog']),
    ('{name}/{i}.jpg', ('train', 'bus'), ['bus', 'train']),
    ('{name}/{i}.jpg', ('with_mask', 'without_mask'), ['with_mask', 'without_mask']),
    ('{name}/{i}.jpg', ('0', '1', '10'), ['0', '1', '10']),
    ('{name}/{i}.jpg', ('a/x', 'a/y', 'b'), ['a/x', 'a/y', 'b']),
])
def test_class_folders(tmp_path, pattern, names, classes):
    pairs = find_pairs(own.class_folders(tmp_path, pattern, names))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('classes', classes, {None: 4 * len(names)})


def test_class_folders_with_splits(tmp_path):
    own.class_folders(tmp_path, 'train/{name}/{i}.jpg', ('cat', 'dog'))
    own.class_folders(tmp_path, 'valid/{name}/{i}.jpg', ('cat', 'Dog', 'bird'), 2)
    own.save(tmp_path / 'train/loose.png', own.picture(0))
    pairs = find_pairs(tmp_path)
    assert pairs.classes == ['Dog', 'bird', 'cat', 'dog'] and pairs.splits == {'train': 8, 'val': 6}
    text = '\n'.join(pairs.problems)
    assert '1 classes named twice (Dog = dog): give each one spelling.' in text
    assert '2 classes without a sample in train (Dog, bird)' in text
    assert '1 images outside the class folders (train/loose.png)' in text
    assert '4 images that lie in two splits (valid/cat/0.jpg, valid/cat/1.jpg, valid/Dog/0.jpg, ...)' in text or \
        'images that lie in two splits' in text


@pytest.mark.parametrize('header, row', [
    ('file_name,label', '{i:03}.jpg,{label}'), ('', '{i:03},{label}'), ('id;width;class', '{i:03};{i}{i};{label}'),
    ('image,cat,dog', '{i:03},{cat}.0,{dog}.0'), ('path\tcategory', 'images/{i:03}.jpg\t{label}'),
    ('n,image,what', '{i},/far/{i:03}.JPG,{label}')])
def test_tables(tmp_path, header, row):
    pairs = find_pairs(own.table(tmp_path, header, row))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('csv', ['cat', 'dog'], {None: 6})
    assert [sample.names for sample in pairs.samples] == [('cat', ), ('dog', )] * 3


def test_tables_of_splits_and_bad_rows(tmp_path):
    own.table(tmp_path, 'image,label,split', '{i:03},{label},train', 4)
    own.write(tmp_path / 'labels.csv', (tmp_path / 'labels.csv').read_text()
              + '003,cat,valid\n777,dog,val\n004,,val\n005,dog,val\nshort\n')
    own.table(tmp_path, count=7, name='unrelated/x.md')
    own.save(tmp_path / 'images/004.jpg', own.picture(4))
    pairs = find_pairs(tmp_path)
    assert pairs.splits == {'train': 4, 'val': 1}
    text = '\n'.join(pairs.problems)
    for line in ('1 images with two labels (images/003.jpg)', '1 images in two splits of the tables (images/003.jpg)',
                 '1 names of the table that are not in the folder (777)', '1 images with an empty label',
                 '1 images that the table does not name (images/006.jpg)', '1 classes without a sample in val (cat)'):
        assert line in text


def test_lists_of_labels(tmp_path):
    for i in range(4):
        own.save(tmp_path / f'images/{i}.jpg', own.picture(i))
    own.write(tmp_path / 'meta/train.txt', '0.jpg 10\n1.jpg 9\n')
    own.write(tmp_path / 'meta/val.txt', '2.jpg 10\n3.jpg 9\n')
    pairs = find_pairs(tmp_path)
    assert (pairs.kind, pairs.classes, pairs.splits) == ('csv', ['9', '10'], {'train': 2, 'val': 2})


def test_polygons_are_found(tmp_path):
    pairs = find_pairs(own.coco(tmp_path / 'coco'))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('coco', ['road', 'car'], {'train': 4, 'val': 4})
    assert pairs.samples[0].entry == 100
    pairs = find_pairs(own.yolo(tmp_path / 'yolo'))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('yolo', ['road', 'car'], {'train': 4, 'val': 4})
    pairs = find_pairs(own.labelme(tmp_path / 'labelme'))
    assert (pairs.kind, pairs.classes, pairs.splits) == ('labelme', ['car', 'road'], {None: 4})


def test_a_kind_is_chosen(tmp_path):
    own.labelme(own.pairs_of(tmp_path, '{i:03}.jpg', '{i:03}_mask.png', 4))
    assert find_pairs(tmp_path).kind == 'masks'
    assert find_pairs(tmp_path, kind='labelme').kind == 'labelme'
    with pytest.raises(ConfigError, match="kind='vector' must be one of coco"):
        find_pairs(tmp_path, kind='vector')
    with pytest.raises(DatasetLayoutError, match="no annotation of them of kind 'yolo'"):
        find_pairs(tmp_path, kind='yolo')


def test_four_mistakes_at_once(tmp_path):
    own.pairs_of(tmp_path, count=8)
    (tmp_path / 'masks/001.png').unlink()
    (tmp_path / 'images/002.jpg').unlink()
    shutil.move(tmp_path / 'images/003.jpg', tmp_path / 'images/003.JPG')
    (tmp_path / 'images/004.jpg').write_bytes(b'')
    own.write(tmp_path / 'masks/._005.png', 'resource fork')
    own.write(tmp_path / '.git/index.png', 'not looked at')
    np.save(tmp_path / 'masks/006.npy', own.labels(6))
    pairs = find_pairs(tmp_path)
    assert len(pairs.samples) == 5
    assert [path.name for path in pairs.unlabelled] == ['001.jpg']
    text = '\n'.join(pairs.problems)
    for line in ('1 images without a mask (images/001.jpg): add masks of the same names',
                 '2 masks without an image (masks/002.png, masks/004.png)',
                 '1 images whose suffix differs from the others in capitals, .JPG (images/003.JPG)',
                 '1 image files of no bytes, or links to nothing (images/004.jpg)',
                 '1 hidden files that end like images (masks/._005.png)',
                 '1 files of a kind that is not read, .npy (masks/006.npy)'):
        assert line in text
    assert all('\n' not in line for line in pairs.problems)


def test_one_image_in_two_splits(tmp_path):
    own.in_splits(tmp_path, '{split}/images/{i}.jpg', '{split}/masks/{i}.png')
    for kind, suffix in (('images', 'jpg'), ('masks', 'png')):
        shutil.copy(tmp_path / f'train/{kind}/0.{suffix}', tmp_path / f'val/{kind}/0.{suffix}')
        shutil.copy(tmp_path / f'train/{kind}/1.{suffix}', tmp_path / f'val/{kind}/15.{suffix}')  # of another name
    assert [line for line in find_pairs(tmp_path).problems if 'two splits' in line] == [
        '1 images that lie in two splits (val/images/0.jpg): what is trained on cannot be validated on: delete them '
        'from one.']


def test_nothing_to_pair(tmp_path):
    with pytest.raises(DatasetLayoutError, match='no such folder'):
        find_pairs(tmp_path / 'none')
    own.write(tmp_path / 'readme.txt', 'hello')
    with pytest.raises(DatasetLayoutError, match='no image in it'):
        find_pairs(tmp_path)
    own.save(tmp_path / 'a.jpg', own.picture(0))
    with pytest.raises(DatasetLayoutError, match=r'(?s)1 images \(.jpg\), but no annotation of them.*images/a.jpg'):
        find_pairs(tmp_path)
    own.pairs_of(tmp_path / 'sub', 'images/tile{i}.jpg', 'masks/seg{i}.png')
    with pytest.raises(DatasetLayoutError, match=r'(?s)6 masks without an image \(sub/masks/seg0.png'):
        find_pairs(tmp_path / 'sub' / '..')


def test_a_link_to_a_folder_above_ends(tmp_path):
    own.pairs_of(tmp_path)
    (tmp_path / 'images/again').symlink_to(tmp_path)
    assert len(find_pairs(tmp_path).samples) == 6


@pytest.mark.parametrize('text, classes, colours', [
    ('road\ncar\n', ['road', 'car'], {}), ('name,r,g,b\nroad,128,64,128\ncar,0,0,142\n', ['road', 'car'], 1),
    ('128 64 128 road\n0 0 142 car\n', ['road', 'car'], 1),
    ('# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n', ['road', 'car'], 1)])
def test_files_of_names_and_colours(tmp_path, text, classes, colours):
    own.pairs_of(tmp_path)
    own.write(tmp_path / 'classes.txt', 'a\nb\n')
    own.write(tmp_path / ('labelmap.txt' if colours else 'classes.txt'), text)
    pairs = find_pairs(tmp_path)
    assert pairs.classes == classes
    assert pairs.colours == ({'road': (128, 64, 128), 'car': (0, 0, 142)} if colours else {})
    assert any('2 files of class names' in line for line in pairs.problems) == bool(colours)


def test_colour_files_with_slips(tmp_path):
    own.write(own.pairs_of(tmp_path) / 'class_dict.csv', 'name,r,g,b\nroad,1,1,1\ncar,1,1,1\nroad,2,2,2\n')
    text = '\n'.join(find_pairs(tmp_path).problems)
    assert 'class_dict.csv names road twice' in text


def test_masks_beside_the_splits(tmp_path):
    for kind in ('crack', 'hole'):
        own.pairs_of(tmp_path, f'tile/test/{kind}/{{i:03}}.png', f'tile/ground_truth/{kind}/{{i:03}}_mask.png', 3)
    own.class_folders(tmp_path, 'tile/train/{name}/{i}.png', ('good', ))
    pairs = find_pairs(tmp_path)
    assert pairs.splits == {'test': 6} and len(pairs.unlabelled) == 4
    assert all(sample.image.parent.name == sample.annotation[0].parent.name for sample in pairs.samples)


PARTS = st.sampled_from(['images', 'masks', 'train', 'val', 'a', 'B', 'cat', 'labels', '1'])
NAMES = st.builds('{}{}{}'.format, st.sampled_from(['a', 'b_1', 'img_2', '003', 'mask_a']),
                  st.sampled_from(['', '_mask', '-gt', '_labelIds', '_x', '_2']),
                  st.sampled_from(['.jpg', '.png', '.PNG', '.txt', '.json', '.csv']))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.lists(PARTS, max_size=3), NAMES), min_size=1, max_size=12))
def test_whatever_lies_in_a_folder(files):
    with tempfile.TemporaryDirectory() as folder:
        for folders, name in files:
            own.write(Path(folder, *folders, name), ['0 0 0 1 0 1 1\n', '{"shapes": []}', 'a,b\na,x\n'][len(name) % 3])
        try:
            pairs = find_pairs(folder)
        except DatasetLayoutError:
            return
        images = [sample.image for sample in pairs.samples]
        assert len(set(images)) == len(images) and images == sorted(images)
        assert not set(images) & set(pairs.unlabelled)
        assert not set(images) & {path for sample in pairs.samples for path in sample.annotation}
        assert all(path.is_file() for sample in pairs.samples for path in (sample.image, *sample.annotation))
        assert all('\n' not in line for line in pairs.problems)
        look(pairs)
        split(pairs) if len(pairs.of('train')) + len(pairs.of(None)) > 1 else None


def test_words():
    assert meaning('trainannot')[:2] == ('mask', 'train') and meaning('SegmentationObject').role == 'mask'
    assert meaning('with_mask') == (None, None, 'with_mask') and meaning('images_1') == ('image', None, '1')
    assert split_of('instances_val2017') == 'val' and split_of('aeroplane_train') is None
    assert bare_mask('a_mask_3') == ('a', 'mask', '3') and bare_mask('facemask') == ('facemask', '', '')
