"""Decoders against the official implementations: masks and every gradient, square grids and others."""
import pytest
import torch
from mmengine.registry import MODELS

from mmwhitebox.checkpoints import convert_official, convert_to_official, describe_decoder
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from tests.golden import Golden, assert_close, check_gradients, form  # noqa: F401

# case -> family of checkpoint keys, grid, heads where the weights do not tell
CASES = {
    'cbt_decoder': ('cbt-decoder', (16, 16), None),
    'depict_sa_decoder': ('depict', (10, 10), None),
    'depict_sa_decoder_rect': ('depict', (6, 11), None),
    'depict_ca_decoder': ('depict', (9, 9), None),
    'segmenter_mask_decoder': ('segmenter', (6, 9), 4),
    'segmenter_linear_decoder': ('segmenter', (6, 9), None),
}


def with_prefix(state, prefix):
    return {f'{prefix}{key}': value for key, value in state.items()}


def without_prefix(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items()}


def decode_head(case):
    """Head of a golden case, built from the description of its weights."""
    family, _, num_heads = CASES[case]
    official = with_prefix(Golden(case).params, 'decoder.')
    head = MODELS.build(describe_decoder(official, family, num_heads))
    head.load_state_dict(without_prefix(convert_official(official, family), 'decode_head.'))
    return head.eval()


@pytest.mark.parametrize('case', CASES)
def test_masks_and_gradients(case, form):  # noqa: F811
    golden = Golden(case)
    family, (h, w), _ = CASES[case]
    head = decode_head(case)
    x = golden.inputs['x'].requires_grad_()
    masks = head([x.transpose(1, 2).unflatten(2, (h, w))])
    assert_close(masks, golden.outputs['masks'], 'masks')

    def official_gradients(grads):
        return without_prefix(convert_to_official(with_prefix(grads, 'decode_head.'), family), 'decoder.')

    check_gradients(golden, head, masks, x, official_gradients)


@pytest.mark.parametrize('case, attention, class_attention', [
    ('cbt_decoder', dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10), None),
    ('depict_sa_decoder', dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'), None),
    ('depict_ca_decoder', dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'),
     dict(type='MSCA', num_heads=3, head_dims=50)),
])
@torch.no_grad()
def test_the_configs_of_the_papers_are_these_decoders(case, attention, class_attention):
    golden = Golden(case)
    _, (h, w), _ = CASES[case]
    described = decode_head(case)
    head = WhiteBoxMaskHead(32, 32, num_classes=described.num_classes, num_layers=2, attention=attention,
                            class_attention=class_attention)
    head.load_state_dict(described.state_dict())
    masks = head([golden.inputs['x'].transpose(1, 2).unflatten(2, (h, w))])
    assert_close(masks, golden.outputs['masks'], 'masks')
