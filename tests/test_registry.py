"""Names resolve in a fresh process, from any folder, in both config dialects; errors show themselves."""
import os
import subprocess
import sys
import tomllib

import pytest
import torch

from mmwhitebox.cli import doctor
from mmwhitebox.cli.main import main
from mmwhitebox.models.attention import BaseAttention, build_attention
from mmwhitebox.ops import self_check
from mmwhitebox.registry import ATTENTIONS
from tests.configs import ROOT

HEAD = """dict(type={type}, in_channels=8, channels=8, num_classes=3, num_layers=1,
         attention=dict(type={attention}, num_heads=2, pool_size=2))"""


BUILD = """
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.registry import MODELS
cfg = Config.fromfile('config.py')
init_default_scope('mmseg')
import sys
assert 'mmwhitebox' not in sys.modules or {lazy}
print(type(MODELS.build(cfg.model)).__name__)
"""


@pytest.mark.parametrize('lazy', [False, True], ids=['text dialect', 'python dialect'])
def test_fresh_process_in_another_folder(fresh, tmp_path, lazy):
    if lazy:
        text = ('from mmwhitebox.models.attention import CBSA\n'
                'from mmwhitebox.models.decode_heads import WhiteBoxMaskHead\n'
                'from mmengine.config import read_base\n'
                'model = ' + HEAD.format(type='WhiteBoxMaskHead', attention='CBSA'))
    else:
        text = 'model = ' + HEAD.format(type="'mmwhitebox.WhiteBoxMaskHead'", attention="'CBSA'")
    (tmp_path / 'config.py').write_text(text)
    done = fresh.run(BUILD.format(lazy=lazy), tmp_path)
    assert done.stdout.strip().endswith('WhiteBoxMaskHead'), done.stderr


def test_an_import_error_inside_the_package_surfaces_as_itself(fresh, tmp_path):
    """A module that cannot be imported must not be reported as a name missing from a registry."""
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'timm.py').write_text("raise ImportError('this timm is broken')")
    (tmp_path / 'config.py').write_text(
        'model = ' + HEAD.format(type="'mmwhitebox.WhiteBoxMaskHead'", attention="'CBSA'"))
    done = fresh.run(BUILD.format(lazy=True), tmp_path, tmp_path / 'broken')
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == 'ImportError: this timm is broken'


def test_unknown_attention_lists_the_known_ones():
    with pytest.raises(KeyError, match='Unknown attention type \'CSBA\'. Known types: .*CBSA.*MHSA.*MSSA'):
        build_attention(dict(type='CSBA'), embed_dims=8)


def test_wrong_argument_names_the_class():
    with pytest.raises(TypeError, match='CBSA: .*pool'):
        build_attention(dict(type='CBSA', num_heads=2, pool=3), embed_dims=8)


def test_every_attention_is_an_attention_module():
    assert {'CBSA', 'MSSA', 'MSCA', 'MHSA'} <= set(ATTENTIONS.module_dict)
    assert all(issubclass(cls, BaseAttention) for cls in ATTENTIONS.module_dict.values())


def test_doctor_reports_no_problem_here(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['doctor'])
    printed = capsys.readouterr().out
    for name in ('torch', 'onedl-mmsegmentation', 'Triton', 'Nothing is wrong.'):
        assert name in printed


def test_doctor_works_in_a_broken_environment_and_names_the_error(fresh, tmp_path):
    (tmp_path / 'timm.py').write_text("raise ImportError('this timm is broken')")
    done = fresh.run("import runpy; runpy.run_module('mmwhitebox.doctor', run_name='__main__')", tmp_path, tmp_path)
    assert done.returncode == 1
    assert 'import timm fails: ImportError: this timm is broken' in done.stdout
    assert 'mend it: pip install' in done.stdout


@pytest.mark.slow
def test_doctor_names_an_upstream_package_beside_its_fork(tmp_path):
    (tmp_path / 'mmcv-2.1.0.dist-info').mkdir()
    (tmp_path / 'mmcv-2.1.0.dist-info' / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmcv\nVersion: 2.1.0\n')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'mmwhitebox.doctor'], text=True,
                          capture_output=True, env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 1
    assert 'wrong: mmcv 2.1.0 overwrites the files of onedl-mmcv' in done.stdout
    assert 'mend it: pip uninstall -y mmcv onedl-mmcv && pip install "onedl-mmcv>=' in done.stdout


@pytest.mark.slow
def test_doctor_compares_the_kernels():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'mmwhitebox', 'doctor', '--gpu'], text=True,
                          capture_output=True, env={**os.environ, 'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': ''})
    rows = [line.split('|')[1:-1] for line in done.stdout.splitlines() if line.startswith('|')][1:]
    assert done.returncode == 0 and len(rows) == 12 and {row[6].strip() for row in rows} == {'agrees'}


def test_doctor_names_kernels_that_disagree(monkeypatch, capsys):
    cpu = torch.device('cpu')
    monkeypatch.setenv('TRITON_INTERPRET', '1')
    monkeypatch.setattr(self_check, 'compare_kernels', lambda device: [
        self_check.Comparison('tssa', cpu, torch.float32, 1e-7, dict(w=2e-7, temp=3e-7), 1e-4, 0.5, True, ''),
        self_check.Comparison('cbsa', cpu, torch.float16, 0.5, dict(w=0.1), 1e-2, 0.5, False, 'its kernels disagree')])
    with pytest.raises(SystemExit) as ended:
        main(['doctor', '--gpu'])
    printed = capsys.readouterr().out
    assert ended.value.code == 1
    assert '3.0e-07 (temp)' in printed and '1.0e-01 (w)' in printed and 'its kernels disagree' in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_doctor_without_a_gpu(monkeypatch):
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    with pytest.raises(SystemExit, match='error: --gpu: torch sees no GPU'):
        main(['doctor', '--gpu'])


def test_doctor_knows_what_the_package_needs():
    wanted = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['dependencies']
    assert dict(line.split('>=') for line in wanted) == doctor.REQUIRED


def test_a_package_that_is_absent_leads_to_the_doctor(tmp_path):
    (tmp_path / 'argcomplete.py').write_text("raise ImportError('no argcomplete')")
    done = subprocess.run([sys.executable, '-m', 'mmwhitebox', '--help'], text=True, capture_output=True, cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'})
    assert done.returncode == 1
    assert done.stderr == 'error: no argcomplete. What is missing, and how to get it: python -m mmwhitebox.doctor\n'
