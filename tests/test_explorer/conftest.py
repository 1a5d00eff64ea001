"""The explorer with stand-ins for its models, and a folder of pictures."""
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.jobs import Jobs
from mmwhitebox.explorer.server import explorer_app

from .stand_in import StandIn

ADDRESS = 'http://127.0.0.1:7860'


@contextmanager
def explorer(pictures: Pictures | None = None, models: int = 1, args: tuple = (), factory=StandIn,
             **kwargs) -> Iterator[TestClient]:
    """A client of an explorer, with its ``jobs`` and ``pictures``; the stand-ins are ready."""
    pictures = pictures or Pictures()
    jobs = Jobs([f'model {number}' for number in range(models)], factory, args)
    with TestClient(explorer_app(pictures, jobs, **kwargs), ADDRESS, raise_server_exceptions=False) as client:
        client.jobs, client.pictures = jobs, pictures
        wait_until(lambda: all(state['ready'] != 'loading' for state in jobs.states))
        yield client


def wait_until(done, seconds: float = 90) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, 'it does not come'
        time.sleep(0.01)


def run(client: TestClient, image: str, *what_if: dict, model: str = '0', **kwargs):
    """The answer to a run."""
    return client.post('/api/run', json=dict(model=model, image=image, what_if=list(what_if)), **kwargs)


def save(path: Path, size: tuple[int, int] = (8, 6), seed: int = 0, **kwargs) -> Path:
    """A noise image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **kwargs)
    return path


@pytest.fixture(scope='package')
def folder(tmp_path_factory) -> Path:
    """Three pictures, one of them in a folder below, and a text."""
    root = tmp_path_factory.mktemp('pictures')
    save(root / 'a.png')
    save(root / 'b.jpg', (200, 100))
    save(root / 'below' / 'masked.png')
    (root / 'notes.txt').write_text('none of it')
    return root


@pytest.fixture(scope='package')
def shared(folder) -> Iterator[TestClient]:
    """An explorer of the folder, which no test of those that share it ends."""
    pictures = Pictures(sorted(folder.rglob('*.*g')), folder)
    with explorer(pictures, models=2, args=((), (1, ))) as client:
        client.names = {picture.name: key for key, picture in pictures.listed.items()}
        yield client
