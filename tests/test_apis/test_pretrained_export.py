"""From a training to its folder: which checkpoint, which weights, what is said of them; commands take the folder."""
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmwhitebox.apis import export_pretrained, export_work_dir, from_pretrained, init_model, save_pretrained
from mmwhitebox.apis.pretrained.results import read_scores, results, validation_of
from mmwhitebox.cli.main import build_parser
from mmwhitebox.cli.options import parse
from mmwhitebox.errors import UserError
from tests.test_apis.pretrained_models import small_classifier, small_segmentor
from tests.test_engine.trainings import make_config, write_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    write_images(folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands are called in a folder of their own, without what costs seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['/bin/mmwhitebox', 'train'])
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))


def call(*argv):
    """A command as it is typed; its status."""
    args = parse(build_parser(), list(map(str, argv)))
    return args.run(args)


def write_config(images, task='seg', **options):
    """my.py: a training of four iterations."""
    cfg = make_config(images, 'unused', task, options={
        'train_cfg.max_iters': 4, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 4,
        'log_level': 'INFO', 'custom_imports': dict(imports=['tests.test_engine.trainings']), **options})
    cfg.pop('work_dir')
    cfg.dump('my.py')


def saved_is(folder, state_dict):
    found = load_file(Path(folder) / 'model.safetensors')
    return found.keys() == state_dict.keys() and all(torch.equal(found[key], state_dict[key]) for key in found)


def test_a_training_ends_with_a_folder_of_its_best_checkpoint(images, capfd):
    write_config(images, **{'default_hooks.checkpoint.save_best': 'mIoU',
                            'val_evaluator': dict(type='mmwhitebox.IoUMetric', bootstrap=100)})
    call('train', 'my.py')
    said = capfd.readouterr().out
    assert ("To keep and to share: work_dirs/my/pretrained, loaded by "
            "mmwhitebox.apis.from_pretrained('work_dirs/my/pretrained')") in said
    folder = Path('work_dirs/my/pretrained')
    best = next(Path('work_dirs/my').glob('best_mIoU_iter_*.pth'))
    assert saved_is(folder, torch.load(best)['state_dict'])
    info = json.loads((folder / 'config.json').read_text())
    kept = json.loads(Path('work_dirs/my/validation_classes.json').read_text())['best']['mIoU']
    metrics = info['metrics']
    assert metrics['scores']['mIoU'] == kept['score'] and metrics['on'] == 'validation'
    assert metrics['when'] == f'iteration {best.stem.rpartition("_")[2]}'
    assert metrics['intervals']['mIoU'] == [kept['scores']['mIoU_low'], kept['scores']['mIoU_high']]
    assert not any(name.endswith(('_low', '_high')) for name in metrics['scores'])
    assert set(metrics['classes']['IoU']) == {'x', 'y', 'z'}
    values = [value for value in metrics['classes']['IoU'].values() if value is not None]
    assert np.mean(values) == pytest.approx(kept['score'], abs=0.01)
    assert info['name'] == 'my' and info['weights'] == 'trained' and info['recipe']['length'] == '4 iterations'
    assert info['recipe']['augmentation'].startswith('RandomResize, RandomCrop, RandomFlip')
    assert info['recipe']['data'] == 'seg'  # one's own data by its folder
    assert str(images) not in (folder / 'config.json').read_text() + (folder / 'README.md').read_text()
    # the same from the work dir, elsewhere, and with results of a test
    call('export', 'work_dirs/my', '--format', 'pretrained', '--out', 'shared', '--licence', 'mit')
    assert capfd.readouterr().out.splitlines()[-1] == f'shared: the model of work_dirs/my/{best.name}'
    for name in ('model.safetensors', 'config.json'):
        assert (Path('shared') / name).read_bytes() == (folder / name).read_bytes()
    assert 'license: mit' in Path('shared/README.md').read_text()
    # commands take it in the place of config and checkpoint
    shutil.rmtree('work_dirs')
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save('photo.png')
    assert call('infer', 'shared', 'photo.png', '--out', 'seen') == 0 and Path('seen/labels/photo.png').is_file()
    assert call('infer', '--out', 'seen', 'shared/', 'photo.png', '--overwrite') == 0
    call('export', 'shared', 'shared/model.safetensors', '--format', 'safetensors', '--out', 'file.safetensors')
    assert saved_is('shared', load_file('file.safetensors'))


