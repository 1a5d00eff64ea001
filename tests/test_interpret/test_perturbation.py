"""Noise on the projections: its size, its place, and that nothing of it stays."""
import copy

import pytest
import timm
import torch
from torch import nn

from mmwhitebox.errors import UserError
from mmwhitebox.interpret.perturbation import Projection, attention_projections, noise_sweep, perturbed, summarize
from mmwhitebox.models.attention import MHSA, build_attention
from mmwhitebox.registry import ATTENTIONS
from tests.test_interpret.small import command, numbers, save_ade, save_images, save_model

ATTENTIONS.import_from_location()


def flat(projections):
    return [projection for layer in projections.values() for projection in layer]


@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_every_registered_attention_has_projections(name):
    attention = build_attention(dict(type=name), embed_dims=16, num_heads=2)
    found = flat(attention_projections(nn.ModuleDict(dict(a=attention))))
    rows = sum(projection.weight.shape[0] for projection in found)
    assert rows == (48 if name in ('MHSA', 'ReLULinear', 'ClassAttention') else 16)
    assert all(projection.weight.shape[1] == 16 for projection in found)
    outputs = {id(module.weight) for key, module in attention.named_children() if key in ('to_out', 'to_logits')}
    assert not outputs & {id(projection.weight) for projection in found}


def test_timm_and_torch_attentions():
    model = nn.ModuleDict(dict(backbone=nn.ModuleList([timm.layers.Attention(16, 2)]),
                               decode_head=nn.MultiheadAttention(16, 4)))
    assert list(attention_projections(model, 'encoder')) == ['backbone.0']
    found = attention_projections(nn.ModuleDict(dict(decode_head=nn.ModuleList([model['decode_head']]))), 'decoder')
    assert found['decode_head.0'][0].weight is model['decode_head'].in_proj_weight
    assert found['decode_head.0'][0].num_heads == 4
    assert attention_projections(nn.Linear(2, 2)) == {}


def test_noise_is_relative_and_leaves_nothing_behind():
    layer = nn.Linear(400, 300, bias=False)
    before = layer.weight.detach().clone()
    rms = before.square().mean().sqrt()
    draws = []
    for scale in (0.5, 1.):
        with perturbed([Projection(layer.weight, 3, 100)], scale, seed=7):
            draws.append(layer.weight.detach() - before)
        assert torch.equal(layer.weight, before)
    assert draws[0].std() / rms == pytest.approx(0.5, rel=0.01) and abs(draws[0].mean() / rms) < 0.01
    torch.testing.assert_close(draws[1], 2 * draws[0], atol=1e-6, rtol=1e-4)
    with pytest.raises(RuntimeError), perturbed([Projection(layer.weight, 3, 100)], 1., seed=0):
        raise RuntimeError
    assert torch.equal(layer.weight, before)


def test_noise_on_some_heads():
    attention = MHSA(16, 4)
    before = attention.qkv.weight.detach().clone()
    with perturbed(flat(attention_projections(nn.ModuleDict(dict(a=attention)))), 1., 0, heads=[1, 3]):
        changed = (attention.qkv.weight != before).any(1).view(3, 4, 4)
    assert changed[:, [1, 3]].all() and not changed[:, [0, 2]].any()


def test_zero_noise_is_the_clean_score():
    attention = MHSA(16, 4).eval()
    state = copy.deepcopy(attention.state_dict())
    x = torch.randn(2, 6, 16)

    def evaluate():
        with torch.inference_mode():
            return attention(x, (2, 3)).sum().item()

    clean = evaluate()
    projections = flat(attention_projections(nn.ModuleDict(dict(a=attention))))
    draws = list(noise_sweep(projections, evaluate, (0, 0.3), repeats=2, seed=5))
    assert [(draw['scale'], draw['seed']) for draw in draws] == [(0, 5), (0.3, 5), (0.3, 6)]
    assert draws[0]['score'] == clean and len({draw['score'] for draw in draws}) == 3
    assert all(torch.equal(value, state[key]) for key, value in attention.state_dict().items())
    assert draws == list(noise_sweep(projections, evaluate, (0, 0.3), repeats=2, seed=5))


def test_summary():
    draws = [dict(scale=0, score=5.)] + [dict(scale=1, score=score) for score in (1., 2., 3.)]
    assert summarize(draws) == [dict(scale=0, mean=5., std=0., repeats=1), dict(scale=1, mean=2., std=1., repeats=3)]


@pytest.fixture(scope='module')
def main():
    return command('perturbation')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return save_ade(tmp_path_factory.mktemp('data') / 'ade', a=(64, 64), b=(64, 64), c=(64, 64))


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory, data):
    return save_model(tmp_path_factory.mktemp('cbt'), 'cbt_decoder/cbt_decoder_mini_ade20k.py', data_root=data)


def test_command(main, segmentor, data, tmp_path):
    segmenter = save_model(tmp_path, 'segmenter/segmenter_mask_mini_ade20k.py', data_root=data)
    options = ['--scales', '0', '2', '--repeats', '2', '--max-images', '2', '--device', 'cpu']
    assert main([*segmentor, *options, '--also', *segmenter, '--out', str(tmp_path / 'out')]) == 0
    rows = numbers(tmp_path / 'out', 'perturbation')
    names = ['cbt_decoder_mini_ade20k'] * 3 + ['segmenter_mask_mini_ade20k'] * 3
    assert [row['model'] for row in rows] == names
    assert all(row['metric'] == 'mIoU' and 0 <= row['score'] <= 100 for row in rows)
    assert (tmp_path / 'out' / 'perturbation.pdf').stat().st_size > 5000


def test_command_on_a_classifier(main, tmp_path):
    """Top-1 of the encoder's projections; without noise what a plain evaluation says."""
    for i in range(12):
        save_images(tmp_path / 'mini' / 'val' / f'class{i:02d}', a=(64, 64))
    cbt = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py', data_root=str(tmp_path / 'mini'))
    assert main([*cbt, '--scales', '0', '1', '--repeats', '1', '--out', str(tmp_path), '--device', 'cpu']) == 0
    rows = numbers(tmp_path, 'perturbation')
    assert [row['metric'] for row in rows] == ['top-1'] * 2
    assert rows[0]['score'] == pytest.approx(100 / 12)  # one picture in twelve classes


@pytest.mark.parametrize('options, message', [
    (['--layers', '1'], 'there are 1 attention layers in the part decoder'),
    (['--heads', '5'], 'there are 3 heads'),
    (['--scales', '0', '-1'], 'not negative'),
])
def test_command_with_bad_input(main, segmentor, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        main([*segmentor, *options, '--out', str(tmp_path), '--device', 'cpu'])


def test_command_on_a_part_without_attention(main, tmp_path, data):
    linear = save_model(tmp_path, 'segmenter/segmenter_linear_mini_ade20k.py', data_root=data)
    with pytest.raises(UserError, match='no attention with projections in its decoder. Commands that apply'):
        main([*linear, '--part', 'decoder', '--out', str(tmp_path), '--device', 'cpu'])
