"""Bad input ends a tool with one message that says what to do, before anything is trained."""
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmwhitebox.cli.main import main
from mmwhitebox.config.reading import load_config
from mmwhitebox.engine.setup import use_amp
from mmwhitebox.errors import ConfigError, UserError
from tests.configs import ROOT, reduced

MINI = ROOT / 'configs' / 'cbt_decoder/cbt_decoder_mini_ade20k.py'


def run_tool(monkeypatch, name, *args):
    """Run a tool in this process; the message it exits with."""
    monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    return str(caught.value.code)


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """The mini config, whose data folder does not exist here."""
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{MINI}'\n"
                      f"train_dataloader = dict(dataset=dict(data_root='{tmp_path}/nowhere'))\n"
                      f"val_dataloader = dict(dataset=dict(data_root='{tmp_path}/nowhere'))\n"
                      'test_dataloader = val_dataloader\n')
    return config


def test_missing_config(monkeypatch, tmp_path):
    assert run_tool(monkeypatch, 'train.py', tmp_path / 'none.py').endswith('none.py.')


def test_missing_data_shows_the_layout(monkeypatch, tmp_path, no_data):
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'work')
    assert 'nowhere/images/training does not exist' in message
    assert 'Expected layout of ADE20KDataset' in message


def test_resume_without_a_checkpoint(monkeypatch, tmp_path, no_data):
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'work', '--resume')
    assert 'there is no checkpoint in' in message and 'Start without --resume' in message


def test_resume_from_a_missing_file(monkeypatch, tmp_path, no_data):
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'work', '--resume', 'x.pth')
    assert 'the checkpoint x.pth does not exist' in message


def test_work_dir_that_cannot_be_written(monkeypatch, tmp_path, no_data):
    (tmp_path / 'file').write_text('')
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'file' / 'work')
    assert 'is not writable' in message and '--work-dir' in message


def test_infer_with_a_missing_checkpoint_and_missing_images(monkeypatch, tmp_path):
    image = ROOT / 'none.jpg'
    assert 'no image there' in run_tool(monkeypatch, 'infer.py', MINI, 'x.pth', image, '--out', tmp_path)
    (tmp_path / 'photo.jpg').write_bytes(b'')
    message = run_tool(monkeypatch, 'infer.py', MINI, 'x.pth', tmp_path, '--out', tmp_path)
    assert 'Checkpoint x.pth does not exist' in message


def test_infer_with_the_checkpoint_of_another_model(monkeypatch, tmp_path):
    torch.save(dict(state_dict={'weight': torch.zeros(3)}), tmp_path / 'other.pth')
    (tmp_path / 'photo.jpg').write_bytes(b'')
    message = run_tool(monkeypatch, 'infer.py', MINI, tmp_path / 'other.pth', tmp_path, '--out', tmp_path)
    assert 'is not of this model' in message and 'keys the file lacks' in message


def test_print_config_shows_inherited_keys(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['print_config.py', str(MINI), '--cfg-options', 'optim_wrapper.optimizer.lr=7.0'])
    runpy.run_path(str(ROOT / 'tools' / 'print_config.py'), run_name='__main__')
    printed = capsys.readouterr().out
    assert "type='mmwhitebox.WhiteBoxMaskHead'" in printed and 'lr=7.0' in printed


@pytest.mark.parametrize('option, message', [
    ('train_dataloader.dataset.pipeline.99.scale=1', 'Index 99 exceeds the length of list'),
    ('model.decode_head.num_layers.x=1', "--cfg-options model.decode_head.num_layers.x=1: ")])
def test_an_override_that_does_not_fit(monkeypatch, option, message):
    said = run_tool(monkeypatch, 'print_config.py', MINI, '--cfg-options', option)
    assert message in said and '\n' not in said


@pytest.mark.skipif(torch.cuda.is_available(), reason='shows the message on a machine without a GPU')
def test_amp_without_a_gpu(monkeypatch, tmp_path, no_data):
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'work', '--amp')
    assert '--amp in float16 needs a GPU' in message and 'optim_wrapper.dtype=bfloat16' in message
    message = run_tool(monkeypatch, 'train.py', no_data, '--work-dir', tmp_path / 'work', '--amp',
                       '--cfg-options', 'optim_wrapper.dtype=bfloat16')  # as that message says
    assert 'nowhere/images/training does not exist' in message


