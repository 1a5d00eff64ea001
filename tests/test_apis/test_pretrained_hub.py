"""Names on the hub: fetched from a server, then from the cache without one; what goes wrong is said in one line."""
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from mmwhitebox.apis import from_pretrained, init_model, push_to_hub, save_pretrained
from mmwhitebox.errors import CheckpointError, UserError
from tests.test_apis.pretrained_models import small_classifier

COMMIT = 'a' * 40


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that fetching a snapshot takes; ``files`` and ``asked`` are the server's."""

    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **headers}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition('?')[0]
        self.server.asked.append((self.command, path))
        if 'me/model' not in path:
            return self.answer(404, X_Error_Code='RepoNotFound')
        if path.startswith('/api/models/'):
            if 'other' in path:
                return self.answer(404, X_Error_Code='RevisionNotFound')
            files = [dict(type='file', rfilename=name, path=name, size=len(content), oid=COMMIT)
                     for name, content in self.server.files.items()]
            found = files if '/tree/' in path else dict(id='me/model', sha=COMMIT, siblings=files, tags=[])
            return self.answer(200, json.dumps(found).encode(), Content_Type='application/json')
        content = self.server.files[path.rpartition('/')[2]]
        return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def log_message(self, *args):
        """Silence."""


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return init_model(small_classifier(), device='cpu')


@pytest.fixture
def folder(model, tmp_path):
    return save_pretrained(model, tmp_path / 'saved')


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A server with the files of a saved model, and others; the client knows no other one."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.files.update({'pytorch_model.bin': b'pickle', 'modeling.py': b'raise SystemExit'})
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01, ), daemon=True)  # how soon it ends
    thread.start()
    address = f'http://127.0.0.1:{server.server_port}'
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'ENDPOINT', address)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', address + '/{repo_id}/resolve/{revision}/{filename}')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def same(model, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_name_is_fetched_once_and_then_from_the_cache(hub, model, monkeypatch):
    assert same(model, from_pretrained('me/model', 'cpu'))
    fetched = {path.rpartition('/')[2] for command, path in hub.asked if '/resolve/' in path}
    assert fetched == {'model.safetensors', 'config.json', 'README.md', 'preprocessor_config.json'}
    hub.asked.clear()
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert same(model, from_pretrained('me/model', 'cpu')) and hub.asked == []


@pytest.mark.parametrize('name, revision, match', [
    ('me/nothing', None, 'me/nothing is no folder here, and cannot be had from the hub: there is no such repository'),
    ('me/model', 'other', 'me/model is no folder here, and cannot be had from the hub: there is no such revision')])
def test_what_the_hub_does_not_have(hub, name, revision, match):
    with pytest.raises(UserError, match=match) as caught:
        from_pretrained(name, 'cpu', revision=revision)
    assert '\n' not in str(caught.value)


def test_without_a_network(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(UserError, match='cannot be had from the hub') as caught:
        from_pretrained('me/model', 'cpu')
    assert '\n' not in str(caught.value) and hub.asked == []


@pytest.mark.parametrize('name', ['nothing', 'a/b/c', '../x', '/nowhere/model', 'http://localhost/x', 'a b/c', '-x/y'])
def test_what_is_neither_a_folder_nor_a_name(hub, name):
    with pytest.raises(UserError, match='there is no such folder, and a name on the hub is USER/MODEL'):
        from_pretrained(name, 'cpu')
    assert hub.asked == []


def test_a_folder_is_put_there(folder, monkeypatch):
    calls = []

    class Api:
        """Notes what is asked of it."""

        def create_repo(self, repo_id, **options):
            calls.append(('create', repo_id, options))

        def upload_folder(self, **options):
            calls.append(('upload', options))
            return SimpleNamespace(commit_url='http://hub/commit')

    monkeypatch.setattr(huggingface_hub, 'HfApi', Api)
    (folder / 'secret.txt').write_text('mine')
    assert push_to_hub(folder, 'me/model', private=True, revision='try') == 'http://hub/commit'
    assert calls[0] == ('create', 'me/model', dict(private=True, exist_ok=True))
    assert calls[1][1]['folder_path'] == folder and calls[1][1]['revision'] == 'try'
    assert set(calls[1][1]['allow_patterns']) == {'model.safetensors', 'config.json', 'README.md',
                                                  'preprocessor_config.json'}
    (folder / 'model.safetensors').unlink()
    for given, repo, error in ((folder, 'me/model', CheckpointError), (folder / 'x', 'me/model', CheckpointError),
                               (folder, 'model', UserError)):
        with pytest.raises(error):
            push_to_hub(given, repo)
    assert len(calls) == 2


def test_the_hub_refuses(hub, folder):
    with pytest.raises(UserError, match='saved cannot be put on the hub as me/other: ') as caught:
        push_to_hub(folder, 'me/other')
    assert '\n' not in str(caught.value)
