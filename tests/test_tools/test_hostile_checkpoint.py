"""No tool runs code from a checkpoint; errors of data-loader workers end as one message."""
import os
import runpy
import sys

import pytest
import torch
from mmengine.runner import CheckpointLoader
from PIL import Image

from mmwhitebox.apis import init_model
from mmwhitebox.cli.running import exit_message
from mmwhitebox.errors import CheckpointError, ImageReadError
from tests.configs import ROOT, reduced

MINI = ROOT / 'configs' / 'cbt_decoder/cbt_decoder_mini_ade20k.py'


class Hostile:
    """Unpickling it creates a folder."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim), )


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A hostile checkpoint, an image, and the folder that must never appear."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    torch.save(dict(state_dict={}, extra=Hostile(tmp_path / 'victim')), tmp_path / 'hostile.pth')
    Image.new('RGB', (32, 32)).save(tmp_path / 'photo.png')
    return tmp_path


COMMANDS = {
    'train.py': lambda root: [MINI, '--work-dir', root / 'work', '--resume', root / 'hostile.pth'],
    'test.py': lambda root: [MINI, root / 'hostile.pth', '--work-dir', root / 'work'],
    'infer.py': lambda root: [MINI, root / 'hostile.pth', root / 'photo.png', '--out', root / 'out'],
    'export.py': lambda root: [MINI, root / 'hostile.pth', '--format', 'safetensors', '--out', root / 'm.safetensors'],
    'model_converters/convert_official.py': lambda root: [
        root / 'hostile.pth', root / 'out.pth', '--family', 'cbt-decoder'],
}


@pytest.mark.parametrize('tool', COMMANDS)
def test_no_tool_runs_code_from_a_checkpoint(tool, trap, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, COMMANDS[tool](trap))])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert 'hostile.pth was refused' in str(caught.value.code) and 'mkdir' in str(caught.value.code)
    assert not (trap / 'victim').exists()


def test_the_api_refuses_it_unless_it_is_trusted(trap):
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    with pytest.raises(CheckpointError, match='was refused'):
        init_model(cfg, str(trap / 'hostile.pth'), device='cpu')
    assert not (trap / 'victim').exists()
    with pytest.raises(CheckpointError, match='is not of this model'):
        init_model(cfg, str(trap / 'hostile.pth'), device='cpu', trust_checkpoint=True)
    assert (trap / 'victim').exists()


def test_an_error_in_a_data_loader_worker_ends_as_its_message():
    text = ('Caught ImageReadError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
            '  File "x.py", line 1, in read_image\nmmwhitebox.errors.ImageReadError: a.jpg: cannot read this image.\n')
    assert exit_message(ImageReadError(text)) == 'error: a.jpg: cannot read this image.'
    assert exit_message(ImageReadError('a.jpg: no such image file.')) == 'error: a.jpg: no such image file.'
