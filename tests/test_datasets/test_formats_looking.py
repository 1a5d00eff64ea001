"""A look at a folder tells what its masks are and what is wrong with them."""
import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmwhitebox.datasets.formats import find_pairs, look
from mmwhitebox.datasets.formats.colours import read_names
from mmwhitebox.datasets.formats.values import MOST_VALUES, Counts, count, is_sparse
from mmwhitebox.datasets.formats.walking import walk
from tests.test_datasets import own_folders as own


def shares():
    every = np.stack([own.labels(i) for i in range(6)])
    return {label: (every == label).mean() for label in range(3)}


def found(root, **options):
    return look(find_pairs(root), **options)


def test_indices(tmp_path):
    got = found(own.pairs_of(tmp_path))
    assert (got.kind, got.exact, got.images, got.masks, got.starts_at_one) == ('index', True, 6, 6, False)
    assert {value.value: value.share for value in got.values} == pytest.approx(shares())
    assert [value.files for value in got.values] == [6, 6, 6] and got.problems == []
    assert (got.sizes, got.channels, got.bit_depths) == ({(40, 32): 6}, {3: 6}, {8: 6})


def test_mean_and_std(tmp_path):
    pixels = np.concatenate([own.picture(i).reshape(-1, 3) for i in range(6)]).astype(float)
    got = found(own.pairs_of(tmp_path, 'images/{i:03}.png'))
    assert got.mean == pytest.approx(pixels.mean(0)) and got.std == pytest.approx(pixels.std(0))
    assert got.largest == pixels.max()


def test_a_palette(tmp_path):
    for i in range(3):
        own.save(tmp_path / f'images/{i}.jpg', own.picture(i))
        own.save_palette(tmp_path / f'masks/{i}.png', own.labels(i))
    got = found(tmp_path)
    assert (got.kind, [value.value for value in got.values], got.palette) == ('palette', [0, 1, 2], own.COLOURS)


def test_colours(tmp_path):
    got = found(own.pairs_of(tmp_path, encode=own.coloured))
    assert (got.kind, got.exact) == ('rgb', True)
    assert {value.value: value.share for value in got.values} == pytest.approx(
        {own.COLOURS[label]: share for label, share in shares().items()})
    own.save(tmp_path / 'masks/000.png', np.zeros((own.HEIGHT, own.WIDTH, 3), np.uint8))  # grey, as it happens
    got = found(tmp_path)
    assert got.kind == 'rgb' and got.values[0].value == (0, 0, 0) and got.values[0].files == 6
    assert got.problems == ['1 masks that hold nothing but 0, empty perhaps (masks/000.png): keep them if the images '
                            'show nothing else.']


@pytest.mark.parametrize('encode, values', [
    (own.sparse, [0, 255]), (lambda a: a * 120, [0, 120, 240]), (lambda a: 50 * a + 100, [100, 150, 200])])
def test_sparse(tmp_path, encode, values):
    got = found(own.pairs_of(tmp_path, encode=encode))
    assert (got.kind, [value.value for value in got.values]) == ('sparse', values)


def test_three_equal_channels_and_alpha(tmp_path):
    own.pairs_of(tmp_path, 'images/{i:03}.png', encode=lambda a: np.repeat(own.sparse(a)[..., None], 3, 2))
    own.save(tmp_path / 'images/000.png', own.picture(0, 4))
    own.save(tmp_path / 'masks/001.png', np.dstack([own.coloured(own.labels(1)), np.full((32, 40), 255, np.uint8)]))
    own.save(tmp_path / 'images/002.png', own.picture(2, 1)[..., 0])
    got = found(tmp_path)
    assert got.alpha == [tmp_path / 'images/000.png'] and got.channels == {3: 5, 1: 1}
    text = '\n'.join(got.problems)
    assert '1 images with an alpha channel (images/000.png)' in text
    assert '1 images of 1 channels and 8 bits, others have 3 and 8 (images/002.png)' in text
    assert '1 masks with an alpha channel (masks/001.png): it is left out.' in text
    (tmp_path / 'masks/001.png').unlink()
    got = found(tmp_path)
    assert got.kind == 'sparse' and '5 masks of three channels that repeat one' in '\n'.join(got.problems)


