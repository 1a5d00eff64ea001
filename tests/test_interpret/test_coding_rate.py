"""Coding rates: closed forms, the recorded official numbers, the layers of a model, the command."""
import math

import numpy as np
import pytest
import torch
from torch import nn

from mmwhitebox.apis import init_model
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.coding_rate import RateCurves, coding_rate, compression_verdict, layer_rates, sparsity
from mmwhitebox.interpret.running_moments import RunningMoments
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention_layers import compression_layers
from mmwhitebox.models.layers import TransposedLayer
from tests.configs import reduced
from tests.golden import Golden, assert_close
from tests.test_interpret.small import command, numbers, save_config, save_images, save_model


@pytest.mark.parametrize('case, normalize', [('crate', True), ('cbsa', False)])
def test_golden(case, normalize):
    golden = Golden(f'coding_rate_{case}')
    rates = coding_rate(golden.inputs['x'], normalize=normalize).sum(1)
    assert_close(rates.mean().float(), golden.outputs['mean'].float())
    assert_close(rates.std().float(), golden.outputs['std'].float())


@pytest.mark.parametrize('n, p', [(40, 16), (16, 40), (20, 20)])
def test_both_gram_forms_are_equal(n, p):
    w = torch.randn(2, 3, n, p, dtype=torch.float64)
    scale = p / (n * 0.01)
    for gram, size in ((w @ w.mT, n), (w.mT @ w, p)):
        expected = torch.logdet(torch.eye(size, dtype=w.dtype) + scale * gram) / 2
        torch.testing.assert_close(coding_rate(w), expected, rtol=1e-10, atol=0)


def test_orthogonal_tokens():
    n, p, length, eps_squared = 6, 10, 3., 0.5
    w = length * torch.linalg.qr(torch.randn(p, n, dtype=torch.float64))[0].mT
    expected = n / 2 * math.log(1 + p / (n * eps_squared) * length**2)
    torch.testing.assert_close(coding_rate(w, eps_squared).item(), expected)
    expected = n / 2 * math.log(1 + p / (n * eps_squared))
    torch.testing.assert_close(coding_rate(w, eps_squared, normalize=True).item(), expected)


def test_rank_one_tokens():
    n, p = 50, 8
    w = torch.randn(n, 1, dtype=torch.float64) * torch.randn(1, p, dtype=torch.float64)
    expected = math.log(1 + p / (n * 0.01) * w.square().sum().item()) / 2
    torch.testing.assert_close(coding_rate(w).item(), expected)
    torch.testing.assert_close(coding_rate(w, normalize=True).item(), math.log(1 + p / 0.01) / 2)


def test_float32_input_keeps_its_digits():
    w = torch.randn(2, 30, 8) * torch.logspace(3, -3, 8)
    assert coding_rate(w).dtype == torch.float64
    torch.testing.assert_close(coding_rate(w), coding_rate(w.double()), rtol=1e-12, atol=0)


def test_zero_and_diverged_tokens():
    zeros = torch.zeros(1, 4, 3)
    assert coding_rate(zeros) == 0 and coding_rate(zeros, normalize=True) == 0
    assert coding_rate(torch.full((4, 3), float('nan'))).isnan()


def test_sparsity_counts_zeros():
    z = torch.tensor([[[0., 1.], [0., 0.]], [[1., 2.], [3., -4.]]])
    assert sparsity(z).tolist() == [0.75, 0.]


