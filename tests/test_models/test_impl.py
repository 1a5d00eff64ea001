"""One switch for the form of an operator: which form runs, what is said when it falls back, who can set it."""
import copy
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmwhitebox.models.attention import CBSA, DMSA, TSSA
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.ops import cbsa, implementation, ista
from mmwhitebox.ops.implementation import IMPLS, Operator, choose

MODULES = {
    'CBSA': lambda **kwargs: CBSA(32, 2, pool_size=2, **kwargs),
    'TSSA': lambda **kwargs: TSSA(32, 2, **kwargs),
    'DMSA': lambda **kwargs: DMSA(32, 2, **kwargs),
    'ISTA': lambda **kwargs: ISTA(32, **kwargs),
}


def call(module, x):
    return module(x) if isinstance(module, ISTA) else module(x, (3, 3))


@pytest.fixture
def forms(monkeypatch):
    """An operator whose two forms return their names; what the kernels refuse is ``forms.reason``."""
    monkeypatch.setattr(implementation, '_said', set())
    state = SimpleNamespace(reason=None)
    fused = SimpleNamespace(cbsa=lambda x, *args, **kwargs: 'fused', unsupported=lambda *args, **kwargs: state.reason)
    monkeypatch.setattr(implementation, '_fused', lambda op: fused)
    monkeypatch.setattr(implementation, '_plain', lambda op: lambda x, *args, **kwargs: 'plain')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    return state


CPU, GPU = SimpleNamespace(is_cuda=False), SimpleNamespace(is_cuda=True)


def test_torch_is_the_plain_function():
    assert choose('cbsa', 'torch') is cbsa


def test_auto_is_fused_on_a_gpu_alone(forms, caplog):
    operator = choose('cbsa', 'auto')
    assert operator(GPU) == 'fused' and operator(CPU) == 'plain'
    assert not caplog.records


def test_a_fall_back_is_said_once_for_each_reason(forms, caplog):
    operator = choose('cbsa', 'auto')
    for forms.reason in ('it is too large', 'it is too large', 'it is float64'):
        assert operator(GPU) == 'plain'
    assert choose('cbsa', 'triton')(GPU) == 'plain'
    assert [r.getMessage() for r in caplog.records] == [
        'cbsa runs in its plain PyTorch form, not fused: it is too large.',
        'cbsa runs in its plain PyTorch form, not fused: it is float64.'
    ]
    assert all(r.levelno == logging.WARNING and r.name.startswith('mmwhitebox') for r in caplog.records)


def test_triton_runs_fused_wherever_the_kernels_can(forms, caplog):
    assert choose('cbsa', 'triton')(CPU) == 'fused'
    forms.reason = "the tensors are on the device 'cpu'"
    assert choose('cbsa', 'triton')(CPU) == 'plain'
    assert "'cpu'" in caplog.text


def test_without_triton(monkeypatch, caplog):
    monkeypatch.setattr(implementation, '_said', set())
    monkeypatch.setitem(sys.modules, 'triton', None)
    monkeypatch.setattr(implementation, '_plain', lambda op: lambda x: 'plain')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    operator = choose('cbsa', 'auto')
    assert operator(CPU) == 'plain' and not caplog.records
    assert operator(GPU) == operator(GPU) == 'plain'
    assert [r.getMessage() for r in caplog.records] == [
        'cbsa runs in its plain PyTorch form, not fused: triton cannot be imported.'
    ]
    with pytest.raises(ImportError, match="impl='triton' needs triton.*pip install triton.*impl='torch'"):
        choose('cbsa', 'triton')


@pytest.mark.parametrize('module', MODULES)
def test_unknown_impl_is_refused(module):
    with pytest.raises(ValueError, match="impl must be one of .*'auto', 'torch', 'triton'.* got 'cuda'"):
        MODULES[module](impl='cuda')


@pytest.mark.parametrize('impl', ['auto', 'triton'])
def test_copies_and_pickles_by_name(impl):
    if impl == 'triton':
        pytest.importorskip('triton')
    operator = choose('cbsa', impl)
    data = pickle.dumps(operator)
    assert len(data) < 200
    for other in (copy.deepcopy(operator), pickle.loads(data)):
        assert isinstance(other, Operator) and (other.op, other.impl) == ('cbsa', impl)


