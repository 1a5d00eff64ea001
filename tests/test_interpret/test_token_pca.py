"""Tokens as colour: components of an independent decomposition, with a sign that is fixed."""
import numpy as np
import pytest
import torch

from mmwhitebox.interpret.token_pca import principal_components, token_colours


@pytest.mark.parametrize('n, d', [(40, 12), (12, 40)])
def test_components(n, d):
    tokens = torch.randn(n, d) * torch.linspace(3, 0.1, d) + 5
    x = tokens.numpy().astype(np.float64)
    x -= x.mean(0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    signs = np.sign(vt[np.arange(3), np.abs(vt[:3]).argmax(1)])
    found = principal_components(tokens)
    np.testing.assert_allclose(found, (u * s)[:, :3] * signs, atol=1e-4)
    assert torch.equal(principal_components(tokens), found)
    np.testing.assert_allclose(principal_components(-tokens).abs(), found.abs(), atol=1e-4)


def test_colours_fill_the_range():
    colours = token_colours(torch.randn(30, 8))
    assert colours.shape == (30, 3) and torch.equal(colours.amin(0), torch.zeros(3))
    torch.testing.assert_close(colours.amax(0), torch.ones(3))


@pytest.mark.parametrize('tokens, constant', [
    (torch.ones(9, 5), [0, 1, 2]), (torch.randn(9, 1) * torch.randn(1, 5), [1, 2]), (torch.randn(2, 5), [1, 2]),
    (torch.randn(1, 5), [0, 1, 2]), (torch.randn(9, 2), [2]),
    (torch.full((9, 4), float('nan')), [0, 1, 2])
])
def test_a_direction_that_is_not_there_is_grey(tokens, constant):
    colours = token_colours(tokens)
    assert colours.isfinite().all()
    assert [i for i in range(3) if (colours[:, i] == 0.5).all()] == constant
