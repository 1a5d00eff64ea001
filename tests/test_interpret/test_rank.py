"""Rank of the extraction: against NumPy, on constructed representatives, the command."""
import numpy as np
import pytest
import torch

from mmwhitebox.apis import init_model
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.rank import Ranks, numerical_rank
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention import CBSA, AgentAttention
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_config, save_images, save_model


def numpy_rank(a):
    """Of one matrix, by NumPy's own count."""
    return np.linalg.matrix_rank(a, tol=1e-3 * np.linalg.norm(a, 2))


def test_it_is_numpy_s():
    torch.manual_seed(0)
    matrices = torch.rand(3, 4, 9, 20) @ torch.diag(10.**-torch.arange(20) / 3)
    found = numerical_rank(matrices)
    assert found.shape == (3, 4) and len(found.unique()) > 1
    assert found.tolist() == [[numpy_rank(a) for a in image.numpy()] for image in matrices]


@pytest.mark.parametrize('rank', [0, 1, 5, 9])
def test_matrices_of_known_rank(rank):
    a = torch.randn(9, rank) @ torch.randn(rank, 20)
    assert numerical_rank(a).item() == rank
    assert numerical_rank(a + 1e-6 * torch.randn(9, 20)).item() == (rank or 9)  # noise is below the threshold


def test_the_threshold():
    assert numerical_rank(torch.diag(torch.tensor([2., 1., 2.1e-3, 1.9e-3]))).item() == 3
    assert numerical_rank(torch.diag(torch.tensor([2., 1., 2.1e-3, 1.9e-3])), 0.3).item() == 2


GRID, D, K = (4, 5), 16, 2


def measured(attention, x, heads=None):
    ranks = Ranks(dict(attention=attention), [7], heads)
    with capture(ranks.modules) as calls:
        attention(x, GRID)
    ranks.update(calls)
    return list(ranks.rows())


@pytest.mark.parametrize('attention', [
    CBSA(D, K, pool_size=3), CBSA(D, K, pool_size=3, representatives='learned'), AgentAttention(D, K, pool_size=3)],
    ids=['pool', 'learned', 'Agent'])
def test_rows_of_an_attention(attention):
    """A written out from the weights; mean and unbiased deviation over the images."""
    x = torch.randn(5, 22, D)
    projection = attention.proj if isinstance(attention, CBSA) else attention.qkv
    w = projection(x).detach().unflatten(-1, (K, -1)).transpose(1, 2)
    if getattr(attention, 'representatives', None) is not None:
        torch.nn.init.normal_(attention.representatives)
        r0 = attention.representatives.detach()
    else:
        grid = w[:, :, 2:].unflatten(2, GRID).permute(0, 1, 4, 2, 3).flatten(0, 1)
        r0 = torch.nn.functional.adaptive_avg_pool2d(grid, 3).flatten(2).mT.unflatten(0, (5, K))
    a = ((D // K)**-0.5 * r0 @ w.mT).softmax(-1)
    expected = np.array([[numpy_rank(head) for head in image.double().numpy()] for image in a])
    rows = measured(attention, x)
    assert [row['rank'] for row in rows] == pytest.approx(expected.mean(0))
    assert [row['rank_std'] for row in rows] == pytest.approx(expected.std(0, ddof=1))
    assert rows[1]['layer'] == 7 and rows[1]['head'] == 1 and rows[1]['images'] == 5
    assert (rows[0]['m'], rows[0]['p']) == (9, 8)
    assert [row['head'] for row in measured(attention, x, [1])] == [1]


def test_representatives_that_are_one_have_rank_one():
    attention, x = CBSA(D, K, pool_size=3, representatives='learned'), torch.randn(2, 20, D)
    with torch.no_grad():
        attention.representatives[:] = attention.representatives[:, :, :1]
    for row in measured(attention, x):
        assert (row['rank'], row['rank_std'], row['representatives']) == (1, 0, 'learned')


def test_layers_of_a_whole_model():
    model = init_model(reduced('cbt_decoder/cbt_decoder_cbt_mini_ade20k.py'), device='cpu')
    layers = {name: model.get_submodule(name) for name in ('backbone.layers.0.attn', 'decode_head.layers.0.attn')}
    ranks = Ranks(layers, [0, 1])
    with capture(ranks.modules) as calls, torch.inference_mode():
        logits(model, torch.randn(2, 3, 64, 64))
    ranks.update(calls)
    rows = list(ranks.rows())
    assert {(row['layer'], row['m']) for row in rows} == {
        (i, layer.pool_size**2) for i, layer in enumerate(layers.values())}
    assert all(1 <= row['rank'] <= row['m'] for row in rows)


def test_command(tmp_path, capsys):
    """Pool and learned representatives side by side; a model that has fewer layers leaves dashes."""
    images = save_images(tmp_path / 'images', a=(40, 60), b=(70, 50))
    pair, out = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py'), str(tmp_path / 'out')
    learned = reduced('cbt/cbt_learned_mini_imagenet.py')
    learned.model.backbone.arch.num_layers = 2
    also = save_config(tmp_path, 'cbt_learned_mini_imagenet.py', learned)
    assert command('rank')([*pair, images, '--out', out, '--also', *also]) == 0
    rows = numbers(tmp_path / 'out', 'rank')
    assert [(row['model'], row['layer'], row['head'], row['representatives']) for row in rows] == [
        ('cbt_mini_imagenet', 0, head, 'pool') for head in range(3)] + [
        ('cbt_learned_mini_imagenet', layer, head, 'learned') for layer in range(2) for head in range(3)]
    assert (tmp_path / 'out' / 'rank.png').stat().st_size and (tmp_path / 'out' / 'rank.pdf').stat().st_size
    text = capsys.readouterr().out
    assert text.count('min(m, p)') == 2 and 'mean +- std over 2 images' in text
    line = next(line for line in text.splitlines() if line.split()[1:4:2] == ['1', '0'])
    assert line.count(' - ') >= 2
    mean = np.mean([row['rank'] for row in rows if row['representatives'] == 'learned'])
    assert f'cbt_learned_mini_imagenet: mean rank {mean:.1f} over 6 heads, representatives learned' in text


def test_what_has_no_representatives_is_refused(tmp_path):
    images, out = save_images(tmp_path / 'images', a=(40, 60)), str(tmp_path / 'out')
    pair = save_model(tmp_path, 'tost/tost_mini_imagenet.py')
    with pytest.raises(UserError, match=r'no attention through representatives \(CBSA, Agent\).*coding_rate'):
        command('rank')([*pair, images, '--out', out])
    pair = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py')
    with pytest.raises(UserError, match='Layers that have: 1'):
        command('rank')([*pair, images, '--out', out, '--layers', '0'])
