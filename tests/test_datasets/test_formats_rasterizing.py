"""Polygons, run lengths and binary files become the index masks that they describe."""
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmwhitebox.datasets.formats import find_pairs, look, rasterize
from mmwhitebox.datasets.formats.polygons import Shape, clipped, draw, runs
from mmwhitebox.errors import AnnotationError, WriteError
from tests.test_datasets import own_folders as own


def read(path):
    return np.asarray(Image.open(path))


def numbers(pairs):
    """Number of the image -> its mask."""
    return {int(sample.image.stem): read(sample.annotation[0]) for sample in pairs.samples}


@pytest.mark.parametrize('make, classes', [
    (own.coco, ['road', 'car']), (lambda root: own.coco(root, encoded=True), ['road', 'car']),
    (own.yolo, ['road', 'car']), (own.labelme, ['car', 'road']), (own.per_class, ['car', 'road'])])
def test_masks_are_those_drawn(tmp_path, make, classes):
    found = find_pairs(make(tmp_path / 'data'))
    pairs = rasterize(found, tmp_path / 'cache')
    assert pairs.kind == 'masks' and pairs.classes == ['background', *classes]
    assert pairs.splits == found.splits and pairs.problems == found.problems
    order = np.array([0, 1 + classes.index('road'), 1 + classes.index('car')])
    for number, mask in numbers(pairs).items():
        assert (mask == order[own.labels(number)]).all()
    assert look(pairs).kind == 'palette'


def test_instances(tmp_path):
    pairs = rasterize(find_pairs(own.per_instance(tmp_path / 'data')), tmp_path / 'cache')
    assert pairs.classes == ['background', 'object']
    assert all((read(s.annotation[0]) > 0).sum() == 3 * 36 for s in pairs.samples)


def test_the_cache_is_keyed_by_content(tmp_path, monkeypatch):
    found = find_pairs(own.coco(tmp_path / 'data', ('train', )))
    first = rasterize(found, tmp_path / 'cache')
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'cache').iterdir()}
    assert len(before) == 4 and rasterize(found, tmp_path / 'cache') == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'cache').iterdir()} == before
    json_file = tmp_path / 'data/annotations/instances_train2017.json'
    content = json.loads(json_file.read_text())
    content['annotations'][0]['segmentation'][0][0] += 3
    own.write_json(json_file, content)
    second = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    changed = [a.annotation != b.annotation for a, b in zip(first.samples, second.samples)]
    assert changed == [True, False, False, False]
    first.samples[1].annotation[0].write_bytes(b'half')  # is drawn again
    rasterize(found, tmp_path / 'cache')
    assert read(first.samples[1].annotation[0]).shape == (own.HEIGHT, own.WIDTH)
    monkeypatch.setattr('mmwhitebox.datasets.formats.rasterizing.FORMAT', 2)
    third = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert not {s.annotation for s in third.samples} & {s.annotation for s in second.samples}
    assert not list((tmp_path / 'cache').glob('*.tmp'))


def test_smaller_areas_lie_on_top():
    big, small = Shape(1, [own.polygon(0, 0, 20, 20)]), Shape(2, [own.polygon(5, 5, 10, 10)])
    for shapes in ([big, small], [small, big]):
        assert (draw(shapes, 20, 20).labels == 2).sum() == 25
    assert (draw([big, Shape(3, big.polygons)], 20, 20).labels == 3).all()


def test_a_hole_is_what_nothing_covers():
    parts = Shape(1, [own.polygon(0, 0, 5, 5), own.polygon(10, 10, 15, 15)])
    assert (draw([parts], 20, 20).labels == 1).sum() == 50


def test_polygons_outside_the_image(tmp_path):
    own.coco(tmp_path / 'data', ('train', ))
    path = tmp_path / 'data/annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    shapes = content['annotations']
    shapes[0]['segmentation'] = [own.polygon(-10, -10, 10, 10)]
    shapes[2]['segmentation'] = [own.polygon(100, 100, 120, 120)]
    shapes[3]['segmentation'] = [own.polygon(-1e12, 0, 1e12, 1e12)]
    shapes[4]['segmentation'] = [own.polygon(0, 0, 40.5, 32.5)]  # rounded, not worth a word
    own.write_json(path, content)
    pairs = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert (read(pairs.samples[0].annotation[0])[:10, :10] > 0).all()
    assert (read(pairs.samples[1].annotation[0]) == 2).all()
    told = [line for line in pairs.problems if 'outside' in line]
    assert told == ['2 annotations with polygons outside the image (train2017/000.jpg, train2017/001.jpg): they are '
                    'cut at its border; see that the annotation is that of this image, at this size.']
    again = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert again.problems == pairs.problems  # told of cached masks too


