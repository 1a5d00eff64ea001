"""Attention modules against the official implementations: outputs, maps and every gradient."""
import pytest

from mmwhitebox.models.attention import CBSA, MSSA, TSSA, AgentAttention
from tests.golden import Golden, assert_close, check_gradients, form  # noqa: F401

PROJ = {'proj.weight': 'qkv.weight'}
SEQUENTIAL_OUT = {**PROJ, 'to_out.weight': 'to_out.0.weight', 'to_out.bias': 'to_out.0.bias'}
CBSA_ARGS = dict(embed_dims=48, num_heads=3, pool_tokens='official')

# case -> module, grid, our key -> official key where they differ
CASES = {
    'cbsa_attention': (lambda: CBSA(**CBSA_ARGS), (14, 14), {}),
    'cbsa_attention_small_grid': (lambda: CBSA(**CBSA_ARGS), (6, 6), {}),
    'mssa_attention': (lambda: MSSA(48, 3, head_dims=20), (8, 8), PROJ),
    'crate_attention': (lambda: MSSA(48, 3), (8, 8), SEQUENTIAL_OUT),
    'crate_attention_single_head': (lambda: MSSA(24, 1, out_proj=None), (7, 7), PROJ),
    'tssa_attention': (lambda: TSSA(48, 3), (14, 14), PROJ),
    'tost_attention': (lambda: TSSA(48, 3, qkv_bias=True), (14, 14),
                       {**SEQUENTIAL_OUT, 'proj.bias': 'qkv.bias'}),
    'vit_adapt_attention': (lambda: AgentAttention(
        48, 3, pool_tokens='official', shared_qkv=False, qkv_bias=True), (14, 14),
                            {'to_out.weight': 'proj.weight', 'to_out.bias': 'proj.bias'}),
}


@pytest.mark.parametrize('case', CASES)
def test_outputs_and_gradients(case, form):  # noqa: F811
    golden = Golden(case)
    build, hw_shape, keys = CASES[case]
    module = build()
    module.load_state_dict({ours: golden.params[keys.get(ours, ours)] for ours in module.state_dict()})
    x = golden.inputs['x'].requires_grad_()
    y = module(x, hw_shape)
    assert_close(y, golden.outputs['y'], 'y')
    if 'attn' in golden.outputs:
        assert_close(module.attention_map(x[:1], hw_shape), golden.outputs['attn'], 'attn')
    check_gradients(golden, module, y, x, lambda grads: {keys.get(k, k): g for k, g in grads.items()})


def test_pooling_the_patch_tokens_is_the_default_and_differs_from_the_official_slip():
    golden = Golden('cbsa_attention')
    module = CBSA(embed_dims=48, num_heads=3)
    module.load_state_dict(golden.params)
    y = module(golden.inputs['x'], (14, 14))
    assert (y - golden.outputs['y']).abs().max() > 1e-2
