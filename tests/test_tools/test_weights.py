"""mmwhitebox weights: the list says what is known, and a file is fetched whole or not at all."""
import csv
import hashlib
import io
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch

from mmwhitebox.checkpoints.download import download
from mmwhitebox.checkpoints.loading import download_and_load
from mmwhitebox.checkpoints.official import released as module
from mmwhitebox.checkpoints.official.keys import FAMILIES
from mmwhitebox.checkpoints.official.released import Released, released
from mmwhitebox.cli.main import main
from mmwhitebox.config.names import config_path
from mmwhitebox.errors import CheckpointError
from tests.golden import Golden


@contextmanager
def server(data, cut=None, ranges=True):
    """A server of one file ``/w.pth``; the first answer ends after ``cut`` bytes. Yields its address and a log."""
    log = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            log.append(self.headers.get('Range'))
            if self.path != '/w.pth':
                return self.send_error(404)
            start = int(re.match(r'bytes=(\d+)-', self.headers['Range'])[1]) if ranges and self.headers['Range'] else 0
            if start >= len(data):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(data)}')
                self.send_header('Content-Length', '0')
                return self.end_headers()
            self.send_response(206 if start else 200)
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
            self.send_header('Content-Length', str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:cut if len(log) == 1 else None])
            self.close_connection = True

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.01, ), daemon=True).start()
    try:
        yield f'http://127.0.0.1:{httpd.server_port}/w.pth', log
    finally:
        httpd.shutdown()
        httpd.server_close()


DATA = bytes(range(256)) * 1000


def test_a_broken_download_goes_on_where_it_stopped(tmp_path):
    path, told = tmp_path / 'new' / 'w.pth', []
    with server(DATA, cut=100_000) as (url, log):
        with pytest.raises(CheckpointError, match='ended after 100000 of 256000 bytes.*w.pth.part keeps what has come'):
            download(url, path)
        assert not path.exists()
        download(url, path, hashlib.sha256(DATA).hexdigest(), lambda done, total: told.append((done, total)))
    assert path.read_bytes() == DATA and log == [None, 'bytes=100000-']
    assert told[0] == (100_000, 256_000) and told[-1] == (256_000, 256_000)
    assert [file.name for file in path.parent.iterdir()] == ['w.pth']


@pytest.mark.parametrize('left, ranges', [
    (DATA[:5000], False),  # a server that does not know Range sends the whole
    (DATA, True),  # nothing is missing but the last step
    (DATA + b'more', True),  # of a longer, older file
])
def test_what_an_earlier_download_left(tmp_path, left, ranges):
    (tmp_path / 'w.pth.part').write_bytes(left)
    with server(DATA, ranges=ranges) as (url, _):
        download(url, tmp_path / 'w.pth', hashlib.sha256(DATA).hexdigest())
    assert (tmp_path / 'w.pth').read_bytes() == DATA


def test_another_file_than_the_known_one_is_not_kept(tmp_path):
    with server(DATA) as (url, _), pytest.raises(CheckpointError, match='has the SHA-256 .*, not 0000: it is another'):
        download(url, tmp_path / 'w.pth', '0000')
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_is_not_kept(tmp_path):
    with server(b'<!DOCTYPE html><html>quota exceeded') as (url, _), \
            pytest.raises(CheckpointError, match=r'/w.pth is a web page.*Google Drive'):
        download(url, tmp_path / 'w.pth')
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_at_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    buffer = io.BytesIO()
    torch.save(dict(weight=torch.ones(2)), buffer)
    with server(buffer.getvalue()) as (url, log):
        for _ in range(2):
            assert torch.equal(download_and_load(url)['weight'], torch.ones(2))
    assert len(log) == 1
    with pytest.raises(CheckpointError, match='cannot be downloaded.*give the path of the file'):
        download_and_load(url.replace('w.pth', 'other.pth'))


def run(*args):
    """The command in this process; what it exits with, 0 if it succeeds."""
    try:
        main(['weights', *map(str, args)])
    except SystemExit as error:
        return error.code
    return 0