def test_broken_shapes_of_coco(tmp_path):
    own.coco(tmp_path / 'data', ('train', ))
    path = tmp_path / 'data/annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    shapes, images = content['annotations'], content['images']
    shapes[0]['segmentation'] = [[1, 2, 3]]
    shapes[1]['segmentation'] = dict(size=[9, 9], counts=[81])
    shapes[2]['segmentation'] = dict(size=[32, 40], counts='~~~')
    shapes[3].update(segmentation=[])
    shapes[4].update(category_id=77)
    images[3].update(width=80, height=64)
    images.append(dict(id=9, file_name='away.jpg'))
    content['categories'].append(dict(id=30, name='Car'))
    own.write_json(path, content)
    own.write(tmp_path / 'data/broken.json', '{')
    own.write_json(tmp_path / 'data/captions.json', own.coco_content([]) | dict(annotations=[dict(caption='x')]))
    own.save(tmp_path / 'data/train2017/new.jpg', own.picture(0))
    pairs = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert len(pairs.samples) == 3
    assert [(line.partition(': ')[0]) for line in pairs.problems] == [
        '1 COCO json files of boxes or captions alone (captions.json)',
        '1 json files that cannot be read (broken.json)',
        '1 images of the json that are not in the folder (away.jpg)',
        '1 images that no COCO json names (train2017/new.jpg)', '1 classes named twice (car = Car)',
        '2 annotations with a polygon of less than three points or no numbers, or RLE of another size '
        '(train2017/000.jpg, train2017/001.jpg)',
        '1 annotations with shapes that have no area (boxes, points, lines) (train2017/001.jpg)',
        '1 annotations of a class that is not listed (train2017/002.jpg)',
        '1 images of another size than their annotation states (train2017/003.jpg)']


def test_yolo_with_slips(tmp_path):
    own.yolo(tmp_path / 'data', ('train', ), names=False)
    labels = tmp_path / 'data/labels/train'
    (labels / '000.txt').unlink()
    (labels / '001.txt').write_text('0 0.5 0.5 0.2 0.2\n')
    (labels / '002.txt').write_text('0 0.1 0.1 0.9 0.1 0.9\nx\n')
    own.write(labels / '777.txt', '0 0 0 1 0 1 1\n')
    own.save(tmp_path / 'data/images/train/777b.jpg', own.picture(0))
    own.write(tmp_path / 'data/data.yaml', 'names: [road]\n')
    found = find_pairs(tmp_path / 'data')
    assert found.classes == ['road', 'class 1'] and len(found.samples) == 3
    text = '\n'.join(found.problems)
    for line in ('2 images without a label file (images/train/000.jpg, images/train/777b.jpg): they are taken as all '
                 'background', '1 label files of boxes (labels/train/001.txt): masks need polygons',
                 '1 label files that are no lines of a class', 'The labels go up to 1, the yaml names 1 classes'):
        assert line in text
    masks = rasterize(found, tmp_path / 'cache')
    assert not read(masks.samples[0].annotation[0]).any()
    (tmp_path / 'data/data.yaml').write_text('names: [')
    assert '1 yaml files that cannot be read' in '\n'.join(find_pairs(tmp_path / 'data').problems)


