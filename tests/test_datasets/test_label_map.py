"""Values and colours of masks become labels by one table, exactly; what is not in it is named."""
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from mmwhitebox.datasets import LoadSegAnnotation
from mmwhitebox.datasets.label_map import LabelMap
from mmwhitebox.errors import AnnotationError, ConfigError, ImageReadError

SKY, ROAD, KERB, VOID = (70, 130, 180), (128, 64, 128), (128, 64, 129), (0, 0, 0)
PALETTE = {'sky': SKY, 'road': [ROAD, KERB]}
COLOURS = np.array([[SKY, ROAD, KERB], [VOID, SKY, SKY]], np.uint8)
LABELS = [[0, 1, 1], [255, 0, 0]]


def load(path, image, shape=None, **arguments):
    """The labels of an image saved at a path, through the loading step."""
    if image is not None:
        image.save(path)
        shape = shape or image.size[::-1]
    results = dict(img_path='photo.jpg', ori_shape=shape, seg_map_path=str(path), reduce_zero_label=False,
                   label_map=None, seg_fields=[])
    return LoadSegAnnotation(**arguments)(results)['gt_seg_map']


@pytest.mark.parametrize('values, mapping, ignored, labels', [
    ([[0, 255]], {0: 'background', 255: 'road'}, (), [[0, 1]]),
    ([[0, 255]], {'0': 'background', '255': 'road'}, (), [[0, 1]]),  # as --cfg-options and JSON write them
    ([[10, 20, 30]], {10: 'a', 20: 'b', 30: 'a'}, (), [[0, 1, 0]]),
    ([[0, 1, 9]], {0: 'a', 1: 'b'}, (9, ), [[0, 1, 255]]),
    ([[1, 0]], {1: 'first', 0: 'zero'}, (), [[1, 0]]),  # labels follow the values
])
def test_values_become_labels(values, mapping, ignored, labels, tmp_path):
    found = load(tmp_path / 'm.png', Image.fromarray(np.array(values, np.uint8)), mapping=mapping, ignored=ignored)
    assert found.dtype == np.uint8 and found.tolist() == labels


def test_values_of_16_bits(tmp_path):
    values = np.array([[300, 65535, 1]], np.uint16)
    assert load(tmp_path / 'm.png', Image.fromarray(values), mapping={300: 'a', 65535: 'b', 1: 'c'}).tolist() == \
        [[1, 2, 0]]


@pytest.mark.parametrize('mode', ['P', '1', 'LA', 'RGB', 'RGBA', 'I', 'F'])
def test_values_in_every_mode(mode, tmp_path):
    values = np.array([[0, 255], [255, 0]], np.uint8)
    image, suffix = Image.fromarray(values), 'tif' if mode in 'IF' else 'png'
    if mode == 'P':
        image.putpalette([0, 0, 0] * 256)
        image = Image.frombytes('P', (2, 2), values.tobytes())
        image.putpalette(list(range(256)) * 3)
    else:
        image = image.convert(mode)
    mapping = {0: 'a', 1 if mode == '1' else 255: 'b'}
    assert load(tmp_path / f'm.{suffix}', image, mapping=mapping).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_colours_become_labels(mode, tmp_path):
    image = Image.fromarray(COLOURS)
    image = image.quantize(8) if mode == 'P' else image.convert(mode)
    assert load(tmp_path / 'm.png', image, palette=PALETTE, ignored=[VOID]).tolist() == LABELS


def test_some_classes_in_an_order_of_ones_own(tmp_path):
    image = Image.fromarray(COLOURS)
    assert load(tmp_path / 'm.png', image, palette={**PALETTE, 'void': VOID}, classes=('road', 'void')).tolist() == \
        [[255, 0, 0], [1, 255, 255]]


def test_a_mask_one_pixel_wide_keeps_its_shape(tmp_path):
    assert load(tmp_path / 'm.png', Image.fromarray(np.zeros((5, 1), np.uint8)), mapping={0: 'a'}).shape == (5, 1)


def test_masks_turn_with_their_photographs(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / 'm.png', exif=exif)
    assert load(tmp_path / 'm.png', None, (3, 2), palette=PALETTE, ignored=[VOID]).tolist() == \
        np.rot90(LABELS, -1).tolist()


