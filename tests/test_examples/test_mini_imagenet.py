"""The pictures of single objects and the command that writes them as a miniature ImageNet."""
import json

import numpy as np
import pytest
from mmengine.config import Config

from examples.miniature import make_mini_imagenet as tool
from examples.miniature.pictures import OBJECT_CLASSES, render_object
from tests.configs import ROOT

ARGUMENTS = ['--train', '96', '--val', '48', '--size', '64']


@pytest.fixture(scope='module')
def mini(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'mini'
    tool.main(['--out', str(out), *ARGUMENTS])
    return out


@pytest.mark.parametrize('name', OBJECT_CLASSES)
def test_picture_is_a_function_of_its_seed_at_any_size(name):
    first, again, other = (render_object(np.random.default_rng(seed), name, (80, 112)) for seed in (1, 1, 2))
    assert first.shape == (80, 112, 3) and first.dtype == np.uint8 and first.std() > 5
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize('name', OBJECT_CLASSES)
def test_the_surroundings_do_not_depend_on_the_class(name):
    """Same state, another class: what differs is an object, neither tiny nor the whole picture."""
    other = 'lamp' if name != 'lamp' else 'painting'
    shares = []
    for seed in range(8):
        first, second = (render_object(np.random.default_rng(seed), n).astype(int) for n in (name, other))
        shares.append((np.abs(first - second).max(-1) > 12).mean())
    assert min(shares) > 0.02 and 0.05 < np.mean(shares) < 0.5 and max(shares) < 0.85


def test_layout_opens_with_the_config_s_datasets(mini):
    from mmpretrain.datasets import CustomDataset
    cfg = Config.fromfile(ROOT / 'configs' / 'cbt/cbt_mini_imagenet.py')
    assert tuple(cfg.test_dataloader.dataset.metainfo.classes) == OBJECT_CLASSES
    assert len(OBJECT_CLASSES) >= 10
    for split, number in (('train', 96), ('val', 48)):
        dataset = CustomDataset(data_root=str(mini), data_prefix=split)
        assert dataset.metainfo['classes'] == OBJECT_CLASSES
        assert np.bincount(dataset.get_gt_labels()).tolist() == [number // 12] * 12


def test_record_counts_the_images(mini):
    record = json.loads((mini / 'mini_imagenet.json').read_text())
    assert record['arguments'] == {'train': 96, 'val': 48, 'size': 64, 'seed': 0}
    assert record['classes'] == list(OBJECT_CLASSES) and set(record['images'].values()) == {12}


def test_second_run_keeps_the_set_and_pixels_alone_are_not_enough(mini, capsys):
    image = mini / 'val' / 'tent' / 'tent_00001.JPEG'
    written = image.stat().st_mtime_ns
    tool.main(['--out', str(mini), *ARGUMENTS, '--baseline'])
    printed = capsys.readouterr().out
    assert 'already there' in printed and image.stat().st_mtime_ns == written
    assert 0 < float(printed.split('pixels:')[1].split()[0]) < 40


def test_images_do_not_depend_on_their_number(mini, tmp_path):
    tool.main(['--out', str(tmp_path), '--train', '12', '--val', '12', '--size', '64'])
    for name in ('train/bed/bed_00001.JPEG', 'val/window/window_00001.JPEG'):
        assert (tmp_path / name).read_bytes() == (mini / name).read_bytes()


def test_interrupted_set_is_made_again(tmp_path, monkeypatch):
    command = ['--out', str(tmp_path), '--train', '12', '--val', '12', '--size', '64']
    with monkeypatch.context() as patch:
        patch.setattr(tool, 'save', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
        with pytest.raises(OSError, match='disk full'):
            tool.main(command)
    assert not (tmp_path / 'mini_imagenet.json').exists()
    tool.main(command)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mini_imagenet.json', 'train', 'val']


def test_fewer_images_than_classes_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        tool.main(['--out', str(tmp_path), '--train', '11'])
    assert error.value.code == 2 and '--train' in capsys.readouterr().err.splitlines()[-1]
