"""What a person has who installed the wheel and has no checkout: the command, the configs by name, both dialects."""
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

from tests.configs import ROOT
from tests.test_interpret.small import save_ade

SMALL = [
    'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2',
    'train_dataloader.batch_size=2', 'train_dataloader.dataset.data_prefix.img_path=images/validation',
    'train_dataloader.dataset.data_prefix.seg_map_path=annotations/validation', 'model.backbone.model_kwargs.depth=1',
    *(f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
      for key in ('num_workers=0', 'persistent_workers=False', 'dataset.data_root=data')),
]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git would give."""
    folder = tmp_path_factory.mktemp('wheel')
    copy = folder / 'copy'
    copy.mkdir()
    for name in ('mmwhitebox', 'configs', 'tools'):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, copy)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-w', folder, copy],
                   check=True, capture_output=True)
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def environment(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel; what it depends on is lent by the environment of the tests."""
    folder = tmp_path_factory.mktemp('env')
    venv.create(folder, with_pip=False)
    packages = next(folder.glob('lib/python*/site-packages'))
    (packages / 'lent.pth').write_text(str(Path(torch.__file__).parents[1]) + '\n')
    subprocess.run([sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python', 'install', '-q', '--no-deps',
                    '--ignore-installed', wheel], check=True, capture_output=True)
    return folder


@pytest.fixture(scope='module')
def run(environment, tmp_path_factory):
    """A function that runs a program of the environment in an empty folder with a little data."""
    place = tmp_path_factory.mktemp('place')
    save_ade(place / 'data', a=(64, 80), b=(80, 64))
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}

    def program(*words, name='mmwhitebox'):
        done = subprocess.run([environment / 'bin' / name, *map(str, words)], cwd=place, text=True,
                              capture_output=True, env={**env, 'OMP_NUM_THREADS': '1'})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    program.place = place
    return program


@pytest.fixture(scope='module')
def commands(run):
    """A function that runs commands one after another, in one process of the environment; what each one prints."""
    code = """if True:
        import contextlib, io, json, sys
        from mmwhitebox.cli.main import main
        for words in json.loads(sys.argv[1]):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                try:
                    main(words)
                except SystemExit as ended:
                    assert not ended.code, (words, ended.code)
            print(json.dumps(printed.getvalue()))
        """

    def several(*words):
        printed = run('-c', code, json.dumps(words), name='python').splitlines()[-len(words):]
        return [json.loads(line) for line in printed]

    several.place = run.place
    return several


def test_it_is_the_wheel_that_runs(run, environment):
    assert run('-c', 'import mmwhitebox; print(mmwhitebox.__file__)', name='python').startswith(str(environment))
    assert run('--version').strip()


def test_a_model_is_trained_tested_used_looked_at_and_exported_by_name(commands):
    name, place = 'cbt_decoder_mini_ade20k', commands.place
    checkpoint, own = 'w/iter_2.pth', 'w/cbt_decoder_mini_ade20k.py'  # the config that the training wrote
    _, tested, inferred, *_ = commands(
        ['train', name, '--work-dir', 'w', '--cfg-options', *SMALL],
        ['test', name, checkpoint, '--work-dir', 't', '--cfg-options', *SMALL],
        ['infer', name, checkpoint, 'data/images/validation', '--cfg-options', *SMALL],
        ['measure', 'subspaces', own, checkpoint, '--out', 's'],
        ['explore', own, checkpoint, '--images', 'data/images/validation/a.jpg', '--export', 'page.html'],
        ['export', own, checkpoint, '--format', 'safetensors', '--out', 'm.safetensors'])
    assert 'mIoU' in tested and '2 of 2 images' in inferred
    assert (place / 'work_dirs' / 'infer' / 'labels' / 'a.png').is_file()
    assert (place / 's' / 'subspaces.png').is_file() and (place / 'page.html').stat().st_size > 10_000
    assert (place / 'm.safetensors.json').is_file()


def test_configs_are_packed_whole(environment):
    packages = next(environment.glob('lib/python*/site-packages')) / 'mmwhitebox'
    wanted = {path.relative_to(ROOT / 'configs') for path in (ROOT / 'configs').rglob('*')
              if path.suffix in ('.py', '.md', '.yml')}
    for folder in (packages / 'configs', packages / '.mim' / 'configs'):
        assert wanted <= {path.relative_to(folder) for path in folder.rglob('*')}
    assert (packages / '.mim' / 'tools' / 'train.py').is_file() and (packages / '.mim' / 'model-index.yml').is_file()
    assert not [path for path in packages.rglob('*') if path.is_symlink()]


def test_the_page_of_the_explorer_is_packed(environment):
    page, packed = (folder / 'mmwhitebox' / 'explorer' / 'static' for folder in (
        ROOT, next(environment.glob('lib/python*/site-packages'))))
    assert sorted(path.name for path in packed.iterdir()) == sorted(path.name for path in page.iterdir())
    assert (packed / 'index.html').is_file()


def test_an_installed_config_is_a_base(commands):
    (commands.place / 'text.py').write_text("_base_ = 'mmwhitebox::cbt_decoder_ade20k.py'\n")
    (commands.place / 'lazy.py').write_text('from mmengine.config import read_base\n\nwith read_base():\n'
                                            '    from mmwhitebox.configs.cbt_decoder_ade20k import *\n')
    for printed in commands(['config', 'text.py'], ['config', 'lazy.py']):
        assert "type='CBSA'" in printed.replace(' ', '')
