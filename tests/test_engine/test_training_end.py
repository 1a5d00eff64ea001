"""A training ends with its best checkpoint, its classes, a confusion matrix and commands that work as they stand."""
import csv
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmwhitebox.cli.main import build_parser
from mmwhitebox.cli.options import parse
from mmwhitebox.engine.hooks.validation_classes import NAME
from mmwhitebox.engine.scores.confusion import Confusion
from mmwhitebox.engine.training_end import MOST_ROWS, class_table, found_file, program
from tests.test_engine.trainings import make_config

pytestmark = pytest.mark.usefixtures('quick')


def call(*argv):
    """A command as it is typed; its status."""
    args = parse(build_parser(), list(map(str, argv)))
    return args.run(args)


@pytest.fixture
def folder(images, tmp_path, monkeypatch):
    """A folder to call commands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['/bin/mmwhitebox', 'train'])

    def write(task='seg', options=None):
        """Write my.py: a training of four iterations."""
        best = 'mIoU' if task == 'seg' else 'accuracy/top1'
        cfg = make_config(images, 'unused', task, options={
            'train_cfg.max_iters': 4, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 4,
            'default_hooks.checkpoint.save_best': best, 'log_level': 'INFO',
            'custom_imports': dict(imports=['tests.test_engine.trainings'])})
        if task == 'cls':
            cfg.val_evaluator.topk = 1
        cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = cfg.val_dataloader, cfg.val_evaluator, dict()
        cfg.merge_from_dict(options or {})
        cfg.pop('work_dir')
        cfg.dump('my.py')

    write.path = tmp_path
    return write


def ending(capfd, *argv):
    """Lines of what a training says at its end."""
    capfd.readouterr()
    call('train', 'my.py', *argv)
    said = capfd.readouterr().out.splitlines()
    return said[next(i for i, line in enumerate(said) if line.endswith('The training is done.')) + 1:]


def commands(lines):
    return [shlex.split(line) for line in lines[lines.index('Next:') + 1:]]


def table_rows(lines):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')]


def test_a_segmentation_and_the_commands_that_it_names(folder, capfd):
    folder()
    lines = ending(capfd)
    work = folder.path / 'work_dirs/my'
    best = next(work.glob('best_mIoU_iter_*.pth'))
    step = best.stem.rpartition('_')[2]
    assert lines[0].startswith('Best checkpoint by mIoU, ') and lines[0].endswith(f': work_dirs/my/{best.name}')
    assert f'Classes in the validation at iteration {step}, in percent:' in lines
    score = float(lines[0].split('mIoU, ')[1].split(':')[0])
    header, *rows = table_rows(lines)
    assert [row[0] for row in rows] == ['x', 'y', 'z'] and header[1] == 'IoU'
    assert np.mean([float(row[1]) for row in rows]) == pytest.approx(score, abs=0.01)
    assert sum(float(row[-1]) for row in rows) == pytest.approx(100, abs=0.02)

    counts = list(csv.reader((work / 'confusion_matrix.csv').open()))
    assert counts[0][1:] == ['x', 'y', 'z']
    counts = np.array([row[1:] for row in counts[1:]], int)
    scores = list(csv.DictReader((work / 'class_scores.csv').open()))
    ious = counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())
    assert [float(row['IoU (%)']) for row in scores] == pytest.approx(100 * ious, abs=1e-3)
    assert Image.open(work / 'confusion_matrix.png').size[0] > 300
    assert 'Best checkpoint by mIoU' in next(work.glob('*/*.log')).read_text()

    (program_, *test), (_, *infer) = commands(lines)
    assert program_ == 'mmwhitebox' and test == ['test', 'my.py', f'work_dirs/my/{best.name}']
    call(*test)
    assert f'mIoU: {score:.2f}' in capfd.readouterr().out
    assert infer[0] == 'infer' and call(*infer) == 0
    assert (folder.path / infer[infer.index('--out') + 1] / 'labels').is_dir()

    again = ending(capfd, '--resume')  # of a finished training: nothing is trained or validated
    assert [line for line in again if not line.startswith('Confusion')] == \
        [line for line in lines if not line.startswith('Confusion')]


@pytest.mark.slow
def test_a_classification_with_overrides(folder, capfd):
    """The file in the work dir holds the overrides, so it is what the commands name."""
    folder('cls')
    lines = ending(capfd, '--work-dir', 'out', '--cfg-options', 'model.backbone.arch.num_layers=1')
    header, *rows = table_rows(lines)
    assert header == ['Class', 'Fscore', 'Precision', 'Recall', 'images']
    assert [row[-1] for row in rows] == ['5', '5']
    test, infer = commands(lines)
    assert test[2:] == ['out/my.py', lines[0].rpartition(' ')[2]]
    call(*test[1:])
    assert f'accuracy/top1: {float(lines[0].split("top1, ")[1].split(":")[0]):.4f}' in capfd.readouterr().out
    call(*infer[1:])
    assert (folder.path / 'out/infer/predictions.csv').is_file()


@pytest.mark.parametrize('options, first, classes', [
    (dict(val_dataloader=None, val_evaluator=None, val_cfg=None), 'Last checkpoint: work_dirs/my/iter_4.pth', False),
    ({'default_hooks.checkpoint.save_best': None}, 'Last checkpoint: work_dirs/my/iter_4.pth', True)],
    ids=['no validation', 'no best'])
def test_without_a_best_checkpoint(folder, capfd, options, first, classes):
    """Nothing can be tested either: the test set has no labels."""
    folder(options={**options, 'test_dataloader.dataset.data_prefix': dict(_delete_=True, img_path='img')})
    lines = ending(capfd)
    assert lines[0] == first
    assert ('Classes in the validation at iteration 4, in percent:' in lines) is classes
    assert [command[1] for command in commands(lines)] == ['infer', 'report']
    for command in commands(lines):
        args = parse(build_parser(), command[1:])
        assert all(Path(path).is_file() for path in (args.config, args.checkpoint, *args.images))


@pytest.mark.slow
def test_what_was_not_kept_or_cannot_be_written(folder, capfd):
    folder()
    ending(capfd)
    work = folder.path / 'work_dirs/my'
    (work / 'confusion_matrix.png').unlink()
    (work / 'confusion_matrix.png').mkdir()  # in the way
    lines = ending(capfd, '--resume')
    assert 'Confusion matrix and scores: work_dirs/my/confusion_matrix.csv, work_dirs/my/class_scores.csv' in lines
    (work / NAME).unlink()
    next(work.glob('best_mIoU_*')).unlink()
    lines = ending(capfd, '--resume')
    assert lines[0] == 'Last checkpoint: work_dirs/my/iter_4.pth'
    assert bool(table_rows(lines)) is (work / NAME).is_file()  # where the last was the best, it is validated anew


def test_a_checkpoint_is_found_where_its_folder_was_moved(tmp_path):
    torch.save({}, tmp_path / 'best.pth')
    assert found_file('/gone/work/best.pth', str(tmp_path)) == str(tmp_path / 'best.pth')
    assert found_file('/gone/work/other.pth', str(tmp_path)) is None and found_file('', str(tmp_path)) is None
    assert found_file('s3://bucket/best.pth', str(tmp_path)) == 's3://bucket/best.pth'


@pytest.mark.parametrize('started, test, report', [
    ('/env/bin/mmwhitebox', 'mmwhitebox test', 'mmwhitebox report'),
    ('/env/mmwhitebox/__main__.py', 'mmwhitebox test', 'mmwhitebox report'),
    ('tools/train.py', 'python tools/test.py', 'python tools/analysis_tools/report.py')])
def test_commands_are_called_as_the_training_was(monkeypatch, started, test, report):
    monkeypatch.setattr('sys.argv', [started])
    assert [' '.join(program(name)) for name in ('test', 'report')] == [test, report]


def test_of_many_classes_the_lowest_are_shown():
    number = MOST_ROWS + 20
    counts = np.zeros((number + 1, number + 1), int)
    counts[np.arange(number - 1), np.arange(number - 1)] = 100
    counts[np.arange(number - 1), 0] += np.arange(number - 1)
    text = class_table(Confusion([f'c{i}' for i in range(number)], counts, 'images'))
    rows = table_rows(text.splitlines())[1:]
    assert len(rows) == MOST_ROWS and rows[0][0] == 'c0' and rows[1][0] == f'c{number - 2}'
    assert f'1 more of the {number} classes' in text and f'The lowest {MOST_ROWS} of {number - 1}' in text
