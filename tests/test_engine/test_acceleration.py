"""Speed by config: compiled networks, TF32, pinned memory, and forward passes a GPU never waits for."""
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, OPTIMIZERS

from mmwhitebox.engine import BFloat16OptimWrapper
from mmwhitebox.engine.hooks import CompileHook, TF32Hook
from mmwhitebox.engine.hooks.compile import compile_networks
from mmwhitebox.engine.setup import fit_precision, pin_memory, use_amp, use_compile
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.configs import reduced


def small_segmentor():
    return MODELS.build(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py').model).eval()


def count_graphs(model, counted):
    def backend(graph_module, inputs):
        counted.append(sum(node.op == 'call_function' for node in graph_module.graph.nodes))
        return graph_module.forward
    torch.compiler.reset()
    compile_networks(model, backend=backend, fullgraph=True)


def test_encoder_and_decoder_layers_are_compiled_and_agree_with_the_eager_model():
    model = small_segmentor()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)
    names = set(model.state_dict())
    graphs = []
    count_graphs(model, graphs)
    with torch.no_grad():
        assert torch.allclose(model(image), expected, rtol=1e-4, atol=1e-5)
        first = len(graphs)
        model(image)
    assert first >= 2 and min(graphs) > 5  # the encoder as one graph, a decoder layer as another
    assert len(graphs) == first  # nothing is compiled again
    assert set(model.state_dict()) == names
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()  # as an average of it needs


def test_compile_is_a_config_key_that_becomes_a_hook():
    cfg = Config(dict(compile=dict(mode='reduce-overhead'), custom_hooks=[dict(type='A')]))
    use_compile(cfg)
    assert 'compile' not in cfg  # or mmengine would compile the training step
    assert cfg.custom_hooks == [dict(type='A'), dict(type='mmwhitebox.CompileHook', mode='reduce-overhead')]
    for off in (Config(dict(compile=False)), Config(dict())):
        use_compile(off)
        assert 'custom_hooks' not in off
    on = Config(dict(compile=True))
    use_compile(on)
    hook = HOOKS.build(on.custom_hooks[0])
    assert isinstance(hook, CompileHook) and hook.options == {}


class Wrapper:
    def __init__(self, module):
        self.module = module


class Logger:
    @staticmethod
    def info(message):
        pass


@pytest.mark.parametrize('wrap', [lambda model: model, Wrapper])
def test_compile_hook_looks_through_wrappers(wrap):
    model = small_segmentor()
    runner = type('Runner', (), dict(model=wrap(model), logger=Logger))
    CompileHook(backend='eager').before_run(runner)
    assert model.backbone._compiled_call_impl is not None
    assert all(layer._compiled_call_impl is not None for layer in model.decode_head.layers)


@pytest.mark.parametrize('enabled, precision', [(True, 'high'), (False, 'highest')])
def test_tf32_hook(enabled, precision):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        TF32Hook(enabled).before_run(None)
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 is enabled
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize('name', ['cbt_decoder_ade20k.py', 'cbt/cbt_small_imagenet.py'])
def test_default_runtime_is_right_to_the_last_digit(name):
    hook = Config.fromfile(f'configs/{name}').default_hooks.tf32
    assert HOOKS.build(hook).enabled is False


@pytest.mark.parametrize('gpu', [True, False])
def test_memory_is_pinned_for_a_gpu_unless_the_config_says_otherwise(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    cfg = Config(dict(train_dataloader=dict(num_workers=2), val_dataloader=dict(pin_memory=False),
                      test_dataloader=None))
    pin_memory(cfg)
    assert cfg.train_dataloader.pin_memory is gpu and cfg.val_dataloader.pin_memory is False


def test_bfloat16_by_config_needs_no_loss_scale(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', dtype='bfloat16')))
    use_amp(cfg)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=dict(enabled=False))


@pytest.mark.skipif(torch.cuda.is_available(), reason='what --amp does on a machine without a GPU')
def test_bfloat16_without_a_gpu():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=1.))))
    for _ in range(2):  # again: the config may name the wrapper itself
        use_amp(cfg)
        assert cfg.optim_wrapper.type == 'mmwhitebox.BFloat16OptimWrapper' and 'dtype' not in cfg.optim_wrapper
    model = torch.nn.Linear(3, 2)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 3))
    wrapper.update_params(out.float().sum())
    assert out.dtype == torch.bfloat16 and model(torch.ones(1, 3)).dtype == torch.float32
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight, before - 1)


@pytest.mark.parametrize('flash', [True, False])
def test_bfloat16_with_or_without_flash_attention(flash):
    model = torch.nn.Linear(4, 4)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.), flash_attention=flash)
    with wrapper.optim_context(model):
        x = model(torch.ones(1, 1, 5, 4))
        out = torch.nn.functional.scaled_dot_product_attention(x, x, x)
    assert ('Flash' in out.grad_fn.name()) is flash


@pytest.mark.parametrize('schedule', ['finetune_200e', 'schedule_160k'])  # AdamW, SGD
def test_fused_optimizers_step_like_plain_ones(schedule):
    cfg = Config.fromfile(f'configs/_base_/schedules/{schedule}.py').optim_wrapper.optimizer
    assert cfg.fused is True
    weights = []
    for fused in (False, True):
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = OPTIMIZERS.build(dict(cfg, lr=0.1, fused=fused, params=[parameter]))
        for step in range(3):
            parameter.grad = torch.cos(parameter.detach() + step)
            optimizer.step()
        weights.append(parameter.detach())
    assert torch.allclose(*weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('arch', ['cbt-tiny', 'crate-tiny', 'tost-tiny', 'dmst-tiny', 'vit-tiny'])
@pytest.mark.parametrize('size', [(64, 64), (64, 96)])
def test_encoders_never_read_a_number_back_from_the_device(arch, size):
    """Meta tensors hold no numbers: a host that asks for one fails, and so does a tensor made elsewhere."""
    arch = dict(WhiteBoxTransformer.arch_zoo[arch], num_layers=1)
    with torch.device('meta'):
        model = WhiteBoxTransformer(arch=arch, img_size=64, out_type='raw')
    out, = model(torch.empty(2, 3, *size, device='meta'))
    out.sum().backward()
    assert out.is_meta and all(parameter.grad is not None for parameter in model.layers.parameters())


@pytest.mark.parametrize('name', ['cbt_decoder/cbt_decoder_mini_ade20k.py', 'depict/depict_sa_mini_ade20k.py',
                                  'depict/depict_ca_mini_ade20k.py'])
def test_segmentors_never_read_a_number_back_from_the_device(name):
    cfg = reduced(name).model
    with torch.device('meta'):
        model = MODELS.build(cfg)
    out = model(torch.empty(1, 3, 64, 96, device='meta'))
    out.square().sum().backward()
    assert out.is_meta and model.decode_head.cls_tokens.grad is not None


@pytest.mark.parametrize('dtype, expected', [
    ('float16', dict(type='OptimWrapper', optimizer=1, paramwise_cfg=2)),
    ('bfloat16', dict(type='mmwhitebox.BFloat16OptimWrapper', optimizer=1, paramwise_cfg=2))])
def test_a_recipe_in_float16_trains_without_a_gpu(monkeypatch, dtype, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = Config(dict(optim_wrapper=dict(
        type='AmpOptimWrapper', dtype=dtype, loss_scale='dynamic', optimizer=1, paramwise_cfg=2)))
    fit_precision(cfg)
    assert dict(cfg.optim_wrapper) == expected
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype=dtype, loss_scale='dynamic')))
    fit_precision(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
