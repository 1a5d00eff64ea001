"""Costs against hand counts."""
import pytest
import torch
from torch import nn

from mmwhitebox.interpret import activation_memory, count_flops, count_parameters, count_similarities
from mmwhitebox.models.attention import CBSA, MSCA, MSSA
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.models.layers import AttentionLayer


def test_flops_are_two_per_multiply_add_and_ista_counts_two_products():
    x = torch.randn(2, 5, 8)
    assert count_flops(nn.Linear(8, 3, bias=False), x) == 2 * 2 * 5 * 8 * 3
    assert count_flops(nn.Sequential(ISTA(8), nn.Linear(8, 3, bias=False)), x) == 2 * 5 * (4 * 8 * 8 + 2 * 8 * 3)


def test_fused_attention_is_counted():
    layer = MSSA(8, 2, out_proj=None)
    with_attention = count_flops(Grid(layer), torch.randn(1, 6, 8))
    assert with_attention == 2 * 6 * 8 * 8 + 2 * 2 * 6 * 6 * 8


def test_counting_leaves_the_model_as_it_was():
    layer = ISTA(8)
    count_flops(layer, torch.randn(1, 4, 8))
    assert all(p.requires_grad for p in layer.parameters()) and not layer._forward_hooks


class Grid(nn.Module):
    """Calls an attention (layer) with a 2 x 3 grid."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, (2, 3))


def test_similarities():
    x = torch.randn(1, 6 + 4, 12)
    assert count_similarities(Grid(MSSA(12, 3)), x) == 3 * 10 * 10
    cbsa = AttentionLayer(12, dict(type='CBSA', num_heads=3, pool_size=2), dict(type='LN'))
    assert count_similarities(Grid(cbsa), x) == 3 * (4 * 10 + 4 * 5 // 2)
    assert isinstance(cbsa.attn, CBSA)
    assert count_similarities(MSCA(12, 3), torch.randn(1, 7, 12), x) == 3 * 7 * 10


@pytest.mark.parametrize('attention, tiny, small', [('CBSA', 0.53, 1.1), ('TSSA', 0.45, 0.91), ('MSSA', 1.4, 2.8)])
def test_similarities_of_table_4(attention, tiny, small):
    for arch, published in (('cbt-tiny', tiny), ('cbt-small', small)):
        with torch.device('meta'):
            model = WhiteBoxTransformer(arch, attention=dict(type=attention)).eval()
            image = torch.empty(1, 3, 224, 224)
        assert float(f'{count_similarities(model, image) / 1e6:.2g}') == published


def test_activation_memory_counts_each_saved_storage_once():
    layer = nn.Linear(16, 16)
    x = torch.randn(4, 16)

    def loss():
        y = layer(x)  # saves x
        return (y * y).sum()  # saves y, twice

    assert activation_memory(layer, loss) == (2 * 4 * 16 * 4, 'computed')
    assert count_parameters(layer) == 16 * 17