@pytest.fixture
def tost(tmp_path, monkeypatch):
    """A released file 'tiny' of the family tost: its bytes."""
    buffer = io.BytesIO()
    torch.save(dict(model=Golden('tost_model').params), buffer)
    entry = Released('tiny', 'tost', 'tost', 'nowhere', 'imagenet', url='http://127.0.0.1:9/w.pth',
                     sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    monkeypatch.setattr(module, 'released', lambda: dict(tiny=entry, linkless=Released(
        'linkless', 'tost', 'tost', 'a page', 'imagenet', link='dead')))
    return buffer.getvalue()


def test_get_fetches_verifies_converts_and_writes_the_config(tmp_path, tost, capsys):
    from mmwhitebox.apis import init_model
    with server(tost, cut=1000) as (url, log):
        args = 'get', 'tiny', '--url', url, '--sha256', hashlib.sha256(tost).hexdigest().upper(), '--out', tmp_path
        assert 'goes on there' in run(*args)
        assert run(*args) == 0 and len(log) == 2
    model = init_model(str(tmp_path / 'tiny.py'), str(tmp_path / 'tiny.pth'), 'cpu')
    assert model.head.num_classes == 10
    assert run('get', 'tiny', '--out', tmp_path) == 0  # what is there is verified and not fetched again
    assert sorted(file.name for file in tmp_path.iterdir()) == ['tiny.pth', 'tiny.py', 'tiny_official.pth']
    (tmp_path / 'tiny_official.pth').write_bytes(tost[:-1])
    assert 'it is another file, or damaged' in run('get', 'tiny', '--out', tmp_path)


def test_what_cannot_be_fetched_is_one_line(tmp_path, tost):
    with server(tost) as (url, _):
        missing = run('get', 'tiny', '--out', tmp_path, '--url', url.replace('w.pth', 'gone.pth'))
        wrong = run('get', 'tiny', '--out', tmp_path, '--url', url, '--sha256', 'ab')
    for message, said in [
            (missing, 'cannot be downloaded: the server says 404'),
            (wrong, 'it is another file, or damaged'),
            (run('get', 'tiny', '--out', tmp_path), 'http://127.0.0.1:9/w.pth cannot be downloaded: [Errno 111]'),
            (run('get', 'tiny', '--out', tmp_path, '--url', 'file:///etc/passwd'), 'no http or https address'),
            (run('get', 'linkless'), r'no direct link is known (published: a page; link: dead)'),
            (run('get', 'tinny'), 'similar: tiny'), (run('get'), 'give a name'), (run('list', 'tiny'), 'neither NAME')]:
        assert isinstance(message, str) and message.startswith('error: ') and '\n' not in message, message
        assert said in message, message
    assert list(tmp_path.iterdir()) == []


def test_the_list(capsys, tmp_path):
    assert run('--csv', tmp_path / 'list.csv') == 0
    lines = capsys.readouterr().out.splitlines()
    with open(tmp_path / 'list.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(lines) == len(rows) + 1 == len(released()) + 1
    by_name = {row['name']: row for row in rows}
    assert by_name['cbt_small']['reported'] == 'Top 1 Accuracy 71.4'
    assert by_name['segmenter_mask_large']['reported'] == 'mIoU 51.8'
    assert by_name['segmenter_mask_large']['mean / std'].startswith('0.5 0.5 0.5')
    assert by_name['crate_small']['reported'] == '' and by_name['crate_small']['link'].startswith('dead')
    assert by_name['cbt_small']['licence'] == '' and by_name['cbt_small']['link'] == 'not looked'


def test_the_list_says_what_timm_says_and_names_what_there_is():
    for entry in released().values():
        assert entry.family in FAMILIES
        assert entry.config is None or config_path(entry.config)
    for name, entry in released().items():
        if not name.startswith('dino'):
            assert entry.url is None
            continue
        kind, size, *rest = name.split('_')
        extra = 'reg4_' if rest == ['registers'] else ''
        timm_name = {'dino': f'vit_{size}_patch{rest[0][1:] if rest else ""}_224.dino',
                     'dinov2': f'vit_{size}_patch14_{extra}dinov2.lvd142m',
                     'dinov3': f'vit_{size}_patch16_dinov3.lvd1689m'}[kind]
        cfg = timm.get_pretrained_cfg(timm_name)
        assert (entry.url or '', entry.licence) == (cfg.url or '', cfg.license)
        assert cfg.mean == (0.485, 0.456, 0.406) and entry.statistics == 'imagenet'