def test_labelme_names_and_shapes(tmp_path):
    own.labelme(tmp_path / 'data')
    content = own.labelme_content(0, '000.jpg')
    content['shapes'] = [
        dict(label='_background_', points=[[0, 0], [5, 5]], shape_type='rectangle'),
        dict(label='__ignore__', points=[[20, 16], [20, 12]], shape_type='circle'),
        dict(label='road', points=[[0, 0], [39, 0], [39, 31], [0, 31]], shape_type='polygon'),
        dict(label='car', points=[[1, 1]], shape_type='point'), dict(label='car', points='abc')]
    own.write_json(tmp_path / 'data/000.json', content)
    os.rename(tmp_path / 'data/003.json', tmp_path / 'data/renamed.json')  # its imagePath still says
    own.write(tmp_path / 'data/002.json', '{"shapes": ')
    pairs = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    mask = read(pairs.samples[0].annotation[0])
    assert (mask[2, 2], mask[16, 20], mask[30, 30]) == (0, 255, 2) and pairs.classes == ['background', 'car', 'road']
    assert [sample.image.stem for sample in pairs.samples] == ['000', '001', '003']
    text = '\n'.join(pairs.problems)
    for line in ('1 images without a LabelMe json (002.jpg)', '1 json files that cannot be read (002.json)',
                 '1 annotations with a shape that cannot be read (000.jpg)',
                 '1 annotations with shapes that have no area'):
        assert line in text


def test_binary_files_of_another_size(tmp_path):
    own.per_class(tmp_path / 'data')
    own.save(tmp_path / 'data/masks/car/001.png', own.labels(1)[:9])
    pairs = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert len(pairs.samples) == 3 and 'or differ in size (masks/car/001.png)' in pairs.problems[-1]


def test_background_by_name(tmp_path):
    own.yolo(tmp_path / 'data')
    own.write(tmp_path / 'data/data.yaml', 'names: [background, car]\n')
    pairs = rasterize(find_pairs(tmp_path / 'data'), tmp_path / 'cache')
    assert pairs.classes == ['background', 'car']
    assert (numbers(pairs)[0] == (own.labels(0) == 2)).all()


def test_other_kinds_come_back(tmp_path):
    pairs = find_pairs(own.pairs_of(tmp_path))
    assert rasterize(pairs, tmp_path / 'cache') is pairs and not (tmp_path / 'cache').exists()


def test_what_cannot_be(tmp_path):
    pairs = find_pairs(own.yolo(tmp_path / 'data'))
    with pytest.raises(AnnotationError, match='301 classes with the background'):
        rasterize(pairs.but(classes=[f'{i}' for i in range(300)]), tmp_path / 'cache')
    own.write(tmp_path / 'file', '')
    with pytest.raises(WriteError, match='cannot make this folder'):
        rasterize(pairs, tmp_path / 'file/cache')
    for sample in pairs.samples:
        sample.image.write_bytes(b'x')
    with pytest.raises(AnnotationError, match='no annotation that can be drawn'):
        rasterize(pairs, tmp_path / 'cache')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_folder_that_cannot_be_written_to(tmp_path):
    pairs = find_pairs(own.yolo(tmp_path / 'data'))
    (tmp_path / 'cache').mkdir(mode=0o500)
    with pytest.raises(WriteError, match='cannot write this mask'):
        rasterize(pairs, tmp_path / 'cache')


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(WriteError, match='No space left'):
        rasterize(find_pairs(own.yolo(tmp_path / 'data')), tmp_path / 'cache')
    assert not list((tmp_path / 'cache').iterdir())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=3, max_size=7))
def test_any_polygon_is_cut_and_drawn(points):
    inside = clipped(np.array(points), 20, 10)
    assert ((inside >= -1e-6) & (inside <= (20 + 1e-6, 10 + 1e-6))).all()
    assert draw([Shape(1, [np.ravel(points).tolist()])], 20, 10).labels.shape == (10, 20)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(max_size=8), st.lists(st.integers(-9, 300), max_size=5), st.none(), st.binary(max_size=8)))
def test_any_run_lengths_are_read_or_refused(counts):
    drawn = draw([Shape(1, encoded=dict(size=[10, 20], counts=counts))], 20, 10)
    assert drawn.labels.any() or drawn.odd & {'broken', 'empty'}


@given(st.integers(0, 2**30))
def test_compressed_runs_are_pycocotools(seed):
    from pycocotools import mask as rle
    area = np.asfortranarray(np.random.default_rng(seed).random((37, 70)) < 0.02).astype(np.uint8)
    flat = area.ravel('F')
    lengths = np.diff(np.flatnonzero(np.diff(np.r_[-1, flat.astype(int), -1]) != 0)).tolist()
    assert runs(rle.encode(area)['counts']) == ([0] if flat[0] else []) + lengths
