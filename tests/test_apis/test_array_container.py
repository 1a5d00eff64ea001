"""Arrays in a block of bytes: read back as they were, or off by half a step of the scale."""
import json
import struct

import numpy as np
import pytest

from mmwhitebox.apis.array_container import pack, quantize, unpack
from mmwhitebox.errors import UserError


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('axes', [0, 1, 2])
def test_quantisation_is_off_by_half_a_step_at_most(bits, axes):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5, 400)).astype(np.float32) * 10.**rng.integers(-6, 7, (3, 5, 1)) + 3
    found = quantize(values.astype(np.float32), bits, axes)
    assert len(found.scale) == len(found.zero) == (1, 3, 15)[axes]
    groups = values.astype(np.float32).reshape(len(found.scale), -1).astype(np.float64)
    codes = found.codes.reshape(len(found.scale), -1)
    error = np.abs(found.zero[:, None] + found.scale[:, None] * codes - groups)
    assert (error <= found.scale[:, None] * (0.5 + 1e-6)).all()
    ranges = groups.max(1) - groups.min(1)
    np.testing.assert_allclose(found.scale, ranges / (2**bits - 1), rtol=1e-7)  # no wider than it must be
    assert codes.min() == 0 and codes.max() == 2**bits - 1


@pytest.mark.parametrize('values', [
    np.full((2, 3), 7.25), np.zeros((2, 3)), np.array([[1, 1 + 2**-23, 1]]), np.array([[-3e38, 3e38]]),
    np.zeros((0, 3)), np.zeros((2, 0)), np.array([[1e-45, 0.]])
])
def test_quantisation_of_odd_arrays(values):
    values = values.astype(np.float32)
    for axes in (0, 1):
        found = quantize(values, 16, axes)
        top = max((values.max(initial=0).astype(float) - values.min(initial=0)) / 65535 / 2, 0)
        np.testing.assert_allclose(found.values(), values, rtol=2e-7, atol=top * (1 + 1e-5))


def arrays():
    rng = np.random.default_rng(0)
    return dict(a=rng.integers(0, 256, (3, 5, 3), dtype=np.uint8), b=rng.normal(size=(2, 3)).astype(np.float32),
                c=np.array([1, -2], np.int32), empty=np.zeros((0, 4), np.float32))


def test_layout():
    data = pack(dict(name='Straße </script>', notes=[]), arrays())
    magic, version, length = struct.unpack('<4sII', data[:12])
    assert (magic, version) == (b'MMWB', 1) and (12 + length) % 8 == 0
    header = json.loads(data[12:12 + length].decode('utf-8'))
    assert header['name'] == 'Straße </script>'
    for name, array in arrays().items():
        entry = header['arrays'][name]
        start = 12 + length + entry['offset']
        assert entry['offset'] % 8 == 0 and entry['shape'] == list(array.shape) and 'scale' not in entry
        assert data[start:start + array.nbytes] == array.tobytes()
    assert [entry['dtype'] for entry in header['arrays'].values()] == ['u1', 'f4', 'i4', 'f4']


def test_round_trip():
    values = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    header, found = unpack(pack(dict(x=1), {**arrays(), 'q': quantize(values, 16, 1)}))
    assert header['x'] == 1 and header['arrays']['q']['groups'] == 4 and len(header['arrays']['q']['scale']) == 4
    for name, array in arrays().items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    np.testing.assert_allclose(found['q'], values, atol=np.ptp(values) / 65535)
    assert not np.array_equal(found['q'], values)


@pytest.mark.parametrize('change, message', [
    (lambda data: b'', 'no container'), (lambda data: b'PK' + data[2:], 'no container'),
    (lambda data: data[:4] + b'\x02' + data[5:], 'version 2'), (lambda data: data[:-60], 'cut short'),
    (lambda data: data[:40], 'cut short'),
])
def test_other_bytes_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        unpack(change(pack({}, arrays())))


def test_what_json_cannot_say_is_no_header():
    with pytest.raises(ValueError):
        pack(dict(rate=float('nan')), {})