@pytest.mark.parametrize('array, arguments, message', [
    (np.array([[0, 7, 7, 9]], np.uint8), dict(mapping={0: 'a'}),
     r'm.png: values 7, 9 \(75 % of its pixels\) are not in mapping \(0\): add them, or list them in ignored'),
    (COLOURS, dict(palette=PALETTE), r'm.png: colours \(0, 0, 0\) \(17 % of its pixels\) are not in palette'),
    (COLOURS, dict(mapping={0: 'a'}), r'm.png: a coloured mask \(RGB\), and mapping is of values'),
    (COLOURS[:1, :, ::-1], dict(palette=PALETTE), 'red and blue swapped'),
    (COLOURS[:1] + np.uint8(2), dict(palette=PALETTE), 'each is within 2 of a colour that is'),
])
def test_what_is_not_in_the_table_is_named(array, arguments, message, tmp_path):
    with pytest.raises(AnnotationError, match=message):
        load(tmp_path / 'm.png', Image.fromarray(array), **arguments)


def test_colours_of_a_jpeg_are_not_exact(tmp_path):
    image = Image.fromarray(np.repeat(np.repeat(COLOURS, 16, 0), 16, 1))
    palette = {'sky': SKY, 'road': ROAD, 'void': VOID}
    with pytest.raises(AnnotationError, match='m.jpg: .* JPEG masks are not exact: nearest=True'):
        load(tmp_path / 'm.jpg', image, palette=palette)
    found = load(tmp_path / 'm.jpg', image, palette=palette, nearest=True)
    assert (found == np.repeat(np.repeat([[0, 1, 1], [2, 0, 0]], 16, 0), 16, 1)).mean() > 0.9


def test_the_nearest_value(tmp_path):
    found = load(tmp_path / 'm.png', Image.fromarray(np.array([[0, 3, 250, 100]], np.uint8)),
                 mapping={0: 'a', 255: 'b'}, nearest=True)
    assert found.tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize('arguments, message', [
    (dict(), 'needs num_classes, or mapping'),
    (dict(mapping={0: 'a'}, palette={'a': SKY}), 'either mapping'),
    (dict(mapping={0: 'a'}, num_classes=3), r'num_classes=3, but mapping has 1 classes: a\. Leave num_classes out'),
    (dict(mapping={0: 'a'}, classes=('a', 'b')), 'classes names b, for which mapping has no value; it has a'),
    (dict(mapping={0: 'a', 1: 'b'}, classes=('a', 'a')), 'classes names a twice'),
    (dict(palette={'a': SKY, 'b': SKY}), r'palette: \(70, 130, 180\) stands for two classes'),
    (dict(palette={'a': (1, 2)}), 'is no colour'),
    (dict(palette={'a': (1, 2, 256)}), 'is no colour'),
    (dict(mapping={-1: 'a'}), '-1 is no value'),
    (dict(mapping={'x': 'a'}), "'x' is no value"),
])
def test_tables_that_contradict_themselves(arguments, message):
    with pytest.raises(ConfigError, match=message):
        LoadSegAnnotation(**arguments)


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'm.png').write_bytes(b'nothing')
    with pytest.raises(ImageReadError, match='m.png'):
        load(tmp_path / 'm.png', None, (1, 1), mapping={0: 'a'})


def test_every_code_finds_its_label():
    rng = np.random.default_rng(0)
    colours = np.unique(rng.integers(0, 256, (150, 3)), axis=0)
    table = LabelMap(palette={str(i): tuple(map(int, colour)) for i, colour in enumerate(colours)})
    labels = rng.integers(0, len(colours), (64, 64))
    assert np.array_equal(table(colours[labels].astype(np.uint8)), labels)
    assert table.colours == [tuple(colour) for colour in colours.tolist()]


def test_the_step_travels_to_workers(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / 'm.png')
    step = pickle.loads(pickle.dumps(LoadSegAnnotation(palette=PALETTE, ignored=[VOID])))
    assert step.label_map.read(io.BytesIO((tmp_path / 'm.png').read_bytes()), 'm.png').tolist() == LABELS


@pytest.mark.parametrize('arguments', [dict(mapping={0: 'a', 1: 'b', 4: 'c'}, ignored=[4]),
                                       dict(mapping={0: 'a', 1: 'b'}, ignored=[4])])
def test_what_is_ignored_is_no_class_whatever_the_table_says(arguments):
    table = LabelMap(**arguments)
    assert table.classes == ('a', 'b') and table(np.array([[0, 1, 4]]), 'x').tolist() == [[0, 1, 255]]