@pytest.mark.parametrize('tool, args', [('train.py', ()), ('test.py', ('none.pth', )), ('check_dataset.py', ())])
def test_the_check_of_the_config_can_be_left_out(monkeypatch, tmp_path, no_data, tool, args):
    wrong = (no_data, *args, '--cfg-options', 'model.decode_head.atention=1')
    if tool != 'check_dataset.py':
        wrong = (*wrong, '--work-dir', tmp_path / 'work')
    assert "did you mean 'attention'" in run_tool(monkeypatch, tool, *wrong)
    message = run_tool(monkeypatch, tool, '--no-config-check', *wrong)
    assert 'atention' not in message and ('none.pth' in message or 'nowhere' in message)


def test_amp_takes_mmengine_s_wrapper(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and cfg.optim_wrapper.loss_scale == 'dynamic'
    cfg.optim_wrapper.type = 'OtherWrapper'
    with pytest.raises(UserError, match='the config has OtherWrapper'):
        use_amp(cfg)


def test_everything_that_contradicts_the_data_comes_in_one_message(monkeypatch, tmp_path):
    for folder in ('img', 'ann'):
        (tmp_path / folder).mkdir()
    Image.new('RGB', (8, 8)).save(tmp_path / 'img' / 'a.jpg')
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / 'ann' / 'a.png')
    data = (f"dataset=dict(_delete_=True, type='BaseSegDataset', data_root='{tmp_path}', "
            "data_prefix=dict(img_path='img', seg_map_path='ann'), metainfo=dict(classes=('rest', 'thing')), "
            "pipeline=[dict(type='mmwhitebox.LoadImage'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')])")
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{MINI}'\ntrain_dataloader = dict(num_workers=0, {data})\n"
                      f"val_dataloader = dict({data})\nval_evaluator = dict(iou_metrics=['mDice'])\n")
    lines = run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path / 'work').splitlines()
    assert [line.split(':')[0].strip().split(' ')[0] for line in lines] == [
        'error', 'train_dataloader', 'Numbers', "default_hooks.checkpoint.save_best='mIoU',",
        'train_dataloader.dataset']
    assert 'masks hold the labels 0, 255 alone' in lines[-1]


@pytest.mark.parametrize('value', ['-1', '0', 'many', '1.5'])
@pytest.mark.parametrize('words', [
    'infer c x.pth photos --batch-size', 'export c x.pth --format onnx --out m.onnx --batch', 'convert a b --num-heads',
    'report c x.pth --max-images', 'measure coding_rate c x.pth --max-images', 'measure perturbation c x.pth --repeats',
    'measure zero_shot_segmentation c x.pth --boundary-width'])
def test_options_that_count_are_positive(capsys, words, value):
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), value])
    option = words.split()[-1]
    assert ended.value.code == 2
    assert f'argument {option}: {value} is no positive integer' in capsys.readouterr().err


@pytest.mark.parametrize('value, said', [
    ('foo', 'foo is no KEY=VALUE'), ('x=[dict(type="A",k=[1,2])]', 'cannot be read')])
def test_an_override_that_is_none(capsys, value, said):
    with pytest.raises(SystemExit) as ended:
        main(['infer', 'c', 'x.pth', 'photos', '--cfg-options', value])
    assert ended.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('words', [
    'infer {c} x.pth {folder}', 'report {c} x.pth {folder}', 'measure subspaces {c} x.pth',
    'export {c} x.pth --format onnx --out {folder}/m.onnx'])
def test_a_misspelt_key_is_named_by_every_command(tmp_path, words):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.jpg')
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{MINI}'\nmodel = dict(decode_head=dict(num_layer=3))\n")
    with pytest.raises(SystemExit, match="model.decode_head.num_layer: unknown key; did you mean 'num_layers'"):
        main(words.format(c=config, folder=tmp_path).split())


def test_the_name_of_a_config_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cbt_tiny_imagenet').mkdir()
    (tmp_path / 'other').mkdir()
    assert load_config('cbt_tiny_imagenet').model.backbone.arch == 'cbt-tiny'
    with pytest.raises(ConfigError, match='other is a folder'):
        load_config('other')


@pytest.mark.parametrize('old', ['cbt_imagenet_mini', str(ROOT / 'configs' / 'cbt_imagenet_mini.py')])
def test_a_former_name_keeps_its_work_dir(old):
    assert load_config(old).work_dir == 'work_dirs/cbt_imagenet_mini'
