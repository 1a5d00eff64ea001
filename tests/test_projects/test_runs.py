"""The trainings of the results: which, in what order, what is kept of them, and what happens when one fails."""
import json

import pytest

from mmwhitebox.errors import UserError
from projects.small_data import runs as module
from projects.small_data.runs import is_finished, last_step, read_scalars, record, runs_of, train_all
from projects.small_data.suites import SUITES, Row, Suite
from tests.configs import ROOT

SUITE = Suite('camvid', 'mIoU', dict(a=(Row('cbt', 'CBT'), Row('depict_sa', 'SA')), b=(Row('cbt', 'CBT'), )), ())


def write_scalars(folder, *lines):
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def test_every_row_has_its_config():
    for suite in SUITES.values():
        assert all((ROOT / suite.config(row)).is_file() for row in suite.rows())


def test_runs_go_seed_by_seed_and_quick_takes_one(tmp_path):
    assert [run.name for run in runs_of(SUITE, tmp_path, False)] == [
        'cbt_seed0', 'depict_sa_seed0', 'cbt_seed1', 'depict_sa_seed1', 'cbt_seed2', 'depict_sa_seed2']
    assert [run.name for run in runs_of(SUITE, tmp_path, True)] == ['cbt_seed0', 'depict_sa_seed0']


def test_scalars_of_a_resumed_training_are_those_of_its_last_attempt(tmp_path):
    write_scalars(tmp_path / '20260101_000000' / 'vis_data',
                  dict(loss=3., base_lr=1., step=1), dict(loss=2., base_lr=1., step=2), dict(mIoU=5., step=2))
    write_scalars(tmp_path / '20260101_000001' / 'vis_data', dict(loss=1., base_lr=1., step=2))
    assert read_scalars(tmp_path) == [
        dict(loss=3., base_lr=1., step=1), dict(loss=1., base_lr=1., step=2), dict(mIoU=5., step=2)]


def test_record_of_a_training(tmp_path):
    run = runs_of(SUITE, tmp_path, False)[2]
    options = ['train_cfg.max_iters=4']
    write_scalars(run.work_dir / 'now' / 'vis_data',
                  dict(loss=2., base_lr=0.1, time=9., step=2), {'compression/backbone.layers.0.attn': 7., 'step': 2},
                  {'mIoU': 40., 'IoU.sky': 50., 'data_time': 1., 'step': 2},
                  dict(loss=1., base_lr=0.2, time=9., step=4))
    assert not is_finished(run, options)
    with (run.work_dir / 'now' / 'vis_data' / 'scalars.json').open('a') as file:
        file.write(json.dumps({'mIoU': 41., 'IoU.sky': 51., 'data_time': 1., 'step': 4}) + '\n')
    assert is_finished(run, options) and not is_finished(run, [])
    (run.work_dir / module.TIMES).write_text('[1.2, 2.0]')
    log = record(run, options)
    assert log['config'] == 'projects/small_data/configs/camvid/cbt.py' and log['seed'] == 1 and log['seconds'] == 3
    assert log['command'] == ('python tools/train.py projects/small_data/configs/camvid/cbt.py --cfg-options '
                              'randomness.seed=1 train_cfg.max_iters=4')
    assert log['train'] == dict(step=[2, 4], loss=[2., 1.], base_lr=[0.1, 0.2])
    assert log['val'] == [{'mIoU': 40., 'IoU.sky': 50., 'step': 2}, {'mIoU': 41., 'IoU.sky': 51., 'step': 4}]
    assert log['coding_rate'] == {'step': [2], 'compression/backbone.layers.0.attn': [7.]}


def test_the_length_of_a_run_is_that_of_its_config(tmp_path):
    run = runs_of(SUITE, tmp_path, True)[0]
    assert last_step(run, []) == 1000 and last_step(run, ['train_cfg.max_iters=8']) == 8


def test_what_is_finished_is_not_trained_again_and_a_failure_is_told(tmp_path, monkeypatch):
    runs = runs_of(SUITE, tmp_path, True)
    write_scalars(runs[0].work_dir / 'now' / 'vis_data', dict(mIoU=40., step=1000))
    monkeypatch.setattr(module, 'ROOT', tmp_path)  # no tools/train.py there
    monkeypatch.setattr(module, 'last_step', lambda run, options: 1000)
    done = train_all(runs, [], jobs=1)
    assert next(done) is runs[0]
    with pytest.raises(UserError, match='depict_sa_seed0: tools/train.py ended with status 2; its output is in'):
        next(done)
    assert "can't open file" in (runs[1].work_dir / 'output.txt').read_text()
    assert not (runs[0].work_dir / 'output.txt').exists()
    assert len(json.loads((runs[1].work_dir / module.TIMES).read_text())) == 1
