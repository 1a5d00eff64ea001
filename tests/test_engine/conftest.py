"""What the tests of whole trainings share."""
from types import SimpleNamespace

import pytest
import torch

from tests.test_engine.trainings import write_images


@pytest.fixture(scope='module')
def quick():
    """Trainings without what costs seconds and changes nothing: several threads, pauses, the looks of a config."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """Folder of the images that the trainings read."""
    folder = tmp_path_factory.mktemp('images')
    write_images(folder)
    return folder
