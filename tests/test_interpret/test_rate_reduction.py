"""Reduction of the coding rate: constructed steps, the layers of a model, the command."""
import math

import pytest
import torch

from mmwhitebox.apis import init_model
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.coding_rate import coding_rate
from mmwhitebox.interpret.rate_reduction import (
    REDUCTIONS,
    Reductions,
    cbsa_reduction,
    correlation,
    layer_reduction,
    representative_layers,
)
from mmwhitebox.models.access import logits
from mmwhitebox.ops import cbsa
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_images, save_model


def test_no_step_reduces_nothing():
    w = torch.randn(2, 3, 12, 5)
    reduction = cbsa_reduction(w, w[:, :, :4], torch.ones(3, 1, 1), torch.zeros(3, 1, 1))
    for values in reduction.values():
        torch.testing.assert_close(values, torch.zeros(2, 3, dtype=torch.float64))


def test_a_step_that_cancels_the_representative():
    """One representative r without extraction is contracted to itself; the step -1 leaves nothing of it."""
    w, r0 = torch.randn(1, 1, 9, 4, dtype=torch.float64), torch.tensor([[[[0., 3., 0., 4.]]]], dtype=torch.float64)
    reduction = cbsa_reduction(w, r0, torch.zeros(1, 1, 1), -torch.ones(1, 1, 1))
    assert reduction['representatives'].item() == pytest.approx(math.log(1 + 4 / 0.01 * 25) / 2)


def test_tokens_take_the_step_of_the_operator():
    w = torch.randn(2, 3, 12, 5, dtype=torch.float64)
    steps = torch.randn(2, 3, 1, 1, dtype=torch.float64)
    reduction = cbsa_reduction(w, w[:, :, :4], *steps)
    after = w + cbsa(w, w[:, :, :4], *steps)
    torch.testing.assert_close(reduction['tokens'], coding_rate(w) - coding_rate(after))


def test_correlation():
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 2, 3], [1, 0, -1]) == pytest.approx(-1)
    assert math.isnan(correlation([1], [2])) and math.isnan(correlation([1, 2], [3, 3]))


def test_layers_of_a_model():
    model = init_model(reduced('cbt_decoder/cbt_decoder_cbt_mini_ade20k.py'), device='cpu')
    layers = representative_layers(model)
    assert [layer.name for layer in layers] == ['backbone.layers.0.attn', 'decode_head.layers.0.attn']
    reductions = Reductions(layers, [0, 1])
    with capture(reductions.modules) as calls:
        logits(model, torch.randn(2, 3, 64, 64))
    reductions.update(calls)
    single = layer_reduction(layers[1], calls)
    rows = [row for row in reductions.rows() if row['layer'] == 1]
    assert len(rows) == 3 and rows[0]['images'] == 2
    for head, row in enumerate(rows):
        for name in REDUCTIONS:
            assert row[name] == pytest.approx(single[name][:, head].mean().item())
            assert row[f'{name}_std'] == pytest.approx(single[name][:, head].std().item())


def test_command(tmp_path, capsys):
    images = save_images(tmp_path / 'images', a=(40, 60), b=(70, 50))
    pair, out = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py'), str(tmp_path / 'out')
    assert command('rate_reduction')([*pair, images, '--out', out, '--heads', '0,2']) == 0
    assert [(row['layer'], row['head']) for row in numbers(tmp_path / 'out', 'rate_reduction')] == [(1, 0), (1, 2)]
    assert (tmp_path / 'out' / 'rate_reduction.png').stat().st_size
    assert 'Pearson correlation of representatives and tokens within the subspace' in capsys.readouterr().out
    with pytest.raises(UserError, match='Layers that have: 1'):
        command('rate_reduction')([*pair, images, '--out', out, '--layers', '0'])
    with pytest.raises(UserError, match='no attention through representatives.*coding_rate'):
        command('rate_reduction')([*save_model(tmp_path, 'tost/tost_mini_imagenet.py'), images, '--out', out])


def test_reduction_after_the_whole_layer_by_hand():
    model = init_model(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py'), device='cpu')
    layer, = representative_layers(model)
    head = model.decode_head.layers[0]
    z = torch.randn(2, 150 + 12, 192)
    with torch.no_grad(), capture(Reductions([layer], [0]).modules) as calls:
        after = head(z, (3, 4))
    found = layer_reduction(layer, calls)['tokens_after_layer']
    rates = [coding_rate(head.attn.subspace_tokens(head.norm(x)), 0.01) for x in (z, after)]
    torch.testing.assert_close(found, rates[0] - rates[1])
