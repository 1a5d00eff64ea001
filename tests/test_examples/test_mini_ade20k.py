"""The procedural scenes and the command that writes them as a miniature ADE20K."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from examples.miniature import make_mini_ade20k as tool
from examples.miniature.canvas import CLASSES, OTHER
from examples.miniature.scenes import SCENES, render_scene

ARGUMENTS = ['--train', '24', '--val', '24', '--size', '64']


@pytest.fixture(scope='module')
def mini(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'mini'
    tool.main(['--out', str(out), *ARGUMENTS])
    return out


def read_labels(out, split):
    paths = sorted((out / 'annotations' / split).glob('*.png'))
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]


@pytest.mark.parametrize('kind', SCENES)
def test_scene_is_a_function_of_its_seed(kind):
    first, again, other = (
        render_scene(np.random.default_rng(seed), (96, 96), kind) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize('size', [(96, 160), (160, 64)])
@pytest.mark.parametrize('kind', [*SCENES, None])
def test_any_size_and_known_labels_only(kind, size):
    image, label = render_scene(np.random.default_rng(3), size, kind)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert label.shape == size and label.dtype == np.uint8
    assert set(np.unique(label)) <= {OTHER, *CLASSES.values()}
    assert image.std() > 10


def test_labels_are_ade20k_indices():
    from mmseg.datasets import ADE20KDataset

    names = [name.strip() for name in ADE20KDataset.METAINFO['classes']]
    assert CLASSES == {name: names.index(name) + 1 for name in CLASSES}
    assert len(CLASSES) >= 12


def test_layout_opens_as_ade20k(mini):
    from mmseg.datasets import ADE20KDataset

    prefix = {'img_path': 'images/training', 'seg_map_path': 'annotations/training'}
    dataset = ADE20KDataset(data_root=str(mini), data_prefix=prefix, pipeline=[])
    assert len(dataset) == 24
    info = dataset.get_data_info(0)
    assert info['img_path'].endswith('images/training/ADE_train_00000001.jpg')
    assert Path(info['seg_map_path']).is_file() and info['reduce_zero_label']


def test_every_class_is_in_both_halves(mini):
    for split in ('training', 'validation'):
        labels = read_labels(mini, split)
        assert all(label.shape == (64, 64) and label.dtype == np.uint8 for label in labels)
        for name, value in CLASSES.items():
            images = np.mean([(label == value).any() for label in labels])
            assert images >= 0.15, (split, name, images)


def test_record_holds_arguments_and_pixel_shares(mini):
    record = json.loads((mini / 'mini_ade20k.json').read_text())
    assert record['arguments'] == {'train': 24, 'val': 24, 'size': 64, 'seed': 0}
    assert record['classes'] == CLASSES
    assert sum(record['pixel_share'].values()) == pytest.approx(1, abs=1e-3)


def test_second_run_keeps_the_set_and_colours_alone_are_not_enough(mini, capsys):
    image = mini / 'images' / 'training' / 'ADE_train_00000001.jpg'
    written = image.stat().st_mtime_ns
    tool.main(['--out', str(mini), *ARGUMENTS, '--baseline'])
    printed = capsys.readouterr().out
    assert 'already there' in printed
    assert image.stat().st_mtime_ns == written
    assert 0 < float(printed.split('baseline:')[1].split()[0]) < 35


def test_images_do_not_depend_on_their_number(mini, tmp_path):
    tool.main(['--out', str(tmp_path), '--train', '2', '--val', '1', '--size', '64'])
    for name in ('images/training/ADE_train_00000002.jpg',
                 'annotations/validation/ADE_val_00000001.png'):
        assert (tmp_path / name).read_bytes() == (mini / name).read_bytes()


def test_interrupted_set_is_made_again(tmp_path, monkeypatch):
    command = ['--out', str(tmp_path), '--train', '2', '--val', '1', '--size', '64']
    with monkeypatch.context() as patch:
        patch.setattr(tool, 'save', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
        with pytest.raises(OSError, match='disk full'):
            tool.main(command)
    assert not (tmp_path / 'mini_ade20k.json').exists()
    tool.main(command)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'annotations', 'images', 'mini_ade20k.json']
    assert len(read_labels(tmp_path, 'training')) == 2


def test_other_arguments_need_force_and_foreign_folders_are_left_alone(tmp_path, capsys):
    ours, foreign = tmp_path / 'ours', tmp_path / 'foreign'
    command = ['--train', '1', '--val', '1', '--size', '64']
    tool.main(['--out', str(ours), *command])
    with pytest.raises(SystemExit):
        tool.main(['--out', str(ours), *command, '--seed', '1'])
    assert '--force' in capsys.readouterr().err
    tool.main(['--out', str(ours), *command, '--seed', '1', '--force'])
    (foreign / 'images').mkdir(parents=True)
    with pytest.raises(SystemExit):
        tool.main(['--out', str(foreign), *command, '--force'])
    assert (foreign / 'images').is_dir()


@pytest.mark.parametrize(
    'bad', [['--size', '63'], ['--train', '0'], ['--val', '0'], ['--size', 'a']])
def test_bad_argument_is_one_clear_error(tmp_path, bad, capsys):
    with pytest.raises(SystemExit) as error:
        tool.main(['--out', str(tmp_path), *bad])
    assert error.value.code == 2
    assert bad[0] in capsys.readouterr().err.splitlines()[-1]