@pytest.mark.parametrize('encode, nearest, kind', [
    (own.sparse, [0, 255], 'sparse'), (own.coloured, sorted(own.COLOURS.values()), 'rgb')])
def test_jpeg_masks_are_not_exact(tmp_path, encode, nearest, kind):
    for i in range(4):
        own.save(tmp_path / f'images/{i}.jpg', own.picture(i))
        big = np.kron(own.labels(i), np.ones((7, 7), np.uint8))
        own.save(tmp_path / f'masks/{i}.jpg', encode(big), quality=75)
    got = found(tmp_path)
    assert (got.kind, got.exact) == (kind, False)
    assert np.abs(np.array(got.nearest, int) - nearest).max() < 6
    line = next(line for line in got.problems if line.startswith('4 masks whose values are smeared'))
    assert 'JPEG masks are not exact; the nearest of' in line and '\n' not in line


def test_smoothly_resized_masks_are_not_exact(tmp_path):
    own.pairs_of(tmp_path, encode=lambda a: np.asarray(
        Image.fromarray(own.coloured(a)).resize((400, 320), Image.Resampling.BICUBIC)))
    got = found(tmp_path)
    assert not got.exact and got.nearest == sorted(own.COLOURS.values())
    assert 'resized smoothly' in '\n'.join(got.problems)


def test_fractions(tmp_path):
    own.pairs_of(tmp_path, mask='masks/{i:03}.tif', encode=lambda a: a.astype(np.float32) / 2)
    got = found(tmp_path)
    assert (got.kind, [value.value for value in got.values]) == ('float', [0, 0.5, 1])
    assert '6 masks of fractions' in got.problems[0]
    own.pairs_of(tmp_path, mask='masks/{i:03}.tif', encode=lambda a: a.astype(np.float32))
    assert found(tmp_path).kind == 'index'


def test_values_from_one(tmp_path):
    got = found(own.pairs_of(tmp_path, encode=lambda a: a + 1))
    assert got.starts_at_one and '6 masks of which none holds 0, values 1 to 3' in got.problems[0]


def test_masks_of_one_bit_and_of_16(tmp_path):
    got = found(own.pairs_of(tmp_path, encode=lambda a: a > 0))
    assert (got.kind, [value.value for value in got.values]) == ('index', [0, 1])
    got = found(own.pairs_of(tmp_path, encode=lambda a: a.astype(np.uint16) * 1000))
    assert (got.kind, [value.value for value in got.values]) == ('sparse', [0, 1000, 2000])


def test_what_is_wrong_with_files(tmp_path):
    own.pairs_of(tmp_path, count=8)
    (tmp_path / 'images/000.jpg').write_bytes((tmp_path / 'images/000.jpg').read_bytes()[:200])
    (tmp_path / 'masks/001.png').write_bytes(b'no image')
    own.save(tmp_path / 'masks/002.png', own.labels(2)[:, :20])
    own.save(tmp_path / 'masks/003.png', own.labels(3) * 0)
    own.save(tmp_path / 'masks/004.png', own.coloured(own.labels(4)))
    own.save(tmp_path / 'masks/005.png', own.labels(5) * 0 + 255)
    got = found(tmp_path)
    assert got.unreadable == [tmp_path / 'images/000.jpg', tmp_path / 'masks/001.png']
    assert got.mismatched == [tmp_path / 'images/002.jpg'] and got.kind == 'index'
    assert got.problems == [
        '2 files that cannot be read (images/000.jpg, masks/001.png): copy or save them again, or take them out.',
        '1 images whose mask has another size, such as 20 x 32 pixels for 40 x 32 (images/002.jpg): save both in one '
        'size, masks with nearest neighbour.',
        '1 masks of another kind (rgb) than the others (grey) (masks/004.png): save all alike.',
        '1 masks that hold nothing but 0, empty perhaps (masks/003.png): keep them if the images show nothing else.',
        '1 masks that hold nothing but 255 (masks/005.png): see that they are right.']


