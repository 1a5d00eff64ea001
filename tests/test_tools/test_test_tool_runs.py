"""tools/test.py on a small set: which weights it scores, what it writes, with every shape of test loader."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmwhitebox.cli.main import build_parser
from mmwhitebox.cli.options import parse
from mmwhitebox.engine.runner import ConsoleRunner
from mmwhitebox.errors import UserError
from tests.test_interpret.small import save_ade, save_images, save_model

NAME = 'segmenter/segmenter_linear_mini_ade20k.py'
WALL, FLOOR = 0, 3


def constant(checkpoint, out, label):
    """A checkpoint of the same model that gives every pixel one label."""
    state = torch.load(checkpoint)['state_dict']
    weight = next(key for key in state if key.startswith('decode_head.') and state[key].shape[:1] == (150, ))
    bias = weight.replace('weight', 'bias')
    state = {**state, weight: torch.zeros_like(state[weight]), bias: 10 * torch.eye(150)[label]}
    torch.save(dict(state_dict=state), out)
    return str(out)


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """Config (as an object, to be changed), checkpoints of walls and of floors; images of one name in two folders."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.chdir(tmp_path)
    root = save_ade(tmp_path / 'ade', a=(32, 32))
    for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
        folder = tmp_path / 'ade' / kind / 'validation'
        data = (folder / f'a.{suffix}').read_bytes()
        (folder / f'a.{suffix}').unlink()
        for place in ('east', 'west'):
            (folder / place).mkdir()
            (folder / place / f'a.{suffix}').write_bytes(data)
    config, checkpoint = save_model(tmp_path, NAME, data_root=root)
    walls = constant(checkpoint, tmp_path / 'walls.pth', WALL)
    return Config.fromfile(config), walls, constant(checkpoint, tmp_path / 'floors.pth', FLOOR), tmp_path


def evaluate(monkeypatch, cfg, *args):
    """What the tool measured."""
    cfg.dump('config.py')
    found = {}
    test = ConsoleRunner.test
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleRunner, 'test', lambda self: found.update(test(self)) or found)
        args = parse(build_parser(), ['test', 'config.py', *map(str, args), '--work-dir', 'work'])
        args.run(args)
    return found


def test_the_checkpoint_of_the_command_line_is_scored(setting, monkeypatch):
    cfg, walls, floors, tmp_path = setting
    cfg.load_from, cfg.resume = floors, True  # as in the config that a resumed training writes
    cfg.test_evaluator = [cfg.test_evaluator, dict(type='IoUMetric', prefix='again')]
    cfg.visualizer = None
    scores = evaluate(monkeypatch, cfg, walls, '--out', 'labels', '--show-dir', 'pictures')
    # walls everywhere: IoU 50 of wall, 0 of building, which fills the other half
    assert scores['mIoU'] == scores['again/mIoU'] == 25
    for place in ('east', 'west'):
        assert np.unique(np.asarray(Image.open(tmp_path / 'labels' / place / 'a.png'))) == [WALL + 1]
        assert Image.open(tmp_path / 'pictures' / place / 'a.png').size[0] > 500


def test_several_datasets_with_augmentation(setting, monkeypatch):
    cfg, walls, _, tmp_path = setting
    cfg.tta_pipeline[-1]['transforms'][0] = [dict(type='Resize', scale=(64, 64), keep_ratio=True)]
    parts = [dict(cfg.test_dataloader.dataset), dict(cfg.test_dataloader.dataset)]
    for part, place in zip(parts, ('east', 'west')):
        part['data_prefix'] = {key: f'{value}/{place}' for key, value in part['data_prefix'].items()}
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    cfg.visualizer = dict(type='SegLocalVisualizer', name='visualizer')
    assert evaluate(monkeypatch, cfg, walls, '--tta', '--out', 'labels', '--show-dir', 'pictures')['mIoU'] == 25
    for folder in ('labels', 'pictures'):  # the name of each image's own folder tells them apart
        assert sorted(path.relative_to(tmp_path / folder).as_posix() for path in (tmp_path / folder).rglob('*.png')
                      ) == ['east/a.png', 'west/a.png']


def test_a_set_without_labels(setting, monkeypatch):
    cfg, walls, _, tmp_path = setting
    del cfg.test_dataloader.dataset.data_prefix['seg_map_path']
    with pytest.raises(UserError, match='no labels to score with .* --out DIR'):
        evaluate(monkeypatch, cfg, walls)
    assert evaluate(monkeypatch, cfg, walls, '--out', 'labels', '--show-dir', 'pictures') == {}
    assert (tmp_path / 'labels' / 'east' / 'a.png').is_file() and (tmp_path / 'pictures' / 'west' / 'a.png').is_file()


