"""Pooling and interpolation of grids: the forms for symbolic sizes against torch's and mmpretrain's own."""
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import nn
from torch.export import Dim

from mmwhitebox.models.backbones.timm_vit import TimmViT
from mmwhitebox.ops import adaptive_avg_pool, resize_positions
from mmwhitebox.ops.resampling import averaging_matrix, is_symbolic


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


@pytest.mark.parametrize('mode', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(4, 6), (6, 4), (2, 12), (9, 9)])
def test_positions_are_resized_as_by_mmpretrain(mode, shape):
    table = torch.randn(1, 2 + 24, 8)
    expected = resize_pos_embed(table, (4, 6), shape, mode, num_extra_tokens=2)
    assert torch.equal(resize_positions(table, (4, 6), shape, mode, num_extra=2), expected)


def test_positions_of_any_size_keep_the_rule_of_the_published_code():
    """The table of 4 x 4 goes as it is to every grid of 16 patches."""
    model = TimmViT('vit_tiny_patch16_384', img_size=32, interpolate_mode='bilinear',
                    model_kwargs=dict(patch_size=8, embed_dim=8, depth=1, num_heads=2)).eval()
    shapes = dict(x={2: 8 * Dim('h', min=2), 3: 8 * Dim('w', min=2)})
    with torch.no_grad():
        graph = torch.export.export(model, (torch.randn(1, 3, 24, 40), ), dynamic_shapes=shapes).module()
        for size in ((32, 32), (16, 64), (64, 16), (24, 40)):
            x = torch.randn(1, 3, *size)
            torch.testing.assert_close(graph(x)[0], model(x)[0])
