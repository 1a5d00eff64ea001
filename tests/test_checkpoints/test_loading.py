"""Checkpoints are read without running code, and a wrong one is described."""
import argparse
import os
import pathlib
import pickle
import sys
import tempfile
import types
import typing
from collections import defaultdict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors.torch import save_file
from torch import nn

from mmwhitebox.checkpoints import load_weights, loading, safe_load, use_safe_loading
from mmwhitebox.checkpoints.plain_data import Plain
from mmwhitebox.errors import CheckpointError


def model(width=3):
    return nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width))


@pytest.mark.parametrize('form', ['mmengine', 'plain', 'safetensors', 'data-parallel'])
def test_round_trip(tmp_path, form):
    source, target = model(), model()
    path = tmp_path / ('w.safetensors' if form == 'safetensors' else 'w.pth')
    state = source.state_dict()
    if form == 'safetensors':
        save_file(state, path)
    elif form == 'mmengine':
        history = HistoryBuffer([1., 2.], [1, 1])
        hub = dict(log_scalars=dict(loss=history))
        torch.save(dict(state_dict=state, meta=dict(epoch=3), message_hub=hub), path)
    else:
        prefix = 'module.' if form == 'data-parallel' else ''
        torch.save({prefix + key: value for key, value in state.items()}, path)
    meta = load_weights(target, path)
    assert meta == (dict(epoch=3) if form == 'mmengine' else {})
    assert all(torch.equal(a, b) for a, b in zip(state.values(), target.state_dict().values()))


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim), )


def test_getattr_reaches_nothing_but_the_histories(tmp_path):
    class Getter:
        def __reduce__(self):
            return getattr, (torch.Tensor, 'backward')

    torch.save(dict(state_dict=Getter()), tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='was refused.*backward'):
        safe_load(tmp_path / 'w.pth')


def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path):
    victim = tmp_path / 'victim'
    def save_legacy(content, path):
        path.write_bytes(pickle.dumps(content, protocol=2))

    for name, save in (('zip.pth', torch.save), ('legacy.pth', save_legacy)):
        save(dict(state_dict=Hostile(victim)), tmp_path / name)
        with pytest.raises(CheckpointError, match=f'{name} was refused.*mkdir'):
            safe_load(tmp_path / name)
        assert not victim.exists()
    torch.load(tmp_path / 'zip.pth', weights_only=False)
    assert victim.exists()  # the trap is real