def test_a_metric_that_only_writes(setting, monkeypatch):
    cfg, walls, _, tmp_path = setting
    cfg.test_evaluator.format_only = True
    assert evaluate(monkeypatch, cfg, walls, '--out', 'labels') == {}
    assert len(list((tmp_path / 'labels').rglob('*.png'))) == 2


def test_no_test_set(setting, monkeypatch):
    cfg, walls, _, _ = setting
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    with pytest.raises(UserError, match='has no test_dataloader'):
        evaluate(monkeypatch, cfg, walls, '--tta')


def test_pictures_of_a_classifier(tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.chdir(tmp_path)
    config, checkpoint = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py')
    cfg = Config.fromfile(config)
    for name in cfg.classes:
        save_images(tmp_path / 'data' / name, one=(40, 40))
    cfg.test_dataloader.dataset = dict(type='CustomDataset', data_prefix='data', pipeline=cfg.test_pipeline)
    cfg.visualizer = None
    with pytest.raises(UserError, match='--metrics: .* this is a classifier'):
        evaluate(monkeypatch, cfg, checkpoint, '--metrics', 'mIoU')
    found = evaluate(monkeypatch, cfg, checkpoint, '--out', 'predictions.pkl', '--show-dir', 'pictures', '--scores',
                     'scores.json', '--bootstrap')
    recalls = json.loads((tmp_path / 'scores.json').read_text())['classes']['accuracy/Recall']
    assert list(recalls) == list(cfg.classes) and np.mean(list(recalls.values())) == pytest.approx(
        found['accuracy/top1'], abs=1e-3)  # one image of each
    assert found['accuracy/top1_low'] <= found['accuracy/top1'] <= found['accuracy/top1_high']
    assert sorted(path.relative_to(tmp_path / 'pictures').as_posix() for path in (tmp_path / 'pictures').rglob('*.png')
                  ) == [f'{name}/one.png' for name in sorted(cfg.classes)]
    assert (tmp_path / 'predictions.pkl').is_file()


def test_scores_that_are_asked_for(setting, monkeypatch, capsys):
    """Walls everywhere, on two images of wall and building: the boundary between them is not met."""
    cfg, walls, _, tmp_path = setting
    cfg.test_evaluator = [dict(type='mmseg.IoUMetric'), dict(type='mmwhitebox.IoUMetric', prefix='again')]
    cfg.visualizer = None
    found = evaluate(monkeypatch, cfg, walls, '--metrics', 'mIoU', 'mBoundaryF', '--bootstrap', '100', '--scores',
                     'new/scores.json', '--boundary-tolerance', '0.05')
    assert found['mIoU'] == found['mIoU_low'] == found['again/mIoU_high'] == 25 and found['mBoundaryF'] == 0
    written = json.loads((tmp_path / 'new/scores.json').read_text())
    assert written['scores'] == found and written['checkpoint'] == walls and written['images'] == 2
    assert set(written['classes']) == {f'{prefix}{name}' for prefix in ('', 'again/') for name in
                                       ('IoU', 'Acc', 'BoundaryF')}
    iou = written['classes']['again/IoU']
    assert (iou['wall'], iou['building'], iou['sky']) == (50, 0, None) and len(iou) == 150
    assert written['class_intervals']['IoU']['wall'] == [50, 50] and written['bootstrap']['draws'] == 100
    assert 'bootstrap over the 2 images with 100 draws' in capsys.readouterr().out


@pytest.mark.parametrize('options, problem', [
    (['--boundary-tolerance', '0.01'], 'add --metrics mBoundaryF'),
    (['--metrics', 'mBoundaryF', '--boundary-tolerance', '2'], 'between 0 and 1'),
    (['--bootstrap', '9'], '--bootstrap: samples=9'),
    (['--scores', '.'], 'is a folder; name a file')])
def test_scores_that_cannot_be(setting, monkeypatch, options, problem):
    with pytest.raises(UserError, match=problem):
        evaluate(monkeypatch, setting[0], setting[1], *options)


def test_scores_of_no_metric(setting, monkeypatch):
    cfg = setting[0]
    cfg.test_evaluator = dict(type='CityscapesMetric', output_dir='x')
    with pytest.raises(UserError, match='--bootstrap: the config has no IoUMetric'):
        evaluate(monkeypatch, cfg, setting[1], '--bootstrap')
