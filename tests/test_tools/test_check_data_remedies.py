"""What ``check-data`` says to type against a finding makes that finding vanish, typed as it stands."""
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwhitebox.cli.main import main
from tests.test_datasets.test_likeness import jpeg, photograph

NAMES = ('background', 'road', 'car')
COLOURS = np.array([(0, 0, 0), (130, 60, 20), (70, 130, 180)], np.uint8)
PALETTE = {name: tuple(colour) for name, colour in zip(NAMES, COLOURS.tolist())}
MAPPING = dict(enumerate(NAMES))
SIZE = 64


def labels(number: int) -> np.ndarray:
    """(64, 64) of three classes in blocks of 8."""
    array = np.zeros((SIZE, SIZE), np.uint8)
    array[16:48, 8 * (number % 3):] = 1
    array[48:, :32] = 2
    return array


def folder(root: Path, encode=lambda array: array, suffix: str = '.png') -> Path:
    """images/{train,val}/*.png with masks: six and two samples."""
    for split, count in (('train', 6), ('val', 2)):
        for kind in ('images', 'masks'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(photograph(100 * count + i, (SIZE, SIZE))).save(root / f'images/{split}/{split}{i}.png')
            Image.fromarray(encode(labels(i))).save(root / f'masks/{split}/{split}{i}{suffix}')
    return root


FAST = 'train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(serialize_data=False))'


def config(root: Path, own: dict, recipe: str = 'crop=64, scale=(64, 64)') -> Path:
    """A config of the folder, as ``new`` writes it."""
    path = root.parent / 'my_data.py'
    path.write_text("_base_ = 'mmwhitebox::_base_/datasets/own_seg.py'\n"
                    f"own_data = dict(root={str(root)!r}, **{own!r})\n"
                    f"recipe = dict(model='cbt_decoder_cbt_mini', {recipe})\n{FAST}\n")
    return path


STACK = """
_base_ = 'mmwhitebox::_base_/default_runtime.py'
steps = [dict(type='mmwhitebox.LoadImage'), dict(type='mmwhitebox.LoadSegAnnotation', num_classes=3)]
def dataset(split):
    return dict(dataset=dict(type='BaseSegDataset', data_root={root!r}, img_suffix='.png',
                metainfo=dict(classes=('background', 'road', 'car'), palette=[[0, 0, 0], [9, 9, 9], [70, 70, 70]]),
                pipeline=steps, serialize_data=False,
                data_prefix=dict(img_path='images/' + split, seg_map_path='masks/' + split)))
train_dataloader, val_dataloader = dataset('train'), dataset('val')
model = dict(decode_head=dict(num_classes={number}, loss_decode=dict(type='mmseg.CrossEntropyLoss')))
del dataset
"""


def stack_config(root: Path, number: int = 3) -> Path:
    """A config of the stack's own data set."""
    path = root.parent / 'stack.py'
    path.write_text(STACK.format(root=str(root), number=number))
    return path


def report(target: Path, *options: str) -> dict:
    """What the command finds."""
    out = target.parent / 'report.json'
    with pytest.raises(SystemExit) as end:
        main(['check-data', str(target), '--workers', '0', '--no-config-check', '--out', str(out), *options])
    found = json.loads(out.read_text())
    assert end.value.code == int(not found['ok'])
    return found


def counts(found: dict) -> dict[str, int]:
    """Kind -> number."""
    return {kind: number for one in found['sets'] for kind, number in one['counts'].items()}


def apply(found: dict, kind: str, path: Path) -> list[str]:
    """Do what is said against a kind; the options that are to be given."""
    what = next(one['remedies'][kind] for one in found['sets'] if kind in one['remedies'])
    if what['how'] == 'line':
        assert '\n' not in what['text']
        path.write_text(path.read_text() + what['text'] + '\n')
    elif what['how'] == 'command':
        subprocess.run(what['text'], shell=True, check=True, env={**os.environ, 'PATH': (
            f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')})
    return shlex.split(what['text']) if what['how'] == 'option' else []


def cured(path: Path, kind: str, number: int = 1) -> dict:
    """The kind is found so often, and no longer once what is said against it is done; the second report."""
    before = report(path)
    assert counts(before).get(kind) == number, counts(before)
    after = report(path, *apply(before, kind, path))
    assert kind not in counts(after), counts(after)
    assert not set(counts(after)) - set(counts(before))
    return after


def write(path: Path, array: np.ndarray, **options) -> None:
    Image.fromarray(array).save(path, **options)


def copied(root: Path, source: str, target: str, change=lambda image: image) -> None:
    write(root / 'images' / target, change(np.asarray(Image.open(root / 'images' / source))))


SAMPLES = {  # kind -> what is done to a folder
    'leak': lambda root: copied(root, 'train/train1.png', 'val/val1.png'),
    'duplicate': lambda root: copied(root, 'train/train1.png', 'train/train4.png'),
    'near leak': lambda root: copied(root, 'train/train1.png', 'val/val1.png', lambda image: jpeg(image, 60)),
    'near duplicate': lambda root: copied(root, 'train/train1.png', 'train/train4.png', lambda image: jpeg(image, 80)),
    'empty mask': lambda root: write(root / 'masks/train/train2.png', 0 * labels(0)),
    'all ignored': lambda root: write(root / 'masks/train/train2.png', 0 * labels(0) + 255),
    'size mismatch': lambda root: write(root / 'masks/train/train2.png', labels(0)[:40]),
    'unreadable image': lambda root: (root / 'images/train/train3.png').write_bytes(b'no image'),
    'unreadable mask': lambda root: (root / 'masks/train/train3.png').write_bytes(b'no image'),
}


FILES = {**SAMPLES, 'empty file': lambda root: (root / 'images/val/val1.png').write_bytes(b'')}


@pytest.mark.parametrize('kind', SAMPLES)
def test_samples_are_left_out(kind, tmp_path):
    root = folder(tmp_path / 'data')
    SAMPLES[kind](root)
    after = cured(config(root, dict(mapping=MAPPING, ignored=[255])), kind)
    assert sum(one['samples'] for one in after['sets']) == 7


@pytest.mark.parametrize('kind', ['near leak', 'size mismatch', 'empty file', 'all ignored'])
def test_files_of_a_data_set_of_the_stack_are_deleted(kind, tmp_path):
    root = folder(tmp_path / 'data')
    FILES[kind](root)
    cured(stack_config(root), kind)
    assert len(list(root.rglob('*.png'))) == 14


def test_two_lines_follow_each_other(tmp_path):
    root = folder(tmp_path / 'data')
    SAMPLES['leak'](root), SAMPLES['duplicate'](root), SAMPLES['unreadable mask'](root)
    path = config(root, dict(mapping=MAPPING))
    before = report(path)
    assert counts(before) == {'leak': 1, 'duplicate': 1, 'unreadable mask': 1}
    for kind in counts(before):
        apply(before, kind, path)
    assert counts(report(path)) == {}


def test_masks_of_another_size(tmp_path):
    root = folder(tmp_path / 'data')
    for i in (1, 2):
        write(root / f'masks/train/train{i}.png', labels(i)[::2, ::2])
    after = cured(config(root, dict(mapping=MAPPING)), 'size mismatch', 2)
    assert after['sets'][0]['samples'] == 6
    assert (np.asarray(Image.open(root / 'masks/train/train1.png')) == labels(1)).all()


def test_photographs_that_are_turned_and_their_masks_are_not(tmp_path):
    root = folder(tmp_path / 'data')
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in (1, 2):
        write(root / f'images/train/train{i}.png', photograph(900 + i, (40, SIZE)), exif=exif)
        write(root / f'masks/train/train{i}.png', labels(i)[:40])
    path = config(root, dict(mapping=MAPPING))
    assert counts(cured(path, 'size mismatch', 2)) == {}
    write(root / 'masks/train/train2.png', np.rot90(labels(2)[:40], -1))  # one is turned: no option is for both
    found = report(path)
    assert counts(found) == {'size mismatch': 1} and not found['sets'][0]['remedies']


def test_a_mask_whose_sides_are_swapped(tmp_path):
    root = folder(tmp_path / 'data')
    write(root / 'images/train/train1.png', photograph(901, (40, SIZE)))
    write(root / 'masks/train/train1.png', labels(1)[:40].T)
    path = config(root, dict(mapping=MAPPING))
    assert 'Its sides are swapped: turn it' in report(path)['findings'][0]['message']
    cured(path, 'size mismatch')


def test_values_without_a_class(tmp_path):
    root = folder(tmp_path / 'data')
    stray = labels(0)
    stray[0, :2] = 7, 9
    write(root / 'masks/train/train0.png', stray)
    after = cured(config(root, dict(mapping=MAPPING)), 'label out of range')
    assert after['sets'][0]['ignored_pixels'] == 2


def test_jpeg_masks_of_colours(tmp_path, capsys):
    root = folder(tmp_path / 'data', lambda array: COLOURS[array], '.jpg')
    after = cured(config(root, dict(palette=PALETTE)), 'inexact mask', 2)
    assert 'JPEG masks are not exact' in capsys.readouterr().out and after['ok']


def test_jpeg_masks_that_happen_to_be_exact(tmp_path):
    root = folder(tmp_path / 'data', lambda array: 255 * (array > 0).astype(np.uint8), '.jpg')
    for path in root.rglob('masks/*/*.jpg'):  # blocks of 8 are kept as they are
        assert set(np.unique(Image.open(path))) == {0, 255}
    cured(config(root, dict(mapping={0: 'background', 255: 'road'})), 'JPEG mask', 2)


def test_swapped_colours(tmp_path):
    root = folder(tmp_path / 'data', lambda array: COLOURS[array][..., ::-1])
    assert report(config(root, dict(palette=PALETTE)))['sets'][0]['counts']['swapped colours'] == 6
    cured(config(root, dict(palette=PALETTE)), 'swapped colours', 2)


def test_swapped_colours_of_some_masks(tmp_path):
    root = folder(tmp_path / 'data', lambda array: COLOURS[array])
    write(root / 'masks/train/train1.png', COLOURS[labels(1)][..., ::-1])
    cured(config(root, dict(palette=PALETTE)), 'swapped colours')
    assert (np.asarray(Image.open(root / 'masks/train/train1.png')) == COLOURS[labels(1)]).all()


def test_classes_counted_from_one(tmp_path):
    root = folder(tmp_path / 'data', lambda array: array + np.uint8(1))
    after = cured(config(root, dict(classes=list(NAMES))), 'labels from one')
    assert counts(after) == {} and [row['images'] for row in after['sets'][0]['classes']] == [6, 6, 6]
    after = cured(stack_config(root), 'labels from one')
    assert after['ok'] and [row['images'] for row in after['sets'][0]['classes']] == [6, 6, 6]


def test_labels_from_one_are_no_fault_where_zero_occurs_or_the_last_does_not(tmp_path):
    root = folder(tmp_path / 'data', lambda array: array + np.uint8(1))
    write(root / 'masks/train/train0.png', labels(0))
    assert 'labels from one' not in report(stack_config(root))['sets'][0]['counts']
    folder(root, lambda array: np.minimum(array + 1, 2).astype(np.uint8))
    assert 'labels from one' not in counts(report(stack_config(root)))


def test_masks_of_0_and_255(tmp_path):
    root = folder(tmp_path / 'data', lambda array: 255 * (array > 0).astype(np.uint8))
    after = cured(config(root, dict(classes=['background', 'road'])), '0/255 mask')
    assert counts(after) == {}


def test_bit_depth(tmp_path):
    root = folder(tmp_path / 'data')
    for path in root.rglob('images/*/*.png'):
        write(path, np.asarray(Image.open(path).convert('L')).astype(np.uint16) * 16)
    cured(config(root, dict(mapping=MAPPING)), 'bit depth')
    cured(stack_config(root), 'bit depth')


def rare(array: np.ndarray) -> np.ndarray:
    """The car on 2 of 4096 pixels."""
    array = np.where(array == 2, 0, array)
    array[:2, 0] = 2
    return array


def test_uneven_classes(tmp_path):
    root = folder(tmp_path / 'data', rare)
    cured(config(root, dict(mapping=MAPPING)), 'uneven classes')
    cured(stack_config(root), 'uneven classes')


def specks(array: np.ndarray) -> np.ndarray:
    """The car in six squares of 6 x 6."""
    array = np.where(array == 2, 0, array)
    for left in range(2, 60, 10):
        array[2:8, left:left + 6] = 2
    return array


def test_tiny_classes(tmp_path, capsys):
    root = folder(tmp_path / 'data', specks)
    before = report(config(root, dict(mapping=MAPPING)))
    message = next(row['message'] for row in before['findings'] if row['kind'] == 'tiny class')
    assert message.startswith('car: 36 of its 36 areas, 100% of its pixels, in 6 images, are smaller than a patch (8 x')
    assert before['sets'][0]['remedies']['tiny class']['text'] == "recipe['scale'] = (96, 96)"  # 6 x 1.5 is 9
    cured(config(root, dict(mapping=MAPPING)), 'tiny class')
    folder(root)
    assert 'tiny class' not in counts(report(config(root, dict(mapping=MAPPING))))


def cornered(array: np.ndarray) -> np.ndarray:
    """All but a corner is ignored."""
    kept = np.full_like(array, 255)
    kept[40:, :24] = array[40:, :24]
    return kept


def test_crops_that_are_all_ignored(tmp_path):
    root = folder(tmp_path / 'data', cornered)
    path = config(root, dict(mapping=MAPPING, ignored=[255]), 'crop=32, scale=(64, 64)')
    before = report(path)
    message = next(row['message'] for row in before['findings'] if row['kind'] == 'empty crops')
    empty = np.mean([(cornered(labels(0))[y:y + 32, x:x + 32] == 255).all() for y in range(33) for x in range(33)])
    assert message.startswith(f'{empty:.0%} of the places of a crop of 32 x 32 ') and 0.2 < empty < 0.6
    cured(path, 'empty crops')
    assert "recipe['crop'] = 64" in path.read_text()


def test_a_class_without_a_training_sample(tmp_path):
    root = folder(tmp_path / 'data')
    for path in root.rglob('masks/train/*.png'):
        write(path, np.minimum(np.asarray(Image.open(path)), 1))
    before = report(config(root, dict(mapping=MAPPING)))
    message = next(row['message'] for row in before['findings'] if row['kind'] == 'empty class')
    assert message == 'car (2): none here, 2 in val, test: add masks of it, or take the class out.'
    cured(config(root, dict(mapping=MAPPING)), 'empty class')


def test_a_class_that_occurs_nowhere(tmp_path):
    root = folder(tmp_path / 'data')
    for path in root.rglob('masks/*/*.png'):
        write(path, np.minimum(np.asarray(Image.open(path)), 1))
    after = cured(config(root, dict(mapping=MAPPING)), 'class never occurs', 1)
    assert [row['name'] for row in after['sets'][1]['classes']] == ['background', 'road']


def test_a_class_without_a_validation_sample(tmp_path):
    root = folder(tmp_path / 'data')
    for path in root.rglob('masks/val/*.png'):
        write(path, np.minimum(np.asarray(Image.open(path)), 1))
    found = report(config(root, dict(mapping=MAPPING)))
    assert [row['message'] for row in found['findings']] == [
        '1 of 3 classes: car (2). Training has car: no score here tells how well that is learned.']


def test_another_number_of_classes(tmp_path):
    assert counts(cured(stack_config(folder(tmp_path / 'data'), 5), 'classes differ')) == {}


def test_masks_without_an_image(tmp_path):
    root = folder(tmp_path / 'data')
    (root / 'images/train/train1.png').unlink()
    assert counts(cured(stack_config(root), 'unpaired mask')) == {}


def test_a_config_that_inherits_its_data_gets_a_line_of_its_own(tmp_path):
    root = folder(tmp_path / 'data')
    SAMPLES['leak'](root)
    config(root, dict(mapping=MAPPING))
    child = tmp_path / 'child.py'
    child.write_text("_base_ = 'my_data.py'\n")
    cured(child, 'leak')
    assert child.read_text() == "_base_ = 'my_data.py'\nown_data = dict(left_out=['images/val/val1.png'])\n"
