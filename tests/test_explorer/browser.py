"""The explorer with small models in this process, and a browser to look at it with."""
import asyncio
import csv
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

from mmwhitebox.apis import init_model
from mmwhitebox.apis.explore import describe_model
from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.models import Models
from mmwhitebox.explorer.server import explorer_app
from tests.configs import reduced

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
HOSTILE = '<img src=x onerror="document.title=1">'
CONFIGS = ('cbt_decoder/cbt_decoder_mini_ade20k', 'cbt/cbt_mini_imagenet', 'crate/crate_mini_imagenet',
           'tost/tost_mini_imagenet', 'dmst/dmst_mini_imagenet')


def small_model(name: str, seed: int = 0):
    """A model of one or two layers with random weights; one of its classes is called :data:`HOSTILE`."""
    torch.manual_seed(seed)
    model = init_model(reduced(name), device='cpu')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # also those that start from zero or one
    model.dataset_meta = {**model.dataset_meta, 'classes': (HOSTILE, *model.dataset_meta['classes'][1:])}
    return model


def save_scene(path: Path, width: int = 96, height: int = 64) -> Path:
    """A picture with areas: sky, ground, and a house."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([80 + x, 140 + y // 2, 220 - y], -1)
    image[height // 2:] = [60, 120, 50]
    image[height // 3:2 * height // 3, width // 3:width // 2] = [170, 60, 40]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(path)
    return path


class Masks:
    """The truth of one picture: class 0 above, class 1 below, and a stripe without any."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.array = np.zeros(Image.open(path).size[::-1], np.uint8)
        self.array[len(self.array) // 2:] = 1
        self.array[:3] = 255

    def labels(self, path: str) -> np.ndarray | None:
        return self.array if path == self.path else None


class JobsHere:
    """Models that answer in this process, one after another."""

    def __init__(self, models: Sequence, masks: Masks) -> None:
        self.models, self.masks = Models([]), masks
        self.models.loaded = {number: (model, describe_model(model), masks) for number, model in enumerate(models)}
        self.states = [dict(facts, ready=True, message='') for _, facts, _ in self.models.loaded.values()]
        self.turn = asyncio.Lock()

    def start(self) -> None:
        pass

    def load(self, pictures: Pictures) -> None:
        pictures.learn([], [self.masks.path])

    def stop(self) -> None:
        pass

    async def explore(self, asked) -> bytes:
        async with self.turn:
            return await asyncio.to_thread(self.models.explore, asked)

    async def page(self, runs) -> bytes:
        async with self.turn:
            return await asyncio.to_thread(self.models.page, runs)


@contextmanager
def served(models: Sequence, folder: Path, masked: Path) -> Iterator[str]:
    """The address of an explorer."""
    from mmwhitebox.explorer.listening import listen

    pictures = Pictures(sorted(folder.iterdir()), folder)
    listening = listen('127.0.0.1', 0)
    app = explorer_app(pictures, JobsHere(models, Masks(masked)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws='none'))
    thread = threading.Thread(target=server.run, args=([listening], ))
    thread.start()
    try:
        yield f'http://127.0.0.1:{listening.getsockname()[1]}/'
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def chromium(*args: str) -> Iterator:
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if CHROMIUM is None:
        pytest.skip('there is no chromium')
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', *args])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the explorer that is open; errors of its scripts fail the test.

    Args:
        browser: From :func:`chromium`.
        address (str): What is opened, with what stands behind the #.
        **context: Of the browser's context: ``viewport``, ``color_scheme``, ...
    """

    def __init__(self, browser, address: str, **context) -> None:
        self.context = browser.new_context(**{'viewport': dict(width=1280, height=900), **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.on('console', lambda line: self.errors.append(line.text) if line.type == 'error' else None)
        self.page.goto(address)
        self.panel = self.page.locator('.panel').first

    def wait(self) -> 'Tab':
        """Until the first run is shown."""
        self.page.locator('.panel .columns').first.wait_for()
        self.settle()
        return self

    def show(self, state: str) -> 'Tab':
        """What stands behind the # of an address, with the first picture; all else is as when the page was opened."""
        self.page.mouse.move(0, 0)
        self.page.evaluate('''state => {
            document.activeElement.blur();
            document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
            document.getElementById('error').hidden = true;
            history.replaceState(null, '', '#');
            location.hash = state;
        }''', state)
        return self.wait()

    def settle(self) -> None:
        """Until what was asked for is there and drawn."""
        frames = '() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))'
        self.page.evaluate(frames)
        self.page.locator('#progress').wait_for(state='hidden')
        self.page.evaluate(frames)

    def figure(self, name: str):
        """A figure of the first model."""
        return self.panel.locator(f'[data-figure={name}]')

    def saved(self, name: str, kind: str) -> Path:
        """What a figure saves; the pointer stays where it is."""
        with self.page.expect_download() as download:
            button = self.figure(name).locator(f'.{kind}')
            button.evaluate('button => button.focus({preventScroll: true})')
            self.page.keyboard.press('Enter')  # of what no person did, a browser saves ten files alone
        return Path(download.value.path())

    def numbers(self, name: str) -> list[dict]:
        """The numbers of a figure, from its CSV."""
        with self.saved(name, 'csv').open(newline='', encoding='utf-8') as file:
            return list(csv.DictReader(file))

    def map(self, name: str, shape: tuple) -> np.ndarray:
        """The maps of a figure, (maps, *grid), from its CSV."""
        return np.array([float(list(row.values())[3]) for row in self.numbers(name)]).reshape(-1, *shape)

    def point(self, x: float, y: float, click: bool = False) -> None:
        """Move to, or click, a place of the picture in shares of its sides."""
        canvas = self.panel.locator('.stage canvas')
        box = canvas.bounding_box()
        place = dict(x=x * box['width'], y=y * box['height'])
        canvas.click(position=place) if click else canvas.hover(position=place)
        self.settle()

    def close(self) -> None:
        self.context.close()
        self.check()

    def check(self) -> None:
        """That no script had an error."""
        errors, self.errors = self.errors, []
        assert not errors, errors