def test_running_moments():
    values = np.random.default_rng(0).normal(1e6, 1, (50, 3))
    moments = RunningMoments()
    for i, value in enumerate(values):
        moments.update(value)
        if i == 0:
            assert (moments.std == 0).all()
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.std, values.std(0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize('rates, says', [
    ([5, 9, 4, 3, 2, 1], 'falls over the later half of the layers, from layer 2 to layer 5 (4.0 -> 1.0'),
    ([5, 9, 4, 3, 2, 1], 'falling in 3 of 3 steps'),
    ([5, 9, 4, 3, 3.5, 1], 'but not in every step'), ([1, 2, 3, 4], 'does not fall'), ([1], 'One layer')])
def test_verdict(rates, says):
    assert says in compression_verdict(rates)


@pytest.fixture(scope='module')
def cbt():
    cfg = reduced('cbt/cbt_mini_imagenet.py')
    cfg.model.backbone.arch.num_layers = 2
    return init_model(cfg, device='cpu')


def test_layers_of_an_encoder_by_hand(cbt):
    layers = compression_layers(cbt)
    assert [layer.name for layer in layers] == ['backbone.layers.0.attn', 'backbone.layers.1.attn']
    images = torch.randn(2, 3, 64, 72)
    curves = RateCurves(layers, [0, 1])
    with capture(curves.modules) as calls:
        logits(cbt, images)
    with torch.no_grad():
        x, hw_shape = cbt.backbone.stem(images)
        x = torch.cat([cbt.backbone.cls_token.expand(2, -1, -1), x], 1) + cbt.backbone.pos_embed(hw_shape)
        for block, layer in zip(cbt.backbone.layers, layers):
            middle = x + block.attn(block.norm1(x), hw_shape)
            after = block.ffn(block.norm2(middle))
            rates = layer_rates(layer, calls, heads=[0, 2])
            for stage, z in (('input', x), ('attention', middle), ('feedforward', after)):
                w = block.attn.subspace_tokens(block.norm1(z))[:, [0, 2]]
                torch.testing.assert_close(rates[stage]['compression'], coding_rate(w).sum(1), rtol=1e-5, atol=0)
                torch.testing.assert_close(rates[stage]['expansion'], coding_rate(z), rtol=1e-5, atol=0)
            torch.testing.assert_close(rates['feedforward']['sparsity'], sparsity(after))
            assert 'sparsity' not in rates['attention']
            x = after
    curves.update(calls)
    assert curves.moments.count == 2
    rows = list(curves.rows())
    assert [(row['layer'], row['stage']) for row in rows] == [
        (i, stage) for i in range(2) for stage in ('input', 'attention', 'feedforward')]
    both = layer_rates(layers[0], calls)['attention']['compression']
    assert rows[1]['compression'] == pytest.approx(both.mean().item())
    assert rows[1]['compression_std'] == pytest.approx(both.std().item())
    assert math.isnan(rows[1]['sparsity']) and 0 < rows[2]['sparsity'] < 1


def test_layers_of_other_models():
    depict = init_model(reduced('depict/depict_ca_mini_ade20k.py'), device='cpu')
    assert [layer.name for layer in compression_layers(depict)] == ['decode_head.layers.0.attn']
    tost = init_model(reduced('tost/tost_mini_imagenet.py'), device='cpu')
    assert not compression_layers(tost)[0].is_sparse
    assert [layer.name for layer in compression_layers(tost)] == ['backbone.layers.0.attn']


def test_command_with_two_models_and_mixed_sizes(tmp_path, capsys):
    images = save_images(tmp_path / 'images', a=(40, 60), b=(70, 50))
    cbt = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py')
    decoder = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py')
    assert command('coding_rate')([*cbt, '--also', *decoder, '--out', str(tmp_path / 'out'), images]) == 0
    rows = numbers(tmp_path / 'out', 'coding_rate')
    assert {(row['model'], row['layer']) for row in rows} == {('cbt_mini_imagenet', 0), ('cbt_decoder_mini_ade20k', 1)}
    assert all(row['images'] == 2 and row['compression'] > 0 for row in rows)
    assert all((tmp_path / 'out' / f'coding_rate{suffix}').stat().st_size for suffix in ('.png', '.pdf'))
    assert 'One layer has no later half' in capsys.readouterr().out


def test_bad_input(tmp_path):
    cbt = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py')
    images = save_images(tmp_path / 'images', a=(40, 60))
    tool, out = command('coding_rate'), ['--out', str(tmp_path / 'out')]
    with pytest.raises(UserError, match='--layers 7: there are 1 attention layers'):
        tool([*cbt, images, *out, '--layers', '7'])
    with pytest.raises(UserError, match='--heads 3: there are 3 heads, 0 to 2'):
        tool([*cbt, images, *out, '--heads', '3'])
    with pytest.raises(UserError, match='x.pth does not exist'):
        tool([cbt[0], 'x.pth', images, *out])
    with pytest.raises(UserError, match='is not of this model'):
        decoder = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py')
        tool([cbt[0], decoder[1], images, *out, '--device', 'cpu'])
    with pytest.raises(UserError, match='--device nowhere: '):
        tool([*cbt, images, *out, '--device', 'nowhere'])
    with pytest.raises(UserError, match='is not writable'):
        tool([*cbt, images, '--out', f'{images}/a.jpg/out'])
    vit = reduced('cbt/cbt_mini_imagenet.py')
    vit.model.backbone.arch.attention = dict(type='MHSA')
    with pytest.raises(UserError, match='This model has no attention that compresses.*complexity, attention_map'):
        tool([*save_config(tmp_path, 'vit.py', vit), images, *out])


def test_a_layer_that_ends_with_its_attention_sees_the_tokens_before_it():
    layer = TransposedLayer(12, 2, dict(type='MSSA'), dict(type='DictionaryMap'), dict(type='LN'))
    (found, ) = compression_layers(nn.ModuleList([layer]))
    x = torch.randn(2, 4, 12)
    with capture(found.modules) as calls, torch.no_grad():
        out = layer(x, (2, 2))
        inside = layer.ffn(layer.norm1(x))
        tokens = found.tokens(calls)
        assert list(tokens) == ['input', 'attention']
        torch.testing.assert_close((tokens['input'], tokens['attention']), (inside, out))
        torch.testing.assert_close(found.project(inside), layer.attn.subspace_tokens(layer.norm2(inside)))
