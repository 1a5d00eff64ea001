"""Pooling and interpolation of grids: the forms for symbolic sizes against torch's and mmpretrain's own."""
import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import nn
from torch.export import Dim

from mmwhitebox.models.backbones.timm_vit import TimmViT
from mmwhitebox.ops import adaptive_avg_pool, resize_positions
from mmwhitebox.ops.pool import averaging_matrix, pool_grid
from mmwhitebox.ops.resampling import fit_positions, is_symbolic


@pytest.mark.parametrize('size, bins', [(14, 8), (3, 8), (8, 8), (33, 10), (1, 3)])
def test_the_averaging_matrix_is_the_adaptive_pool(size, bins):
    x = torch.randn(2, 5, size, dtype=torch.float64)
    torch.testing.assert_close(x @ averaging_matrix(size, bins, x).mT, F.adaptive_avg_pool1d(x, bins))


class Pool(nn.Module):

    def forward(self, grid):
        assert is_symbolic(*grid.shape[2:]) == torch.compiler.is_exporting()
        return adaptive_avg_pool(grid, 5)


def test_the_pool_has_one_graph_for_all_sizes():
    shapes = dict(grid={2: Dim('h', min=2), 3: Dim('w', min=2)})
    pool = torch.export.export(Pool(), (torch.randn(1, 2, 7, 9), ), dynamic_shapes=shapes).module()
    for size in ((7, 9), (5, 5), (2, 11), (64, 3)):
        grid = torch.randn(1, 2, *size)
        assert torch.equal(Pool()(grid), F.adaptive_avg_pool2d(grid, 5))
        torch.testing.assert_close(pool(grid), F.adaptive_avg_pool2d(grid, 5))


@pytest.mark.parametrize('hw_shape, bins', [
    ((8, 8), 4), ((14, 14), 8), ((6, 9), 4), ((13, 7), 5), ((3, 2), 8), ((1, 1), 3)])
@pytest.mark.parametrize('batch, start, behind', [(1, 0, 0), (2, 0, 0), (2, 3, 0), (3, 1, 4), (1, 2, 1)])
def test_the_pool_of_a_token_sequence(hw_shape, bins, batch, start, behind):
    """Whatever lies around the grid; the gradient of the tokens outside is zero."""
    h, w = hw_shape
    tokens = torch.randn(batch, start + h * w + behind, 5, dtype=torch.float64, requires_grad=True)
    grid = tokens[:, start:start + h * w].transpose(1, 2).unflatten(-1, hw_shape)
    expected = F.adaptive_avg_pool2d(grid, bins).flatten(2).transpose(1, 2)
    pooled = pool_grid(tokens, start, hw_shape, bins)
    grad = torch.randn_like(expected)
    torch.testing.assert_close(pooled, expected)
    torch.testing.assert_close(torch.autograd.grad(pooled, tokens, grad), torch.autograd.grad(expected, tokens, grad))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_the_pool_in_half_precision(dtype):
    tokens = torch.randn(2, 1 + 14 * 14, 5).to(dtype)
    pooled, exact = pool_grid(tokens, 1, (14, 14), 8), pool_grid(tokens.double(), 1, (14, 14), 8)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), exact, rtol=0, atol=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize('mode', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(4, 6), (6, 4), (2, 12), (9, 9)])
def test_positions_are_resized_as_by_mmpretrain(mode, shape):
    table = torch.randn(1, 2 + 24, 8)
    expected = resize_pos_embed(table, (4, 6), shape, mode, num_extra_tokens=2)
    assert torch.equal(resize_positions(table, (4, 6), shape, mode, num_extra=2), expected)


def cubic_axis(old, new, step):
    """Bicubic interpolation (a = -0.75) of one axis as a matrix (new, old), ``step`` old places a new one."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        place = (i + 0.5) * step - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            d = abs(place - j)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(j, 0), old - 1)] += near if d <= 1 else far
    return matrix


@pytest.mark.parametrize('new', [(7, 9), (4, 9), (3, 2), (14, 14), (2, 12)])
def test_positions_by_a_scale_factor(new):
    """DINO's rule, written down: the step is old / (new + 0.1)."""
    table = torch.randn(1, 2 + 24, 5)
    grid = table[0, 2:].double().unflatten(0, (4, 6))
    rows, columns = (cubic_axis(o, n, o / (n + 0.1)) for o, n in zip((4, 6), new))
    expected = torch.einsum('io,jp,opd->ijd', rows, columns, grid).flatten(0, 1).float()
    found = fit_positions(table, (4, 6), new, 'dino', num_extra=2)
    assert torch.equal(found[:, :2], table[:, :2])
    torch.testing.assert_close(found[0, 2:], expected, rtol=1e-4, atol=1e-5)
    assert (found - fit_positions(table, (4, 6), new, 'bicubic', num_extra=2)).abs().max() > 1e-3
    assert fit_positions(table, (4, 6), (4, 6), 'dino', num_extra=2) is table


def test_the_same_count_in_another_aspect_takes_the_table_as_it_is():
    table = torch.randn(1, 1 + 24, 5)
    assert fit_positions(table, (4, 6), (2, 12), 'bilinear') is table
    expected = resize_pos_embed(table, (4, 6), (3, 5), 'bilinear')
    assert torch.equal(fit_positions(table, (4, 6), (3, 5), 'bilinear'), expected)


@pytest.mark.parametrize('rule', ['bilinear', 'dino'])
def test_positions_of_any_size_keep_the_rule_of_the_published_code(rule):
    """By 'bilinear' the table of 4 x 4 goes as it is to every grid of 16 patches."""
    model = TimmViT('vit_tiny_patch16_384', img_size=32, interpolate_mode=rule,
                    model_kwargs=dict(patch_size=8, embed_dim=8, depth=1, num_heads=2)).eval()
    shapes = dict(x={2: 8 * Dim('h', min=2), 3: 8 * Dim('w', min=2)})
    with torch.no_grad():
        graph = torch.export.export(model, (torch.randn(1, 3, 24, 40), ), dynamic_shapes=shapes).module()
        for size in ((32, 32), (16, 64), (64, 16), (24, 40)):
            x = torch.randn(1, 3, *size)
            torch.testing.assert_close(graph(x)[0], model(x)[0])
