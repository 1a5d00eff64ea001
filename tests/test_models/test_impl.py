"""One switch for the form of an operator: which form runs, what is said when it falls back, who can set it."""
import copy
import logging
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger

from mmwhitebox import ops
from mmwhitebox.models.attention import CBSA, DMSA, TSSA, build_attention
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.ops import comparison, dispatch
from mmwhitebox.ops.dispatch import FORMS
from mmwhitebox.ops.operator import Kernels, Operator
from mmwhitebox.registry import ATTENTIONS

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
    """An operator whose forms return their names; the kernels refuse for ``reason``, the check for ``refusal``."""
    monkeypatch.setattr(dispatch, '_said', set())
    monkeypatch.setattr(comparison, 'refusal', lambda *args: state.refusal)
    kernels = Kernels(lambda x: 'triton', lambda x: state.reason)
    state = SimpleNamespace(reason=None, refusal=None, kernels=kernels)
    state.operator = partial(dispatch.run, Operator(
        'cbsa', lambda x: 'naive', lambda x: 'eager', lambda: state.kernels))
    return state


CPU, GPU = SimpleNamespace(is_cuda=False), SimpleNamespace(is_cuda=True)


def test_each_form_is_what_it_says(forms, caplog):
    assert [forms.operator(impl, GPU) for impl in FORMS] == ['triton', 'naive', 'eager', 'triton']
    assert [forms.operator(impl, CPU) for impl in FORMS] == ['eager', 'naive', 'eager', 'triton']
    assert not caplog.records


def test_a_fall_back_is_said_once_for_each_reason(forms, caplog):
    for forms.reason in ('it is too large', 'it is too large', 'it is float64'):
        assert forms.operator('auto', GPU) == 'eager'
    assert forms.operator('triton', GPU) == 'eager'
    forms.reason, forms.refusal = None, 'it disagrees'
    assert forms.operator('auto', GPU) == 'eager' and forms.operator('triton', GPU) == 'triton'
    forms.kernels = None
    assert forms.operator('auto', CPU) == forms.operator('auto', GPU) == 'eager'
    assert [r.getMessage() for r in caplog.records] == [
        f'cbsa runs in its eager form, not fused: {reason}.'
        for reason in ('it is too large', 'it is float64', 'it disagrees', 'triton cannot be imported')]
    assert all(r.levelno == logging.WARNING and r.name.startswith('mmwhitebox') for r in caplog.records)


def test_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, 'triton', None)
    with pytest.raises(ImportError, match="impl='triton' needs triton.*pip install triton.*impl='torch'"):
        CBSA(32, 2, impl='triton')
    with pytest.raises(ImportError, match="impl='triton' needs triton"):
        ops.use('triton')
    CBSA(32, 2)


def test_use_holds_inside_and_nests(forms):
    """Also where an error leaves it, and in other threads it does not."""
    with ops.use('naive'):
        assert forms.operator('triton', GPU) == 'naive'
        with pytest.raises(KeyError), ops.use('torch'):
            assert forms.operator('naive', GPU) == 'eager'
            raise KeyError
        assert forms.operator('auto', CPU) == 'naive'
        with ThreadPoolExecutor() as pool:
            assert pool.submit(forms.operator, 'auto', CPU).result() == 'eager'
    assert forms.operator('auto', CPU) == 'eager'
    with pytest.raises(ValueError, match=r"must be one of \('auto', 'naive', 'torch', 'triton'\), got 'plain'"):
        ops.use('plain')


@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_every_attention_takes_every_form(name):
    """And runs in the naive one around a model that was built with another."""
    modules = {impl: build_attention(dict(type=name, impl=impl), embed_dims=32, num_heads=2, pool_size=2)
               for impl in ('auto', 'naive', 'torch')}
    args = (torch.randn(1, 10, 32), (3, 3)) if name != 'MSCA' else (torch.randn(1, 2, 32), torch.randn(1, 9, 32))
    outputs = []
    for module in modules.values():
        module.load_state_dict(modules['auto'].state_dict())
        outputs.append(module(*args))
    with ops.use('naive'):
        torch.testing.assert_close(modules['torch'](*args), outputs[1], rtol=0, atol=0)
    for out in outputs:
        torch.testing.assert_close(out, outputs[1], rtol=1e-4, atol=1e-5)


