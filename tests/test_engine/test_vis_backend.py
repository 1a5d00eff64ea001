"""Logged values on a full disk: left out, with one warning, and no half lines; without a folder there are none."""
import errno
import json
import uuid

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import vis_backend

from mmwhitebox.engine import SideBySideVisualizer, TolerantVisBackend


def test_values_that_cannot_be_written_are_left_out(tmp_path, monkeypatch):
    logger = MMLogger.get_instance('full_disk', log_file=str(tmp_path / 'log'), log_level='INFO')
    backend = TolerantVisBackend(str(tmp_path / 'vis'))
    backend.add_config(Config(dict(a=1)))
    backend.add_scalars(dict(loss=1.), step=1)

    def half(value, file, file_format):
        file.write(json.dumps(value)[:5])
        file.flush()
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(vis_backend, 'dump', half)
        backend.add_scalars(dict(loss=2.), step=2)
        backend.add_scalar('loss', 3., step=3)
    backend.add_scalars(dict(loss=4.), step=4)
    lines = [json.loads(line) for line in (tmp_path / 'vis' / 'scalars.json').read_text().splitlines()]
    assert [line['step'] for line in lines] == [1, 4]
    for handler in logger.handlers:
        handler.flush()
    assert (tmp_path / 'log').read_text().count('No space left') == 1


def test_a_visualizer_without_a_folder_leaves_it_out():
    with pytest.warns(UserWarning, match='provide the `save_dir`'):
        visualizer = SideBySideVisualizer(uuid.uuid4().hex, vis_backends=[dict(type='mmwhitebox.TolerantVisBackend')])
    visualizer.add_config(Config(dict(a=1)))
    visualizer.add_scalars(dict(loss=1.))