@pytest.mark.parametrize('damage, message', [
    ('missing', 'does not exist'), ('empty', 'is empty'), ('truncated', 'cannot be read'),
    ('html', 'is a web page'), ('pointer', 'is a Git LFS pointer.*git lfs pull'),
])
@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_broken_files(tmp_path, damage, message, name):
    path = tmp_path / name
    torch.save(model().state_dict(), path) if name == 'w.pth' else save_file(model().state_dict(), path)
    data = path.read_bytes()
    path.unlink()
    if damage != 'missing':
        path.write_bytes(dict(empty=b'', truncated=data[:len(data) // 2], html=b'\n<!DOCTYPE html>',
                              pointer=b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')[damage])
    with pytest.raises(CheckpointError, match=message):
        safe_load(path)


def test_a_checkpoint_of_another_model_names_keys_and_shapes(tmp_path):
    path = tmp_path / 'w.pth'
    torch.save({**model(5).state_dict(), '2.weight': torch.zeros(1)}, path)
    target = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Identity(), nn.Linear(3, 2))
    with pytest.raises(CheckpointError) as caught:
        load_weights(target, path)
    message = str(caught.value)
    assert '2 keys the file lacks: 3.weight, 3.bias' in message
    assert '1 keys the model lacks: 2.weight' in message
    assert '0.weight ((5, 4) in the file, (3, 4) in the model)' in message


def test_weights_that_are_no_numbers_are_said(tmp_path, monkeypatch):
    lines, path, broken = [], tmp_path / 'w.pth', model()
    monkeypatch.setattr(loading, 'print_log', lambda text, *args, **kwargs: lines.append(text))
    torch.save(broken.state_dict(), path)
    load_weights(model(), path)
    assert len(lines) == 1
    broken[0].weight.data[1, 2], broken[1].bias.data[0] = torch.nan, torch.inf
    torch.save(broken.state_dict(), path)
    load_weights(model(), path)
    assert lines[-1].startswith(f'{path}: NaN or infinite numbers in 0.weight, 1.bias, as')
    broken = nn.BatchNorm1d(3)
    broken.running_var[0] = torch.nan
    torch.save(broken.state_dict(), path)
    load_weights(nn.BatchNorm1d(3), path)
    assert 'running_var' in lines[-1]


def test_mmengine_itself_reads_with_weights_only(tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    path, victim = tmp_path / 'w.pth', tmp_path / 'victim'
    torch.save(dict(state_dict=model().state_dict(), extra=Hostile(victim)), path)
    use_safe_loading()
    with pytest.raises(CheckpointError, match='was refused.*mkdir'):
        load_checkpoint(model(), str(path))
    assert not victim.exists()
    with pytest.raises(CheckpointError, match='s3://bucket/w.pth was refused'):
        load_checkpoint(model(), 's3://bucket/w.pth')
    torch.save(dict(state_dict=model().state_dict()), path)
    load_checkpoint(model(), str(path))


def test_a_trusted_file_may_hold_anything(tmp_path):
    path, victim = tmp_path / 'w.pth', tmp_path / 'victim'
    source = model()
    torch.save(dict(state_dict=source.state_dict(), extra=Hostile(victim)), path)
    target = model()
    load_weights(target, path, trust=True)
    assert victim.exists() and torch.equal(target[0].weight, source[0].weight)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_arrays_of_a_npz_are_tensors(tmp_path):
    arrays = {'params/a/kernel': np.arange(6, dtype=np.float32).reshape(2, 3), 'params/b': np.float32(3)}
    found = safe_load(npz(tmp_path / 'w.npz', **arrays))
    assert set(found) == set(arrays) and found['params/b'].shape == ()
    assert all((found[key].numpy() == value).all() for key, value in arrays.items())


def test_a_npz_runs_no_code_and_its_faults_are_named(tmp_path):
    victim = tmp_path / 'victim'
    with pytest.raises(CheckpointError, match=r"was refused: its array 'w' cannot be read .*allow_pickle=False"):
        safe_load(npz(tmp_path / 'objects.npz', w=np.array([Hostile(victim)], dtype=object)))
    assert not victim.exists()
    with pytest.raises(CheckpointError, match="its array 'meta' cannot be read"):
        safe_load(npz(tmp_path / 'text.npz', meta=np.array('text')))
    (tmp_path / 'text.npz').write_text('text')
    with pytest.raises(CheckpointError, match='it is no .npz, which is a zip archive'):
        safe_load(tmp_path / 'text.npz')
    whole = npz(tmp_path / 'whole.npz', w=np.arange(1000.)).read_bytes()
    (tmp_path / 'half.npz').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(CheckpointError, match='truncated or damaged'):
        safe_load(tmp_path / 'half.npz')
    (tmp_path / 'bit.npz').write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    with pytest.raises(CheckpointError, match='the checksum of w.npy does not fit'):
        safe_load(tmp_path / 'bit.npz')


def test_a_npz_that_would_fill_the_memory_is_refused(tmp_path):
    np.savez_compressed(tmp_path / 'zeros.npz', w=np.zeros(1 << 20))
    with pytest.raises(CheckpointError, match='its arrays claim 8388.* bytes, more than 32 times its size'):
        safe_load(tmp_path / 'zeros.npz')


def omegaconf_like():
    """Classes with the names and the pickled form of OmegaConf's, which is not installed here."""
    base, dictconfig, nodes = (types.ModuleType(f'omegaconf.{name}') for name in ('base', 'dictconfig', 'nodes'))
    for module, name in ((base, 'ContainerMetadata'), (dictconfig, 'DictConfig'), (nodes, 'AnyNode')):
        setattr(module, name, type(name, (), dict(__module__=module.__name__)))
    meta, config, node = base.ContainerMetadata(), dictconfig.DictConfig(), nodes.AnyNode()
    meta.__dict__.update(ref_type=typing.Any, object_type=dict, resolver_cache=defaultdict(dict))
    node.__dict__.update(_val=3, _parent=config)
    config.__dict__.update(_metadata=meta, _content=dict(lr=node))
    package = types.ModuleType('omegaconf')
    return {module.__name__: module for module in (package, base, dictconfig, nodes)}, config


def test_what_trainings_store_beside_weights_is_plain_data(tmp_path, monkeypatch):
    modules, config = omegaconf_like()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    args = argparse.Namespace(lr=1., output_dir=pathlib.PosixPath('/out/run'))
    torch.save(dict(model=model().state_dict(), args=args, cfg=config), tmp_path / 'w.pth')
    for name in modules:
        monkeypatch.delitem(sys.modules, name)
    found = safe_load(tmp_path / 'w.pth')
    assert found['args'].lr == 1. and found['args'].output_dir == pathlib.PurePosixPath('/out/run')
    assert not isinstance(found['args'].output_dir, pathlib.Path)  # it can touch no file
    assert type(found['cfg']) is Plain and found['cfg']._content['lr']._val == 3
    assert not any(name.startswith('omegaconf') for name in sys.modules)


def test_a_class_nobody_allowed_is_refused_beside_those_that_are(tmp_path):
    torch.save(dict(args=argparse.Namespace(folder=tempfile.SpooledTemporaryFile)), tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='was refused.*SpooledTemporaryFile'):
        safe_load(tmp_path / 'w.pth')
