"""Position tables of another grid are resized when weights are loaded, as the model that they are from does it."""
import pytest
import torch
import torch.nn.functional as F

from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.models.position_tables import told_grid

TINY = dict(embed_dim=24, depth=1, num_heads=2)
ARCH = dict(WhiteBoxTransformer.arch_zoo['vit-tiny'], embed_dims=24, num_layers=1, num_heads=2)


def timm_vit(img_size, **kwargs):
    args = {'model_name': 'vit_tiny_patch16_224', 'img_size': img_size, 'model_kwargs': TINY, **kwargs}
    return TimmViT(**args).eval()


def whitebox(img_size, **kwargs):
    return WhiteBoxTransformer(arch=ARCH, img_size=img_size, out_type='featmap', **kwargs).eval()


NAMES = {
    'plain': {}, 'bilinear': dict(interpolate_mode='bilinear'),
    'distilled': dict(model_name='deit_tiny_distilled_patch16_224'),
    'no class row': dict(model_name='deit3_small_patch16_224'),
    'registers': dict(model_name='vit_small_patch14_reg4_dinov2', model_kwargs=dict(TINY, patch_size=16)),
    'no token': dict(model_name='vit_base_patch16_siglip_224'),
}
SIZES = [(64, 96), (96, 32), (64, 256), (128, 64), ((64, 96), (96, 64)), ((64, 256), 128), ((32, 96), (64, 192))]


@pytest.mark.parametrize('build', [*NAMES, 'whitebox', 'whitebox bilinear'])
@pytest.mark.parametrize('old, new', SIZES)
@torch.no_grad()
def test_a_loaded_model_computes_what_its_source_does_at_the_new_size(build, old, new):
    kind, options = (whitebox, dict(interpolate_mode='bilinear' if 'bi' in build[1:] else 'bicubic')) \
        if build.startswith('whitebox') else (timm_vit, NAMES[build])
    source, target = kind(old, **options), kind(new, **options)
    target.load_state_dict(source.state_dict())
    images = torch.randn(1, 3, *((new, new) if isinstance(new, int) else new))
    torch.testing.assert_close(target(images)[0], source(images)[0])


@pytest.mark.parametrize('kind, key', [(timm_vit, 'vit.pos_embed'), (whitebox, 'pos_embed.table')])
def test_tables_of_others_are_square_or_of_the_own_aspect_or_refused(kind, key):
    def bare(img_size):
        return dict(kind(img_size).state_dict())  # without the meta data that says the grid

    square, wide = bare(64), bare((32, 96))
    target = kind((64, 192))
    target.load_state_dict(wide)
    grid = wide[key][:, 1:].reshape(1, 2, 6, 24).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (4, 12), mode='bicubic', antialias=kind is timm_vit)
    torch.testing.assert_close(target.state_dict()[key][:, 1:], expected.flatten(2).transpose(1, 2))
    target.load_state_dict(square)
    assert torch.equal(target.state_dict()[key][:, 0], square[key][:, 0])
    with pytest.raises(RuntimeError, match='13 rows are no square grid.*set img_size'):
        kind(64).load_state_dict(wide)


@pytest.mark.parametrize('rows, own, saved, expected', [
    (17, (2, 2), None, (1, 4, 4)), (13, (4, 12), None, (1, 2, 6)), (13, (4, 4), None, None),
    (17, (4, 4), (2, 8), (1, 2, 8)), (16, (4, 4), (2, 8), (0, 2, 8)), (1, (4, 4), None, None),
])
def test_told_grid(rows, own, saved, expected):
    assert told_grid(rows, 1, own, saved) == expected


def test_the_grid_travels_with_a_checkpoint(tmp_path):
    source = timm_vit((32, 128))
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'w.pth')
    state = torch.load(tmp_path / 'w.pth', weights_only=True)['state_dict']
    target = timm_vit(64)
    before = target.vit.pos_embed.clone()
    target.load_state_dict(state)
    assert not torch.equal(target.vit.pos_embed, before)
    assert not torch.equal(target.vit.pos_embed, source.vit.pos_embed)  # same count, another grid


def test_a_table_that_may_be_two_grids_says_which_it_is_taken_for(monkeypatch):
    said = []
    monkeypatch.setattr('mmwhitebox.models.position_tables.print_log', lambda text, *args: said.append(text))
    assert told_grid(37, 1, (8, 18)) == (1, 6, 6) and '4 x 9' in said[0]
    assert told_grid(37, 1, (8, 18), (4, 9)) == (1, 4, 9) and told_grid(26, 1, (4, 8)) == (1, 5, 5) and len(said) == 1