def test_orientation(tmp_path):
    own.pairs_of(tmp_path, count=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(own.picture(0)).save(tmp_path / 'images/000.jpg', exif=exif)
    got = found(tmp_path)
    assert got.sizes == {(40, 32): 2, (32, 40): 1}
    assert 'The sides are swapped: see EXIF orientation.' in got.problems[0]


@pytest.mark.parametrize('array, channels, bits, planes', [
    (own.picture(0, 4).astype(np.uint16) * 100, 3, 16, None), (np.zeros((32, 40), np.uint16), 1, 16, None),
    (np.zeros((32, 40), np.float32), 1, 32, None), (own.picture(0, 6), 6, 8, 'contig'),
    (own.picture(0, 5).transpose(2, 0, 1).astype(np.uint16) * 9, 5, 16, 'separate')])
def test_channels_and_bits(tmp_path, array, channels, bits, planes):
    own.pairs_of(tmp_path, 'images/{i:03}.tif', count=1)
    if planes:
        tifffile.imwrite(tmp_path / 'images/000.tif', array, photometric='minisblack', planarconfig=planes)
    else:
        cv2.imwrite(str(tmp_path / 'images/000.tif'), array)
    got = found(tmp_path)
    assert (got.channels, got.bit_depths, len(got.mean)) == ({channels: 1}, {bits: 1}, channels)
    assert not got.mismatched
    if planes:
        assert got.mean == pytest.approx(np.moveaxis(array, np.argmin(array.shape), 2).reshape(-1, channels).mean(0))
    if array.shape[2:] == (4, ):  # BGR in the file's writer
        assert got.mean == pytest.approx(array[..., 2::-1].reshape(-1, 3).mean(0)) and len(got.alpha) == 1


def test_values_that_are_no_numbers(tmp_path):
    own.pairs_of(tmp_path, 'images/{i:03}.tif', count=2)
    own.save(tmp_path / 'images/000.tif', np.full((32, 40), np.nan, np.float32))
    got = found(tmp_path)
    assert '1 images with values that are no numbers' in '\n'.join(got.problems)


def test_some_of_them(tmp_path):
    steps = []
    got = found(own.pairs_of(tmp_path), limit=2, progress=lambda *step: steps.append(step))
    assert got.images == 2 and steps == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match='limit=0 must be 1 or more'):
        found(tmp_path, limit=0)


def test_memory_is_bounded():
    counts = Counts()
    for i in range(4):
        counts.add(np.arange(i * 10**4, (i + 1) * 10**4, dtype=np.uint32).reshape(100, 100))
    assert counts.overfull and len(counts.pixels) <= 2 * MOST_VALUES and len(counts.values(True)) <= MOST_VALUES


@pytest.mark.parametrize('dtype', [np.uint8, np.uint32, np.int32, np.float32])
def test_counts_are_those_of_numpy(dtype):
    array = np.random.default_rng(0).integers(0, 9, (13, 17)).repeat(3, 1).astype(dtype)
    values, counts = count(array)
    right = np.unique(array, return_counts=True)
    assert values.tolist() == right[0].tolist() and counts.tolist() == right[1].tolist()


def test_which_values_are_far_apart():
    for values in ([0, 255], [255], [0, 128, 255], [0, 38, 75, 113], [-1, 0]):
        assert is_sparse(values)
    for values in ([0, 1], [0, 1, 255], [7, 8, 11, 21, 33], [0, 20], [*range(150)], [0], []):
        assert not is_sparse(values)


def test_classification_has_no_masks(tmp_path):
    got = found(own.class_folders(tmp_path))
    assert (got.kind, got.values, got.images) == (None, [], 8)


@pytest.mark.parametrize('text, named', [
    ('road,128,64\n', 'road'), ('road,128,64,128\nsky\ncar,1,2,300\n', 'sky, car')])
def test_colours_that_are_none_are_named(text, named, tmp_path):
    (tmp_path / 'class_dict.csv').write_text(f'name,r,g,b\n{text}')
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    _, colours, problems = read_names(walk(tmp_path))
    assert problems == [f'class_dict.csv gives {named} no colour of three numbers from 0 to 255: complete it, or these '
                        'are no classes of coloured masks.']
    assert set(colours) == ({'road'} if 'sky' in named else set())
