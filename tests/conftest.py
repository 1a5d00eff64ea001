import gc
import os

os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():  # without a GPU the fused kernels run in Triton's interpreter
    os.environ.setdefault('TRITON_INTERPRET', '1')

from mmengine.registry import init_default_scope  # noqa: E402

import mmwhitebox  # noqa: E402, F401

torch.set_num_threads(1 if 'PYTEST_XDIST_WORKER' in os.environ else 2)  # with xdist, a worker for every core


def pytest_collection_finish() -> None:
    """Garbage is looked for among what the tests make, not in all that was imported: mmengine does so for every set."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True)
def fresh_state():
    """Every test starts from the same random state and scope, whatever ran before it."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
