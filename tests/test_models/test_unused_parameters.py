"""Every parameter that an encoder builds gets a gradient, whatever outputs are asked for."""
import pytest
import torch

from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer

FAMILIES = ('cbt-tiny', 'crate-tiny', 'crate-cbt-tiny', 'tost-tiny', 'dmst-tiny', 'vit-tiny')
INDICES = [-1, (1, ), (0, ), (0, 2), (-2, -1)]


def whitebox(family, **options):
    arch = dict(WhiteBoxTransformer.arch_zoo[family], embed_dims=32, num_heads=2, num_layers=3)
    if not isinstance(arch['attention'], dict):
        arch['attention'] = arch['attention'][:2] + arch['attention'][-1:]
    return WhiteBoxTransformer(arch=arch, img_size=32, **options)


def check(model, outputs):
    torch.manual_seed(1)
    maps = model(torch.randn(2, 3, 32, 48))
    assert len(maps) == outputs == len(model.out_channels)
    sum((out * torch.randn_like(out)).sum() for out in maps).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize('indices', [-1, (1, ), (0, 2)])
@pytest.mark.parametrize('out_type', ['cls_token', 'featmap', 'avg_featmap', 'raw'])
@pytest.mark.parametrize('family', FAMILIES)
def test_white_box_transformers(family, out_type, indices):
    if family in ('tost-tiny', 'dmst-tiny') and out_type == 'cls_token' and indices != -1:
        pytest.skip('their class token joins after the last layer')
    check(whitebox(family, out_indices=indices, out_type=out_type), 1 if indices == -1 else len(indices))


@pytest.mark.parametrize('indices', INDICES)
@pytest.mark.parametrize('options', [dict(), dict(out_type='cls_token'), dict(attention='agent', pool_size=2)])
def test_timm_vits(options, indices):
    indices = (indices, ) if indices == -1 else indices
    model = TimmViT(model_name='vit_tiny_patch16_224', img_size=32, out_indices=indices,
                    model_kwargs=dict(embed_dim=32, depth=3, num_heads=2), **options)
    check(model, len(indices))


def test_negative_indices_name_the_blocks_of_the_whole_model():
    options = dict(model_name='vit_tiny_patch16_224', img_size=32,
                   model_kwargs=dict(embed_dim=32, depth=3, num_heads=2))
    whole = TimmViT(out_indices=(0, 1, 2), **options).eval()
    second = TimmViT(out_indices=(-2, ), **options).eval()
    second.load_state_dict(whole.state_dict())  # the third block is left out
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(second(images)[0], whole(images)[1])


def test_a_checkpoint_of_a_deeper_model_is_refused():
    with pytest.raises(RuntimeError, match='Unexpected key.*layers.2'):
        shallow = WhiteBoxTransformer(arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=32, num_heads=2,
                                                num_layers=2), img_size=32)
        shallow.load_state_dict(whitebox('cbt-tiny').state_dict())
