"""Any request to any address: an answer that is one of those documented, never a defect of the server."""
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmwhitebox.explorer import process
from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.models import Models
from mmwhitebox.explorer.runs import Asked
from mmwhitebox.explorer.safety import HEADERS
from tests.test_interpret.small import save_ade, save_model

from .conftest import explorer, save

KNOWN = {200, 201, 400, 403, 404, 405, 408, 413, 415, 422, 429, 503, 507}
BRIEF = dict(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
PIECES = ['api', 'models', 'images', 'run', 'export', 'static', 'thumbnail', 'index.html', 'main.js', '..', '', '0',
          '%2e%2e', '%00', '{image}', '?token=x', 'é', '%ff', '\\']
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(
    ['0', '1', '{image}', 'noise', 'none', 'refused', 'memory', 'softmax'])
KEYS = st.sampled_from(['model', 'image', 'what_if', 'kind', 'layer', 'runs', 'seed', 'scale', 'size']) | \
    st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
                      max_leaves=12)
RUNS = st.fixed_dictionaries({'model': st.just('0') | LEAVES, 'image': st.just('{image}') | LEAVES},
                             optional={'what_if': st.lists(VALUES, max_size=3) | VALUES})
BODIES = st.binary(max_size=400) | st.text(max_size=100) | VALUES | RUNS | st.builds(lambda runs: dict(runs=runs),
                                                                                     st.lists(RUNS, max_size=3))
ADDRESSES = ['/', '/api/models', '/api/images', '/api/run', '/api/export', '/api/images/{image}/thumbnail']
PATHS = st.sampled_from(ADDRESSES) | st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=5).map(
    lambda parts: '/' + '/'.join(parts))
NAMES = st.sampled_from(['Host', 'Origin', 'Sec-Fetch-Site', 'Content-Type', 'Content-Length', 'X-Name', 'Cookie',
                         'Authorization', 'Accept', 'Range', 'Expect', 'If-None-Match', 'X-Forwarded-Host'])
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20) | st.sampled_from(
    ['127.0.0.1:7860', 'evil.example', 'same-origin', 'cross-site', 'application/json', '-1', '9' * 30, 'bytes=0-',
     'null'])


@pytest.fixture(scope='module')
def client(tmp_path_factory):
    with explorer(Pictures([save(tmp_path_factory.mktemp('fuzz') / 'a.png')])) as client:
        yield client


def filled(value, image: str) -> bytes:
    """A body as bytes, with the id of an image where it says so."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace('{image}', image).encode('utf-8', 'surrogatepass')


@settings(max_examples=500, **BRIEF)
@given(method=st.sampled_from(['GET', 'POST', 'POST', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'X']),
       path=PATHS, body=BODIES, headers=st.dictionaries(NAMES, TEXTS, max_size=2))
@example('POST', '/api/run', dict(model='0', image='{image}', what_if=[dict(kind='none', scale=float('nan'))]), {})
def test_no_request_is_answered_by_a_defect(client, method, path, body, headers):
    image = next(iter(client.pictures.listed))
    address = quote(path.replace('{image}', image), safe='/%?=\\', errors='replace')
    answer = client.request(method, f'http://127.0.0.1:7860{address}', content=filled(body, image),
                            headers={name: value.encode('latin-1') for name, value in headers.items()})
    assert answer.status_code in KNOWN or answer.status_code == 500 and b'The computation failed' in answer.content
    assert b'Traceback' not in answer.content
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    if answer.status_code >= 400 and method != 'HEAD':
        error = answer.json()['error']
        assert list(answer.json()) == ['error'] and error and '\n' not in error and len(error) < 400


@pytest.fixture(scope='module')
def real(tmp_path_factory):
    """A small real model where the process of the models has one."""
    folder = tmp_path_factory.mktemp('real')
    ade = save_ade(folder / 'data', a=(64, 64))
    models = Models([tuple(save_model(folder, 'cbt_decoder_mini_ade20k.py', data_root=ade))], 'cpu')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, '_work', models)
        models.sample = models.load(0)['samples'][0]
        yield models


LAYERS = st.sampled_from([0, 1, 2, -1, 99, True, None, '0', 0.5])
ITEMS = st.fixed_dictionaries({'kind': st.sampled_from(['noise', 'head', 'skip', 'contraction', 'erase'])}, optional={
    'layer': LAYERS, 'head': LAYERS, 'scale': st.sampled_from([0.5, -1, 1e300, '1', None, []]),
    'seed': st.sampled_from([0, -1, 2**70, 1.5]), 'value': st.sampled_from(['softmax', 'inverse', None, 'x', 1]),
    'patches': st.sampled_from([[0], [-1], [10**9], [], 'x', [None]])})


@settings(max_examples=25, **BRIEF)
@given(what_if=st.lists(ITEMS | VALUES.filter(lambda value: isinstance(value, dict)), max_size=2))
def test_a_model_refuses_what_it_does_not_know_in_a_line(real, what_if):
    what_if = json.loads(json.dumps(what_if).replace('NaN', '0').replace('Infinity', '0'))
    done = process._do('explore', (Asked(0, 'a', 'a.jpg', real.sample, what_if), ))
    assert done.status == 200 and done.result[:4] == b'MMWB' or \
        done.status == 422 and done.result and '\n' not in done.result, done.result


@settings(max_examples=60, **BRIEF)
@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
@given(start=st.sampled_from([b'', b'\x89PNG\r\n\x1a\n', b'GIF89a', b'BM', b'II*\0', b'MM\0*', b'\xff\xd8\xff\xe0',
                              b'P6 ', b'RIFF\0\0\0\0WEBP']), rest=st.binary(max_size=200))
def test_no_bytes_are_read_by_a_defect(client, start, rest):
    answer = client.post('/api/images', content=start + rest)
    assert answer.status_code in (201, 413, 415)
    assert answer.status_code == 201 or answer.json()['error'].startswith('image: ')
    client.pictures.uploads.clear()
