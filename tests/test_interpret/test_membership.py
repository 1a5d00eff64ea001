"""Membership: constructed clusters are found, and the command shows them."""
import math

import pytest
import torch

from mmwhitebox.errors import UserError
from mmwhitebox.interpret.membership import (
    gate_maps,
    hard_assignment,
    has_gate,
    has_membership,
    membership_maps,
    membership_statistics,
)
from mmwhitebox.models.attention import CBSA, DMSA, MSSA, TSSA
from tests.test_interpret.small import command, numbers, save_images, save_model

GRID = (3, 4)
CLUSTERS = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 2], [0, 2, 2, 2]])


def clustered_tokens(dims_per_cluster: int, num_extra: int = 2) -> torch.Tensor:
    """Tokens whose features are zero but for those of their cluster; extra tokens are noise, first."""
    patches = torch.zeros(12, 3, dims_per_cluster)
    patches[torch.arange(12), CLUSTERS.flatten()] = 1
    return torch.cat([torch.randn(num_extra, 3 * dims_per_cluster), patches.flatten(1)])[None]


@pytest.fixture
def dmsa():
    """DMSA whose logit of head k is 40 times the first feature of cluster k."""
    attention = DMSA(12, 3, rope=False)
    with torch.no_grad():
        attention.to_logits.weight.zero_()
        attention.to_logits.weight[torch.arange(3), torch.arange(3) * 4] = 40
    return attention


def test_dmsa_clusters(dmsa):
    args = (clustered_tokens(4), GRID)
    maps = membership_maps(dmsa, args)
    expected = torch.nn.functional.one_hot(CLUSTERS, 3).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(maps, expected, atol=1e-6, rtol=0)
    assert torch.equal(hard_assignment(maps)[0], CLUSTERS)
    assert torch.equal(gate_maps(dmsa, args), expected)  # soft thresholding: exactly zero elsewhere
    statistics = membership_statistics(maps)
    torch.testing.assert_close(statistics['assigned'][0], torch.tensor([5, 3, 4]).double() / 12)
    torch.testing.assert_close(statistics['mean'], statistics['assigned'], atol=1e-6, rtol=0)
    assert statistics['entropy'].item() < 1e-6


def test_tssa_clusters():
    attention = TSSA(12, 3)
    with torch.no_grad():
        attention.proj.weight.copy_(torch.eye(12))
        attention.temp.fill_(100)
    maps = membership_maps(attention, (clustered_tokens(4, num_extra=0), GRID))
    # Each of the p = 4 channels of cluster k has n_k equal tokens: energy 4 / n_k there, 0 elsewhere.
    energy = torch.zeros(3, 12)
    for k, size in enumerate((5, 3, 4)):
        energy[k, CLUSTERS.flatten() == k] = 4 / size
    torch.testing.assert_close(maps[0].flatten(1), (100 * energy).softmax(0).detach())
    assert torch.equal(hard_assignment(maps)[0], CLUSTERS)


def test_uniform_membership_has_entropy_one():
    statistics = membership_statistics(torch.full((2, 4, 3, 3), 0.25))
    torch.testing.assert_close(statistics['entropy'], torch.ones(2).double())
    half = torch.tensor([0.5, 0.5, 0, 0]).view(1, 4, 1, 1)
    assert math.isclose(membership_statistics(half)['entropy'].item(), 0.5)


def test_who_has_what():
    assert has_membership(TSSA(12, 3)) and has_membership(DMSA(12, 3)) and not has_membership(CBSA(12, 3))
    assert has_gate(DMSA(12, 3)) and not has_gate(TSSA(12, 3)) and not has_gate(DMSA(12, 3, gate_act=None))
    with pytest.raises(TypeError, match='MSSA has no membership'):
        membership_maps(MSSA(12, 3), (torch.randn(1, 12, 12), GRID))
    with pytest.raises(TypeError, match='no selection gate'):
        gate_maps(DMSA(12, 3, gate_act=None), (torch.randn(1, 12, 12), GRID))


@pytest.fixture(scope='module')
def main():
    return command('membership')


@pytest.fixture(scope='module')
def dmst(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp('dmst'), 'dmst/dmst_mini_imagenet.py')


def test_command(main, dmst, tmp_path):
    images = save_images(tmp_path / 'images', a=(48, 80), b=(64, 64))
    assert main([*dmst, images, '--out', str(tmp_path / 'out'), '--device', 'cpu']) == 0
    rows = numbers(tmp_path / 'out', 'membership')
    assert [row['head'] for row in rows] == [0, 1, 2] and {row['images'] for row in rows} == {2}
    assert sum(row['mean'] for row in rows) == pytest.approx(1) == sum(row['assigned'] for row in rows)
    assert sum(row['gate_mean'] for row in rows) == pytest.approx(1)
    for name in ('a.png', 'b.pdf'):
        assert (tmp_path / 'out' / name).stat().st_size > 5000


def test_command_on_a_model_without_membership(main, tmp_path):
    cbt = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py')
    with pytest.raises(UserError, match='no membership.*Commands that apply.*attention_map'):
        main([*cbt, save_images(tmp_path / 'images', a=(64, 64)), '--out', str(tmp_path), '--device', 'cpu'])


@pytest.mark.parametrize('options, message', [
    (['--layers', '7'], '--layers 7: there are 2 attention layers, 0 to 1'),
    (['--layers', '1'], '--layers 1: these layers have no membership.*Layers that have: 0'),
    (['--heads', '0-3'], '--heads 0-3: there are 3 heads, 0 to 2'),
    ([], 'no image there'),
])
def test_command_with_bad_input(main, dmst, tmp_path, options, message):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=message):
        main([*dmst, str(tmp_path / 'empty'), *options, '--out', str(tmp_path / 'out'), '--device', 'cpu'])
