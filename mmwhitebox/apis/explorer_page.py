"""The explorer's page with its data inside, as one HTML file: it opens from a disk and asks nothing of anybody."""
import base64
import hashlib
import json
import re
from collections.abc import Hashable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from .page_budget import LIMIT, fitting

if TYPE_CHECKING:
    from .exploration import Exploration

STATIC = files('mmwhitebox').joinpath('explorer', 'static')
STYLE = '<link rel="stylesheet" href="static/style.css">'
SCRIPT = '<script type="module" src="static/main.js"></script>'
CHARSET = '<meta charset="utf-8">'
BLOCK_LENGTH = 120
"""Bytes of a block without its data."""
IMPORT = re.compile(r"^import\s*(?:\{[^}]*\}\s*from\s*)?'\./([\w.-]+)';\n", re.MULTILINE)
EXPORT = re.compile(r'^export (?=(?:async )?function|class|const|let)', re.MULTILINE)


def page(explorations: 'Sequence[Exploration]', limit: int = LIMIT) -> str:
    """The page as one file.

    The program is one inline script, the only one that the file's content security policy lets run; data are blocks in
    base64, of which no name of a class or a file can break out.

    Args:
        explorations (Sequence[Exploration]): Of one or more models and images, disturbed or not; at least one.
        limit (int): Bytes of the page; what does not fit is left out, see :mod:`.page_budget`. Defaults to 25 million.

    Raises:
        UserError: There is too much data.
    """
    style, program = _read('style.css'), joined_modules('main.js')
    policy = (f"default-src 'none'; script-src '{_hash(program)}'; style-src '{_hash(style)}'; img-src data: blob:; "
              "base-uri 'none'; form-action 'none'")
    before, after = _split(_read('index.html'), SCRIPT)
    guard = f'{CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    before = ''.join(_split(before, CHARSET, guard))
    before = ''.join(_split(before, STYLE, f'<style>{style}</style>'))
    after = f'<script type="module">{program}</script>{after}'
    return '\n'.join([before, *_blocks(explorations, limit - len(before.encode()) - len(after.encode())), after])


def _split(text: str, mark: str, replacement: str = '') -> tuple[str, str]:
    """What is before the only place of a mark, with what replaces it, and what is after it."""
    before, after = text.split(mark)
    return before + replacement, after


def _read(name: str) -> str:
    return STATIC.joinpath(name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'


def joined_modules(name: str) -> str:
    """A module with all that it imports as one script: dependencies first, each once, no import and no export left."""
    done: list[str] = []
    parts: list[str] = []

    def add(module: str) -> None:
        done.append(module)
        text = _read(module)
        for needed in IMPORT.findall(text):
            if needed not in done:
                add(needed)
        parts.append(EXPORT.sub('', IMPORT.sub('', text)))

    add(name)
    return '\n'.join(parts)


def _blocks(explorations: 'Sequence[Exploration]', limit: int) -> list[str]:
    """A data block of each run, which says of which model and image it is."""
    limit -= len(explorations) * BLOCK_LENGTH
    models: dict[Hashable, int] = {}
    images: dict[Hashable, int] = {}
    blocks = []
    for number, (exploration, data) in enumerate(zip(explorations, fitting(explorations, limit))):
        image = exploration.header['image']
        model = models.setdefault(json.dumps(exploration.header['model'], sort_keys=True), len(models))
        picture = images.setdefault((image['name'], image['key']), len(images))
        blocks.append(f'<script type="application/octet-stream" id="run-{number}" data-model="{model}" '
                      f'data-image="{picture}">{base64.b64encode(data).decode()}</script>')
    return blocks
