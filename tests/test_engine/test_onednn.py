"""oneDNN's float32 products: chosen where they are faster, refused where they would lose digits, put back after."""
import runpy
import sys
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmwhitebox import apis
from mmwhitebox.engine import OneDNNHook, TF32Hook, onednn
from mmwhitebox.errors import UserError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.configs import ROOT

AMD = dict(architecture='x86_64', cpu_name='AMD EPYC', avx512_f=True, amx_tile=False, avx10_2=False)
CPU, GPU = torch.device('cpu'), torch.device('cuda')
needs_switch = pytest.mark.skipif(not hasattr(torch.backends.mkldnn, 'matmul'), reason='this torch has no switch')


def switch():
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.fixture
def processor(monkeypatch):
    """Give the machine another processor, whose products lose no digits."""
    def be(**features):
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: MappingProxyType({**AMD, **features}), raising=False)
        monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: True)
        monkeypatch.setattr(torch.backends.mkl, 'is_available', lambda: True)
        monkeypatch.setattr(onednn, 'largest_error', lambda: 3e-7)

    be()
    return be


def chosen(enabled, device=CPU):
    before = switch()
    with onednn.fast_products(enabled, device):
        inside = switch()
    assert switch() == before
    return inside == 'bf16'


@needs_switch
def test_auto_takes_onednn_where_mkl_leaves_avx512_unused(processor):
    assert chosen('auto') and chosen(True)
    assert not chosen(False) and not chosen('auto', GPU) and not chosen(True, GPU)
    processor(cpu_name='Intel Xeon')  # MKL has AVX-512 there
    assert not chosen('auto') and chosen(True)


@needs_switch
@pytest.mark.parametrize('features, reason', [
    (dict(avx512_f=False), 'no AVX-512'), (dict(architecture='aarch64'), 'no AVX-512'),
    (dict(amx_tile=True), 'round to bfloat16'), (dict(avx10_2=True), 'round to bfloat16')])
def test_a_processor_that_would_lose_digits_or_gain_nothing_is_refused(processor, features, reason):
    processor(**features)
    assert reason in onednn.obstacle() and not chosen('auto')
    with pytest.raises(UserError, match=f'{reason}.*auto'):
        onednn.fast_products(True, CPU)


@needs_switch
@pytest.mark.parametrize('error', [3e-3, float('nan')])
def test_a_product_that_loses_digits_is_noticed_whatever_the_processor_says(processor, monkeypatch, error):
    monkeypatch.setattr(onednn, 'largest_error', lambda: error)
    assert 'lost digits' in onednn.obstacle() and not chosen('auto')


@needs_switch
def test_the_probe_measures_rounding(monkeypatch):
    random_state = torch.get_rng_state()
    onednn.largest_error()
    assert torch.equal(torch.get_rng_state(), random_state)  # a training draws the same numbers with and without
    multiply = torch.Tensor.__matmul__

    def rounded(a, b):
        return multiply(a.bfloat16().float(), b.bfloat16().float()) if a.dtype == torch.float32 else multiply(a, b)

    monkeypatch.setattr(torch.Tensor, '__matmul__', rounded)
    assert onednn.largest_error() > 10 * onednn.FLOAT32_ERROR


def test_an_old_torch_and_one_without_onednn_say_so(processor, monkeypatch):
    monkeypatch.delattr(torch.cpu, 'get_capabilities')
    assert 'a newer one has' in onednn.obstacle()
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert 'without oneDNN' in onednn.obstacle()


def test_other_values_are_named():
    with pytest.raises(UserError, match="is 'yes'; it can be True, False or 'auto'"):
        onednn.fast_products('yes', CPU)


@needs_switch
def test_hook_chooses_before_the_run_and_puts_back_after_it(processor):
    said = []
    runner = SimpleNamespace(model=nn.Linear(2, 2), logger=SimpleNamespace(info=said.append))
    before = switch()
    for enabled, inside, lines in (('auto', 'bf16', 1), (False, before, 1)):
        hook = OneDNNHook(enabled)
        hook.before_run(runner)
        assert switch() == inside and len(said) == lines
        hook.after_run(runner)
        assert switch() == before


@needs_switch
@pytest.mark.parametrize('tf32', [True, False])
def test_hook_has_the_last_word_over_tf32_in_any_order(processor, tf32):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    runner = SimpleNamespace(_hooks=[], model=nn.Linear(2, 2), logger=SimpleNamespace(info=lambda line: None))
    for hook in (OneDNNHook(), TF32Hook(tf32)):
        Runner.register_hook(runner, hook)
    try:
        for hook in runner._hooks:
            hook.before_run(runner)
        assert switch() == 'bf16'
        for hook in runner._hooks:
            hook.after_run(runner)
        assert torch.get_float32_matmul_precision() == ('high' if tf32 else 'highest')
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@needs_switch
@pytest.mark.parametrize('enabled, inside', [('auto', True), ('False', False)])
def test_infer_follows_the_config(processor, monkeypatch, tmp_path, enabled, inside):
    seen, before = [], switch()
    monkeypatch.setattr(apis, 'init_model', lambda *args, **kwargs: nn.Linear(2, 2))
    monkeypatch.setattr(apis, 'iter_inference', lambda *args: seen.append(switch()) or ())
    (tmp_path / 'photo.jpg').touch()
    monkeypatch.setattr(sys, 'argv', [
        'infer.py', 'configs/cbt_decoder/cbt_decoder_mini_ade20k.py', 'x.pth', str(tmp_path),
        '--out', str(tmp_path / 'out'), '--cfg-options', f'default_hooks.onednn.enabled={enabled}'])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / 'tools' / 'infer.py'), run_name='__main__')
    assert done.value.code == 0 and switch() == before
    assert seen == ['bf16' if inside else before]


@pytest.mark.parametrize('name', ['cbt_decoder_ade20k.py', 'cbt/cbt_small_imagenet.py'])
def test_default_runtime_chooses_by_itself(name):
    hook = HOOKS.build(Config.fromfile(f'configs/{name}').default_hooks.onednn)
    assert isinstance(hook, OneDNNHook) and hook.enabled == 'auto'


@pytest.mark.skipif(onednn.obstacle() is not None, reason=f'oneDNN: {onednn.obstacle()}')
@pytest.mark.parametrize('arch', ['cbt-tiny', 'crate-tiny', 'tost-tiny', 'dmst-tiny', 'vit-tiny'])
def test_models_and_gradients_keep_float32_precision(arch):
    torch.manual_seed(0)
    model = WhiteBoxTransformer(arch=dict(WhiteBoxTransformer.arch_zoo[arch], num_layers=2), img_size=64).eval()
    images, direction = torch.randn(2, 3, 64, 64), torch.randn(2, model.embed_dims)

    def run(dtype):
        out = model.to(dtype)(images.to(dtype))[-1]
        weight = next(p for name, p in model.named_parameters() if 'layers.0' in name and p.ndim == 2)
        gradient, = torch.autograd.grad((out * direction.to(dtype)).sum(), weight)
        return out.detach().double(), gradient.double()

    with onednn.onednn_products():
        found = run(torch.float32)
    # A token near the kink of ISTA may fall on either side, and its gradient with it.
    for value, exact, tolerance in zip(found, run(torch.float64), (1e-5, 1e-3)):
        assert (value - exact).norm() < tolerance * exact.norm()
