"""Broken samples: an error by default; skipped, logged once and counted if so configured; dead workers name theirs."""
import os
import signal

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from PIL import Image
from torch.utils.data import DataLoader, _utils

from mmwhitebox.datasets import (
    CamVidDataset,
    LoadImage,
    LoadSegAnnotation,
    broken_samples,
    check_datasets,
    watch_workers,
)
from mmwhitebox.datasets.broken_samples import refuse_skipping
from mmwhitebox.errors import AnnotationError, ConfigError, ImageReadError, UserError, WorkerDeathError


class Die(BaseTransform):
    """Kills its own process at one picture, as a decoder's crash or the system's memory killer does."""

    def __init__(self, name, how=signal.SIGKILL):
        self.name, self.how = name, how

    def transform(self, results):
        if results['img_path'].endswith(self.name):
            os.kill(os.getpid(), self.how)
        return results


class Note(BaseTransform):
    """Keeps the name alone, so that batches are lists of names."""

    def transform(self, results):
        return os.path.basename(results['img_path'])


@pytest.fixture
def root(tmp_path):
    """Six pictures, 0.jpg to 5.jpg, with masks."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / 'images' / f'{i}.jpg')
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / 'masks' / f'{i}.png')
    return tmp_path


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Everything that this process and its workers log."""
    file = tmp_path / 'log'

    def write(message, *args, **kwargs):
        with open(file, 'a') as handle:
            handle.write(message + '\n')

    monkeypatch.setattr(broken_samples, 'print_log', write)
    monkeypatch.setattr(broken_samples, '_skipped', set())
    return lambda: file.read_text().splitlines() if file.exists() else []


def dataset(root, *more, on_error='raise', max_broken=100, num_classes=11, **kwargs):
    options = dict(on_error=on_error, max_broken=max_broken)
    steps = [LoadImage(**options), LoadSegAnnotation(num_classes=num_classes, **options), *more, Note()]
    return CamVidDataset(data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='masks'),
                         pipeline=steps, **kwargs)


def loader(data, **kwargs):
    return DataLoader(data, batch_size=2, collate_fn=list, **{'num_workers': 2, **kwargs})


def test_by_default_a_broken_sample_stops_with_its_name(root, log):
    (root / 'images' / '2.jpg').write_bytes(b'broken')
    with pytest.raises(ImageReadError, match='2.jpg'):
        list(dataset(root))
    with pytest.raises(AnnotationError, match=r'masks/5.png: labels \[5\]'):
        dataset(root, num_classes=5)[5]
    assert log() == []


def test_skipping_takes_another_sample_and_logs_once(root, log):
    (root / 'images' / '2.jpg').write_bytes(b'broken')
    data = dataset(root, on_error='skip', num_classes=5)  # 5.png has a label too many
    for _ in range(3):
        names = [data[i] for i in range(6)]
        assert len(names) == 6 and not {'2.jpg', '5.jpg'} & set(names) and names[0] == '0.jpg'
    assert len(log()) == 2
    assert '(1 so far)' in log()[0] and 'images/2.jpg: cannot read this image' in log()[0]
    assert '(2 so far)' in log()[1] and 'masks/5.png: labels [5]' in log()[1]


def test_the_replacement_comes_from_numpy_s_random_state(root, log):
    (root / 'images' / '2.jpg').write_bytes(b'broken')
    data = dataset(root, on_error='skip')
    drawn = []
    for _ in range(2):
        np.random.seed(7)
        drawn.append([data[2] for _ in range(8)])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 1


def test_workers_count_together_and_the_end_says_how_many(root, log):
    for i in (1, 2, 4):
        (root / 'images' / f'{i}.jpg').write_bytes(b'broken')
    with watch_workers():
        for _ in range(2):
            names = [name for batch in loader(dataset(root, on_error='skip')) for name in batch]
            assert len(names) == 6 and set(names) <= {'0.jpg', '3.jpg', '5.jpg'}
    skipped = [line for line in log() if line.startswith('Skipped')]
    assert 3 <= len(skipped) <= 6  # once; two workers may meet the same file at the same moment
    assert {name for name in '124' if any(f'/{name}.jpg' in line for line in skipped)} == set('124')
    assert log()[-1].startswith('3 broken sample(s) skipped: ') and 'check-data' in log()[-1]


@pytest.mark.parametrize('broken, most, message', [(3, 2, 'max_broken=2 samples'), (6, 10, '100 in a row')])
def test_too_many_broken_samples_stop(root, log, broken, most, message):
    """More files than allowed; or fewer files than allowed, but nothing else left to take."""
    for i in range(broken):
        (root / 'images' / f'{i}.jpg').write_bytes(b'broken')
    data = dataset(root, on_error='skip', max_broken=most)
    with pytest.raises(UserError, match=f'More than {message} could not be used, the last: .*jpg'):
        [data[i] for _ in range(20) for i in range(6)]


def test_a_few_broken_samples_never_add_up(root, log):
    (root / 'images' / '2.jpg').write_bytes(b'broken')
    data = dataset(root, on_error='skip', max_broken=1)
    for _ in range(20):
        assert data[2] != '2.jpg' and data[0] == '0.jpg'


def test_another_on_error_is_refused():
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
        LoadImage(on_error='ignore')


def test_evaluation_never_skips():
    steps = [dict(type='mmwhitebox.LoadImage'), dict(type='mmwhitebox.LoadSegAnnotation', on_error='skip')]
    nested = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CamVidDataset', pipeline=steps)))
    cfg = Config(dict(train_dataloader=nested))
    refuse_skipping(cfg)
    for key, where in (('val_dataloader', r'val_dataloader.dataset.dataset.pipeline.1'), ('tta_pipeline', 'tta_')):
        wrong = Config({**cfg, key: nested if key == 'val_dataloader' else steps})
        with pytest.raises(ConfigError, match=f"{where}.*on_error='skip' is for training"):
            check_datasets(wrong, splits=('val', ))


@pytest.fixture
def soon(monkeypatch):
    """torch waits half a second for the workers that are left, not five."""
    monkeypatch.setattr(_utils, 'MP_STATUS_CHECK_INTERVAL', 0.5)


@pytest.mark.parametrize('how, advice', [(signal.SIGKILL, 'run out of memory'), (signal.SIGSEGV, 'crash its')])
def test_a_dead_worker_names_its_sample(root, soon, how, advice):
    with pytest.raises(WorkerDeathError) as caught, watch_workers():
        list(loader(dataset(root, Die('3.jpg', how))))
    message = str(caught.value)
    assert 'masks/3.png' in message and advice in message and '\n' not in message
    assert broken_samples.FOLDER not in os.environ


def test_an_early_death_and_other_errors(root, soon):
    class Early(CamVidDataset):
        def __getitem__(self, index):
            os.kill(os.getpid(), signal.SIGKILL)

    data = Early(data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='masks'))
    with pytest.raises(WorkerDeathError, match='had noted no sample yet'), watch_workers():
        list(loader(data))
    with pytest.raises(RuntimeError, match='shapes differ') as caught, watch_workers():
        raise RuntimeError('shapes differ')
    assert not isinstance(caught.value, UserError)


def test_nothing_is_noted_outside_a_worker(root):
    with watch_workers():
        dataset(root)[0]
        assert os.listdir(os.environ[broken_samples.FOLDER]) == []