def test_a_folder_that_cannot_be_written_is_a_warning(images, capfd):
    write_config(images, 'cls')
    Path('work_dirs/my').mkdir(parents=True)
    Path('work_dirs/my/pretrained').write_text('in the way')
    call('train', 'my.py')
    said = capfd.readouterr()
    assert re.search('The model is not saved as a folder to share: .*pretrained is a file', said.out + said.err)
    assert 'The training is done.' in said.out and 'To keep' not in said.out


def test_averages(images, capfd):
    """mmengine's hook saves the average as the model, ours beside it."""
    for hook, beside in (('EMAHook', False), ('mmwhitebox.BesideEMAHook', True)):
        write_config(images, custom_hooks=[dict(type=hook, momentum=0.5)])
        work = f'work_dirs/{hook}'
        call('train', 'my.py', '--work-dir', work)
        checkpoint = torch.load(f'{work}/iter_4.pth')
        average = {key.removeprefix('module.'): value for key, value in checkpoint['ema_state_dict'].items()
                   if key.startswith('module.')}
        assert not torch.equal(average['backbone.norm.weight'], checkpoint['state_dict']['backbone.norm.weight'])
        assert saved_is(f'{work}/pretrained', average if beside else checkpoint['state_dict'])
        info = json.loads(Path(work, 'pretrained/config.json').read_text())
        assert info['weights'] == 'averaged'
        assert (info['metrics'] is None) == beside  # what was validated were the trained weights
        assert not beside or 'None are known of these weights' in Path(work, 'pretrained/README.md').read_text()


def test_an_encoder_that_was_trained_without_labels(images):
    write_config(images, 'mae')
    call('train', 'my.py')
    encoder = from_pretrained('work_dirs/my/pretrained', 'cpu')
    state = torch.load('work_dirs/my/iter_4.pth')['state_dict']
    assert torch.equal(encoder.norm.weight, state['backbone.norm.weight'])
    assert json.loads(Path('work_dirs/my/pretrained/config.json').read_text())['part'] == 'backbone'


def test_a_work_dir_and_its_mistakes(tmp_path, capsys):
    with pytest.raises(UserError, match='nowhere is no folder'):
        export_work_dir('nowhere')
    work = tmp_path / 'work'
    work.mkdir()
    with pytest.raises(UserError, match='work has no checkpoint'):
        export_work_dir(work)
    models = {}
    for name in ('iter_10.pth', 'best_mIoU_iter_5.pth'):
        models[name] = init_model(small_segmentor(), device='cpu')
        torch.save(dict(meta=dict(iter=10, epoch=0, time='20260101_000000'), message_hub=dict(), optimizer={},
                        state_dict=models[name].state_dict()), work / name)
    with pytest.raises(UserError, match='work has no config'):
        export_work_dir(work)
    small_segmentor().dump(work / 'mine.py')
    folder, checkpoint = export_work_dir(work)
    assert (folder, checkpoint) == (work / 'pretrained', work / 'best_mIoU_iter_5.pth')
    assert saved_is(folder, models['best_mIoU_iter_5.pth'].state_dict())
    (work / 'best_mIoU_iter_5.pth').unlink()
    assert export_work_dir(work)[1] == work / 'iter_10.pth' and saved_is(folder, models['iter_10.pth'].state_dict())
    for argv, match in (
            (['work', '--format', 'onnx'], 'CHECKPOINT is missing'),
            (['work/pretrained', '--format', 'pretrained'], 'is the folder of a pretrained model already'),
            (['work', '--format', 'pretrained', '--dynamic'], '--dynamic is not for --format pretrained'),
            (['work', '--format', 'pretrained', '--cfg-options', 'a=1'], '--cfg-options changes a config'),
            (['work/mine.py', 'work/iter_10.pth', '--format', 'pretrained'], '--out FOLDER is missing'),
            (['work/mine.py', 'work/iter_10.pth', '--format', 'onnx', '--scores', 'x', '--out', 'x.onnx'],
             '--scores is not for --format onnx'),
            (['work', '--format', 'pretrained', '--scores', 'none.json'], 'none.json cannot be read: No such file')):
        with pytest.raises(UserError, match=match):
            call('export', *argv)


