"""check_dataset.py as a user runs it: what it prints, what it writes, how it ends."""
import csv
import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from tests.configs import ROOT

CONFIG = f"""
_base_ = '{ROOT}/configs/cbt_decoder/cbt_decoder_small_camvid.py'
train_dataloader = dict(dataset=dict(data_root='{{root}}'))
val_dataloader = dict(dataset=dict(data_root='{{root}}'))
test_dataloader = val_dataloader
"""


@pytest.fixture
def job(tmp_path):
    """CamVid's layout with four training and two validation samples, and a config that names it."""
    for split, count in (('train', 4), ('val', 2)):
        for kind in ('images', 'annotations'):
            (tmp_path / kind / split).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng([i, count]).integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'images' / split / f'{i}.jpg')
            Image.fromarray(np.full((12, 16), i, np.uint8)).save(tmp_path / 'annotations' / split / f'{i}.png')
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=tmp_path))
    return tmp_path, config


def check(monkeypatch, *args):
    """Run the tool in this process; what it exits with."""
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *map(str, args)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools' / 'check_dataset.py'), run_name='__main__')
    return caught.value.code


def test_a_sound_data_set_ends_with_0(job, monkeypatch, capsys):
    root, config = job
    assert check(monkeypatch, config, '--workers', 1, '--out', root / 'report.json') == 0
    printed, progress = capsys.readouterr()
    assert '4/4' in progress and '2/2' in progress and '4/4' not in printed
    assert '6 samples read: 0 fault(s), 2 note(s)' in printed
    report = json.loads((root / 'report.json').read_text())
    assert report['ok'] and [s['splits'] for s in report['sets']] == [['train'], ['val', 'test']]
    assert [row['pixels'] for row in report['sets'][0]['classes']][:5] == [192] * 4 + [0]
    assert report['sets'][0]['classes'][1]['name'] == 'building'


def test_faults_are_shown_written_and_end_with_1(job, monkeypatch, capsys):
    root, config = job
    (root / 'images/train/1.jpg').write_bytes(b'')
    for i in range(4):
        Image.fromarray(np.full((12, 16), 11, np.uint8)).save(root / 'annotations/train' / f'{i}.png')
    assert check(monkeypatch, config, '--splits', 'train', '--workers', 0, '--out', root / 'report.csv') == 1
    printed = capsys.readouterr().out
    assert 'label out of range' in printed and '... and 1 more' in printed and '5 fault(s)' in printed
    with open(root / 'report.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['kind'] for row in rows].count('label out of range') == 4
    assert any(row['file'].endswith('train/1.jpg') and row['kind'] == 'empty file' for row in rows)
    assert {row['split'] for row in rows} == {'train'}


@pytest.mark.parametrize('args, message', [
    (('--out', 'report.txt'), 'the report is NAME.json or NAME.csv'),
    (('--workers', '-1'), '--workers must be 0 or more'),
    (('--cfg-options', 'train_dataloader.dataset.data_rot=x'), "data_rot: unknown key; did you mean 'data_root'"),
    (('--cfg-options', 'train_dataloader.dataset.data_root=/nowhere'), '/nowhere/images/train does not exist'),
    (('--out', '/proc/no/report.json', '--workers', '0'), 'cannot be written'),
])
def test_bad_arguments_end_with_one_message(job, monkeypatch, args, message):
    code = check(monkeypatch, job[1], *args)
    assert code.startswith('error: ') and message in code
