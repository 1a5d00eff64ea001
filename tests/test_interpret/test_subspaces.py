"""Subspaces: constructed bases, scipy's angles, the command."""
import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from mmwhitebox.errors import UserError
from mmwhitebox.interpret.subspaces import (
    affinity,
    angle_matrix,
    column_coherence,
    orthonormality_error,
    principal_angles,
    subspace_bases,
    subspace_rows,
)
from mmwhitebox.models.attention import CBSA, MHSA, AgentAttention
from mmwhitebox.models.attention_layers import subspace_projection
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_config, save_model


@pytest.mark.parametrize('p, q', [(3, 3), (2, 4), (4, 1)])
def test_angles_are_scipy_s(p, q):
    a, b = torch.randn(7, p, dtype=torch.float64), torch.randn(7, q, dtype=torch.float64)
    expected = np.rad2deg(np.sort(subspace_angles(a.numpy(), b.numpy())))
    np.testing.assert_allclose(principal_angles(a, b).numpy(), expected, rtol=1e-9)


def test_known_angles_keep_their_digits():
    eye = torch.eye(4, dtype=torch.float64)
    for degrees in (1e-7, 30., 45., 89.9999999):
        turn = math.radians(degrees)
        b = torch.stack([eye[0], math.cos(turn) * eye[1] + math.sin(turn) * eye[2]], 1)
        angles = principal_angles(eye[:, :2], b)
        assert angles[0].item() == pytest.approx(0, abs=1e-12)
        assert angles[1].item() == pytest.approx(degrees, rel=1e-8)


def test_orthonormal_and_scaled_bases():
    q = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    bases = torch.stack([q[:, :4], q[:, 4:], 3 * q[:, :4]])
    torch.testing.assert_close(
        orthonormality_error(bases), torch.tensor([0, 0, 8 * 2.], dtype=torch.float64), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(column_coherence(bases), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    angles = angle_matrix(bases)
    torch.testing.assert_close(angles[0, 1], torch.full((4, ), 90., dtype=torch.float64))
    expected = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1.]], dtype=torch.float64)
    torch.testing.assert_close(affinity(angles), expected, atol=1e-9, rtol=0)


def test_coherence_of_columns_at_an_angle():
    basis = torch.tensor([[1., 1.], [0., 1.]], dtype=torch.float64)
    assert column_coherence(basis).item() == pytest.approx(math.cos(math.pi / 4))
    assert column_coherence(basis[:, :1]).item() == 0


def test_random_values():
    """The values of random directions that the figure shows are what random matrices give."""
    attention = CBSA(96, 4)
    torch.nn.init.normal_(attention.proj.weight)
    rows = subspace_rows(dict(layer=attention), [0])
    assert np.mean([row['affinity'] for row in rows]) == pytest.approx(rows[0]['random_affinity'], rel=0.03)
    coherence = np.mean([row['column_coherence'] for row in rows])
    assert coherence == pytest.approx(rows[0]['random_column_coherence'], rel=0.1)


def test_bases_are_the_columns_of_u():
    attention = CBSA(12, 3)
    x = torch.randn(1, 4, 12)
    w = x[:, None].double() @ subspace_bases(attention)
    torch.testing.assert_close(w.float(), attention.subspace_tokens(x))
    agent = AgentAttention(12, 3)
    assert subspace_bases(agent).shape == (3, 12, 4)
    assert subspace_projection(AgentAttention(12, 3, shared_qkv=False)) is None
    assert subspace_projection(MHSA(12, 3)) is None


def test_one_head_has_no_others():
    row, = subspace_rows(dict(layer=CBSA(8, 1, 4)), [0])
    assert math.isnan(row['affinity']) and math.isnan(row['smallest_angle'])


def test_command(tmp_path, capsys):
    pair, out = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py'), str(tmp_path / 'out')
    assert command('subspaces')([*pair, '--out', out]) == 0
    rows = numbers(tmp_path / 'out', 'subspaces')
    assert [(row['layer'], row['head']) for row in rows] == [(1, 0), (1, 1), (1, 2)]
    assert {path.name for path in (tmp_path / 'out').glob('*.p*')} == {
        f'{name}.{kind}' for name in ('subspaces', 'subspaces_angles') for kind in ('png', 'pdf')}
    assert 'random directions' in capsys.readouterr().out
    vit = reduced('cbt/cbt_mini_imagenet.py')
    vit.model.backbone.arch.attention = dict(type='MHSA')
    with pytest.raises(UserError, match='into subspaces by one map. Commands that apply to it: complexity'):
        command('subspaces')([*save_config(tmp_path, 'vit.py', vit), '--out', out])