@pytest.mark.parametrize('module', MODULES)
def test_all_forms_have_one_state_dict_and_agree(module):
    pytest.importorskip('triton')
    x = torch.randn(1, 10, 32)
    modules = {impl: MODULES[module](impl=impl) for impl in IMPLS}
    expected = None
    for m in modules.values():
        m.load_state_dict(modules['auto'].state_dict())
        out = call(m, x)
        expected = out if expected is None else expected
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_a_model_is_deep_copied_and_pickled():
    model = CBSA(32, 2, pool_size=2)
    x = torch.randn(1, 9, 32)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(call(other, x), call(model, x))


def test_configs_pass_it():
    def small(**attention):
        return WhiteBoxTransformer(
            arch=dict(embed_dims=32, num_layers=1, num_heads=2, attention=dict(type='CBSA', pool_size=2),
                      feedforward=dict(type='ISTA')),
            img_size=32,
            attention=dict(type='CBSA', pool_size=2, **attention),
            feedforward=dict(type='ISTA', **attention))

    def operators(model):
        return [m.operator for m in model.modules() if isinstance(m, (CBSA, ISTA))]

    assert operators(small(impl='torch')) == [cbsa, ista]
    assert [o.impl for o in operators(small())] == ['auto', 'auto']
    head = WhiteBoxMaskHead(in_channels=32, channels=32, num_classes=3, num_layers=2,
                            attention=dict(type='CBSA', num_heads=2, pool_size=2, impl='torch'))
    assert operators(head) == [cbsa, cbsa]
    with pytest.raises(ValueError, match='impl must be one of'):
        small(impl='fast')


@pytest.fixture
def launches(monkeypatch):
    """Calls of the fused CBSA, which really run, in the interpreter or on a GPU."""
    fused = pytest.importorskip('mmwhitebox.ops.triton.cbsa')
    from mmwhitebox.ops.triton import launch
    if not (launch.INTERPRETED or torch.cuda.is_available()):
        pytest.skip('needs a GPU, or TRITON_INTERPRET=1 before triton is imported')
    calls, forward = [], fused.forward
    monkeypatch.setattr(fused, 'forward', lambda *args: calls.append(1) or forward(*args))
    return calls


def on_device(model):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return model.to(device), torch.randn(1, 9, 32, device=device)


def test_torch_compile_takes_the_dispatch_whole(launches):
    model, x = on_device(CBSA(32, 2, pool_size=2, impl='triton'))
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x, (3, 3)), model(x, (3, 3)), rtol=1e-4, atol=1e-5)
    assert len(launches) == 2


def test_torch_compile_takes_the_fall_back_whole(launches, monkeypatch, caplog):
    monkeypatch.setattr(implementation, '_said', set())
    model, x = on_device(CBSA(32, 2, pool_size=2, impl='triton', contraction='inverse'))
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(x, (3, 3)), model(x, (3, 3)), rtol=1e-4, atol=1e-5)
    assert not launches
    assert [r.getMessage() for r in caplog.records if r.name == 'mmwhitebox.ops'] == [
        "cbsa runs in its plain PyTorch form, not fused: the kernels have no contraction 'inverse'."
    ]


def test_an_exported_model_is_plain(launches, caplog):
    model, x = on_device(CBSA(32, 2, pool_size=2, impl='triton').requires_grad_(False))
    exported = torch.export.export(model, (x, (3, 3)))
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: model(x, (3, 3)), x, check_trace=False)
    assert 'cbsa_forward' not in exported.graph_module.code + str(traced.inlined_graph)
    assert not launches and 'plain PyTorch form' not in caplog.text
    torch.testing.assert_close(exported.module()(x, (3, 3)), model(x, (3, 3)), rtol=1e-4, atol=1e-5)


def test_the_line_shows_in_a_run_with_mmengine():
    """mmengine's logger has handlers of its own, and a library's has none: its line is seen all the same."""
    code = '''
from mmengine.logging import MMLogger
MMLogger.get_instance('run', log_level='INFO').info('the run starts')
import torch
from mmwhitebox.models.attention import CBSA
CBSA(32, 2, pool_size=2, contraction='inverse', impl='triton')(torch.randn(1, 9, 32), (3, 3))
'''
    pytest.importorskip('triton')
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'PYTHONPATH': str(root)})
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert 'the run starts' in text
    assert text.count('cbsa runs in its plain PyTorch form, not fused') == 1