def test_a_form_that_an_operator_has_not_is_said(caplog, monkeypatch):
    pytest.importorskip('triton')
    monkeypatch.setattr(dispatch, '_said', set())
    for _ in range(2):
        build_attention(dict(type='MSSA', impl='triton'), embed_dims=32, num_heads=2)(torch.randn(1, 9, 32), (3, 3))
    assert [r.getMessage() for r in caplog.records if r.name == 'mmwhitebox.ops'] == [
        'softmax_attention runs in its eager form, not fused: it has no kernels.']


def test_a_compiled_model_follows_use():
    model, x = CBSA(32, 2, pool_size=2), torch.randn(1, 9, 32)
    calls, compiled = [], torch.compile(model, fullgraph=True, backend=lambda graph, inputs: calls.append(
        str(graph.code)) or graph.forward)
    expected = compiled(x, (3, 3))
    with ops.use('naive'):
        torch.testing.assert_close(compiled(x, (3, 3)), expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == 2 and calls[0] != calls[1]


@pytest.mark.parametrize('module', MODULES)
def test_unknown_impl_is_refused(module):
    with pytest.raises(ValueError, match="impl must be one of .*'auto', 'naive', 'torch', 'triton'.* got 'cuda'"):
        MODULES[module](impl='cuda')


@pytest.mark.parametrize('module', MODULES)
def test_all_forms_have_one_state_dict_and_agree(module):
    pytest.importorskip('triton')
    x = torch.randn(1, 10, 32)
    modules = {impl: MODULES[module](impl=impl) for impl in FORMS}
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
        return [m.impl for m in model.modules() if isinstance(m, (CBSA, ISTA))]

    assert operators(small(impl='torch')) == ['torch', 'torch']
    assert operators(small()) == ['auto', 'auto']
    head = WhiteBoxMaskHead(in_channels=32, channels=32, num_classes=3, num_layers=2,
                            attention=dict(type='CBSA', num_heads=2, pool_size=2, impl='torch'))
    assert operators(head) == ['torch', 'torch']
    with pytest.raises(ValueError, match='impl must be one of'):
        small(impl='fast')


@pytest.fixture
def launches(monkeypatch):
    """Calls of the fused CBSA, which really run, in the interpreter or on a GPU."""
    fused = pytest.importorskip('mmwhitebox.ops.cbsa.triton')
    from mmwhitebox.ops.kernels import launch
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
    monkeypatch.setattr(dispatch, '_said', set())
    model, x = on_device(CBSA(32, 2, pool_size=2, impl='triton', contraction='inverse'))
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(x, (3, 3)), model(x, (3, 3)), rtol=1e-4, atol=1e-5)
    assert not launches
    assert [r.getMessage() for r in caplog.records if r.name == 'mmwhitebox.ops'] == [
        "cbsa runs in its eager form, not fused: the kernels have no contraction 'inverse'."
    ]


def test_an_exported_model_is_eager(launches, caplog):
    model, x = on_device(CBSA(32, 2, pool_size=2, impl='triton').requires_grad_(False))
    exported = torch.export.export(model, (x, (3, 3)))
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: model(x, (3, 3)), x, check_trace=False)
    assert 'cbsa_forward' not in exported.graph_module.code + str(traced.inlined_graph)
    assert not launches and 'eager form' not in caplog.text
    torch.testing.assert_close(exported.module()(x, (3, 3)), model(x, (3, 3)), rtol=1e-4, atol=1e-5)


def test_the_line_shows_in_a_run_with_mmengine(monkeypatch, capsys):
    """mmengine's logger has handlers of its own, and a library's has none: its line is seen all the same."""
    pytest.importorskip('triton')
    monkeypatch.setattr(dispatch, '_said', set())
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])  # pytest's
    MMLogger.get_instance('a run with mmengine', log_level='INFO').info('the run starts')
    CBSA(32, 2, pool_size=2, contraction='inverse', impl='triton')(torch.randn(1, 9, 32), (3, 3))
    text = ''.join(capsys.readouterr())
    assert 'the run starts' in text
    assert text.count('cbsa runs in its eager form, not fused') == 1
