"""Whatever the bytes of a checkpoint: the exact weights or a CheckpointError, no code, no memory beyond the file's."""
import io
import os
import pickle
import resource
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from mmwhitebox.checkpoints import load_weights, safe_load
from mmwhitebox.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings('ignore:Detected pickle protocol')
MEMORY = 1 << 30  # a hostile file may not take more than this, in bytes


def make_model():
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))


def serialise(form):
    """A checkpoint as bytes, and the weights in it."""
    torch.manual_seed(0)
    weights = make_model().state_dict()
    if form == 'safetensors':
        return save(weights), weights
    buffer = io.BytesIO()
    content = dict(state_dict=weights, meta=dict(epoch=3, classes=['a', 'b']))
    torch.save(content, buffer, _use_new_zipfile_serialization=form == 'zip')
    return buffer.getvalue(), weights


FORMS = {form: serialise(form) for form in ('zip', 'legacy', 'safetensors')}
SUFFIXES = dict(zip='.pth', legacy='.pth', safetensors='.safetensors')


@pytest.fixture(scope='module', autouse=True)
def bounded_memory():
    """An allocation above the bound fails, and with it the test that made it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('checkpoints')


def load(folder, suffix, data):
    """The model that these bytes give, or None when they are refused."""
    path = folder / f'w{suffix}'
    path.write_bytes(data)
    model = make_model()
    try:
        safe_load(path)
        load_weights(model, path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return None
    return model


HEADS = [b'', b'PK\x03\x04', b'\x80\x02', b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.', b'\x08' + bytes(7) + b'{}']


@given(data=st.binary(max_size=400), head=st.sampled_from(HEADS), suffix=st.sampled_from(['.pth', '.safetensors']))
def test_arbitrary_bytes(folder, data, head, suffix):
    assert load(folder, suffix, head + data) is None


@pytest.mark.parametrize('form', FORMS)
@given(draw=st.data())
def test_truncated(folder, form, draw):
    data, _ = FORMS[form]
    assert load(folder, SUFFIXES[form], data[:draw.draw(st.integers(0, len(data) - 1))]) is None


@pytest.mark.parametrize('form', FORMS)
@given(draw=st.data())
def test_flipped_bits(folder, form, draw):
    """An archive has checksums. The other forms have none: a flip inside a tensor gives other numbers, no more."""
    data, weights = FORMS[form]
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        damaged[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    model = load(folder, SUFFIXES[form], bytes(damaged))
    if model is not None:
        loaded = model.state_dict()
        assert all(loaded[key].shape == value.shape for key, value in weights.items())
        if form == 'zip':
            assert all(torch.equal(loaded[key], value) for key, value in weights.items())


@pytest.mark.parametrize('form', FORMS)
@given(draw=st.data())
def test_spliced(folder, form, draw):
    """Pieces cut out, repeated, or of another file."""
    data, weights = FORMS[form]
    other, _ = FORMS[draw.draw(st.sampled_from(sorted(FORMS)))]
    start, stop = sorted(draw.draw(st.tuples(*[st.integers(0, len(data))] * 2)))
    first, last = sorted(draw.draw(st.tuples(*[st.integers(0, len(other))] * 2)))
    model = load(folder, SUFFIXES[form], data[:start] + other[first:last] + data[stop:])
    if model is not None and form == 'zip':
        assert all(torch.equal(model.state_dict()[key], value) for key, value in weights.items())


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


CALLS = st.sampled_from([os.mkdir, os.makedirs, eval, exec, getattr, setattr, __import__, open, print, os.system])


@given(function=CALLS, legacy=st.booleans(), place=st.sampled_from(['value', 'key', 'list', 'meta']))
def test_no_code_runs(folder, function, legacy, place):
    victim = folder / 'victim'
    call = Call(function, f'__import__("os").mkdir({str(victim)!r})' if function in (eval, exec) else
                f'mkdir {victim}' if function is os.system else str(victim))
    content = {'value': dict(state_dict=call), 'key': {'state_dict': {}, 'more': {('x', ): call}},
               'list': [torch.zeros(1), call], 'meta': dict(state_dict={}, meta=call)}[place]
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    assert load(folder, '.pth', buffer.getvalue()) is None
    assert not victim.exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
    | st.builds(torch.zeros, st.integers(0, 3)) | st.just(torch.nn.Parameter(torch.ones(2)))
    | st.builds(lambda n: torch.zeros(1).expand(n), st.integers(1, 1 << 40)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    | st.tuples(inner, inner), max_leaves=6)


@given(content=VALUES, key=st.sampled_from([None, 'state_dict', 'meta']), legacy=st.booleans())
def test_content_that_is_no_checkpoint(folder, content, key, legacy):
    buffer = io.BytesIO()
    torch.save(content if key is None else {key: content}, buffer, _use_new_zipfile_serialization=not legacy)
    assert load(folder, '.pth', buffer.getvalue()) is None


@given(exponent=st.integers(31, 62), legacy=st.booleans())
def test_more_claimed_than_the_file_has(folder, exponent, legacy):
    """Sizes of storages, arrays and archive parts beyond all memory."""
    claim = f'{1 << exponent}'.encode()
    data, _ = FORMS['legacy' if legacy else 'zip']
    pattern = pickle.dumps(12, 2)[2:-1]  # the size of the first storage, BININT1 12
    assert pattern in data
    number = (1 << exponent).to_bytes(8, 'little')
    assert load(folder, '.pth', data.replace(pattern, b'\x8a\x08' + number, 1)) is None
    array = (b'\x80\x02cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L' + claim + b'L\ntU\x01btR.')
    assert load(folder, '.pth', array) is None


@given(megabytes=st.integers(2, 8), name=st.sampled_from(['data/0', 'data.pkl', 'other']))
def test_compressed_parts(folder, megabytes, name):
    """A part of many zeros packs into a thousandth."""
    data, _ = FORMS['zip']
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, 'w') as target:
        for part in source.infolist():
            if not part.filename.endswith(f'/{name}'):
                target.writestr(part, source.read(part))
        folder_name = source.namelist()[0].split('/')[0]
        target.writestr(f'{folder_name}/{name}', bytes(megabytes << 20), zipfile.ZIP_DEFLATED)
    assert load(folder, '.pth', buffer.getvalue()) is None


def test_an_archive_that_is_not_stored_as_it_is(folder):
    """Compressed without any gain; or one part that claims a gigabyte."""
    data, _ = FORMS['zip']
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(folder / 'packed.pth', 'w') as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part), zipfile.ZIP_DEFLATED)
        target.writestr('padding', bytes(os.urandom(4096)))
    with pytest.raises(CheckpointError, match='is compressed, which torch does not do'):
        safe_load(folder / 'packed.pth')
    entry = data.index(b'PK\x01\x02', data.index(b'PK\x01\x02') + 1)
    claim = data[:entry + 24] + (1 << 30).to_bytes(4, 'little') + data[entry + 28:]
    (folder / 'claim.pth').write_bytes(claim)
    with pytest.raises(CheckpointError, match=r'its parts claim 1073\d+ bytes, more than it has'):
        safe_load(folder / 'claim.pth')
