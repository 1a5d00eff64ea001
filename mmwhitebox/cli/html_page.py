"""The frame of the pages that commands write: one file that loads nothing, for a phone and for dark rooms too."""
import base64
import html
import io
from collections.abc import Mapping
from string import Template

import numpy as np
from PIL import Image

from mmwhitebox import __version__

SIDE = 280

PAGE = Template('''<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --text: #222; --faint: #555; --back: #fff; --line: #ddd; --bar: #56b4e9; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --faint: #aaa; --back: #181818; --line: #444; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 60rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; } h3 { font-size: 1rem; margin: 0; }
pre { overflow-x: auto; font-size: .75rem; } .findings p { margin: .2rem 0; font-size: .9rem; }
.facts, .absent { color: var(--faint); font-size: .9rem; }
figure { margin: .8rem 0; overflow-x: auto; } img { max-width: 100%; height: auto; }
figure.wide img { max-width: none; width: 100%; min-width: 40rem; }
nav a { margin-right: 1rem; } footer { margin-top: 3rem; color: var(--faint); font-size: .8rem; }
$style</style></head><body>
<h1>$title</h1>
<p class="facts">$facts</p>
<nav>$links</nav>
$body
<footer>mmwhitebox $version</footer>
</body></html>
''')


def page(title: str, facts: str, links: Mapping[str, str], body: str, style: str = '') -> str:
    """A page.

    Args:
        title (str): Text.
        facts (str): Text below the title.
        links (Mapping[str, str]): Id of a part of the page -> text of a link to it.
        body (str): HTML.
        style (str): CSS of what is peculiar to the page. Defaults to none.
    """
    return PAGE.substitute(
        title=html.escape(title), facts=html.escape(facts), body=body, style=style, version=__version__,
        links=''.join(f'<a href="#{html.escape(name)}">{html.escape(text)}</a>' for name, text in links.items()))


def text(words: object) -> str:
    """Words as HTML; bytes of names that are no UTF-8 become question marks."""
    return html.escape(str(words).encode('utf-8', 'replace').decode())


def shrunk(image: np.ndarray) -> np.ndarray:
    """An RGB image with sides of at most ``SIDE``, (h, w, 3) uint8."""
    small = Image.fromarray(np.ascontiguousarray(image))
    small.thumbnail((SIDE, SIDE))
    return np.asarray(small)


def encoded(image: np.ndarray) -> bytes:
    """An RGB image as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=80)
    return file.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    """An image that a page holds itself; ``kind`` is 'png', 'jpeg', ..."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