def test_results_are_of_the_checkpoint_or_not_there(tmp_path):
    kept = dict(best=dict(mIoU=dict(step=4, unit='iteration', scores=dict(mIoU=50., aAcc=float('nan')), confusion=None,
                                    path='/elsewhere/best_mIoU_iter_4.pth', metric='mIoU', score=50.)),
                last=dict(step=6, unit='iteration', scores=dict(mIoU=40.), confusion=None))
    (tmp_path / 'validation_classes.json').write_text(json.dumps(kept))
    assert validation_of(tmp_path / 'best_mIoU_iter_4.pth') == dict(
        on='validation', when='iteration 4', scores=dict(mIoU=50.))
    assert validation_of(tmp_path / 'iter_6.pth')['scores'] == dict(mIoU=40.)
    assert validation_of(tmp_path / 'iter_4.pth') is None and validation_of(tmp_path / 'iter_16.pth') is None
    kept['last'].update(unit='epoch')
    (tmp_path / 'validation_classes.json').write_text(json.dumps(kept))
    assert validation_of(tmp_path / 'epoch_6.pth') and validation_of(tmp_path / 'iter_6.pth') is None
    for broken in ('', '[]', '{}', '{"best": 5}', '{"best": {"a": {}}}'):
        (tmp_path / 'validation_classes.json').write_text(broken)
        assert validation_of(tmp_path / 'iter_6.pth') is None
    assert validation_of('nowhere/iter_6.pth') is None
    assert results('test', dict(a=1., a_low=0.5, a_high=2., b_low=3.)) == dict(
        on='test', scores=dict(a=1., b_low=3.), intervals=dict(a=[0.5, 2.]))


def test_scores_of_a_test(tmp_path):
    model = init_model(small_classifier(), device='cpu')
    torch.save(dict(state_dict=model.state_dict()), 'trained.pth')
    small_classifier().dump('mine.py')
    Path('scores.json').write_text(json.dumps(dict(
        config='mine.py', checkpoint='trained.pth', images=7, scores={'accuracy/top1': 60., 'x': None, 'm': 1,
                                                                      'm_low': 0, 'm_high': 2},
        classes={'Recall': {'cat': 50., 'dog': None}}, class_intervals={'Recall': {'cat': [40., 60.]}},
        bootstrap=dict(level=0.95, draws=50, seed=0))))
    call('export', 'mine.py', 'trained.pth', '--format', 'pretrained', '--out', 'folder', '--scores', 'scores.json')
    page = Path('folder/README.md').read_text()
    assert '| accuracy/top1 | 60.00 |' in page and '| m | 1.00 [0.00, 2.00] |' in page and '7 images' in page
    assert '| cat | 50.00 [40.00, 60.00] |' in page and '| dog | - |' in page and '| x |' not in page
    for broken in ('', '[]', '{}', '{"scores": 5}'):
        Path('scores.json').write_text(broken)
        with pytest.raises(UserError, match='scores.json cannot be read: it is not what'):
            read_scores('scores.json')


def test_a_folder_of_a_part_gives_no_predictions():
    model = init_model(small_classifier(), device='cpu')
    save_pretrained(model, 'part', part='backbone')
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save('photo.png')
    with pytest.raises(UserError, match=r'part holds a part of a model \(backbone\), which gives no predictions'):
        call('infer', 'part', 'photo.png')
    torch.save(dict(state_dict=model.state_dict()), 'other.pth')
    with pytest.raises(UserError, match='is not of this model'):
        export_pretrained(small_segmentor(), 'other.pth', 'folder')
    assert not Path('folder').exists()
