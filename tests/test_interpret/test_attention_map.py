"""Attention maps: rows of every attention reproduce its output or a closed form, and the command shows them."""
import pytest
import timm
import torch
from timm.layers.attention import AttentionRope
from torch import nn

from mmwhitebox.apis import init_model
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.attention_map import (
    attention_matrix,
    attention_row,
    attention_statistics,
    class_token_maps,
    has_attention_map,
    has_class_queries,
    has_class_token,
    has_representatives,
    representative_footprints,
)
from mmwhitebox.interpret.capture import capture
from mmwhitebox.models.attention import CBSA, MSCA, AgentAttention, build_attention
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.registry import ATTENTIONS
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_config, save_images, save_model

GRID = (3, 5)
NO_SUM = ('CBSA', 'Linear', 'Spectral')
ATTENTIONS.import_from_location()


@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_every_registered_attention(name):
    attention = build_attention(dict(type=name), embed_dims=16, num_heads=2)
    args = (torch.randn(2, 1 + 15, 16), GRID) if name != 'MSCA' else (torch.randn(2, 4, 16), torch.randn(2, 15, 16))
    if not has_attention_map(attention):
        assert name in ('TSSA', 'DMSA', 'Channel')
        with pytest.raises(TypeError, match=f'{type(attention).__name__} has no attention map'):
            attention_matrix(attention, args)
        return
    matrix = attention_matrix(attention, args)
    queries, tokens = dict(ClassAttention=(1, 16), MSCA=(4, 15)).get(name, (16, 16))
    assert matrix.shape == (2, 2, queries, tokens)
    if name not in NO_SUM:
        torch.testing.assert_close(matrix.sum(-1), torch.ones(2, 2, queries), atol=1e-4, rtol=0)
    row = attention_row(attention, args, GRID, 'class')
    assert torch.equal(row, matrix[:, :, 0])
    if attention.updates_all_tokens:
        assert torch.equal(attention_row(attention, args, GRID, 'patch', 7), matrix[:, :, 8])
        with pytest.raises(IndexError, match='no patch 15'):
            attention_row(attention, args, GRID, 'patch', 15)
    else:
        with pytest.raises(TypeError, match='no patch queries'):
            attention_row(attention, args, GRID, 'patch')


@pytest.mark.parametrize('attention', [CBSA(16, 2, pool_size=2), AgentAttention(16, 2, pool_size=2)])
def test_footprints(attention):
    args = (torch.randn(2, 1 + 15, 16), GRID)
    footprints = representative_footprints(attention, args)
    assert footprints.shape == (2, 2, 4, 16) and has_representatives(attention)
    torch.testing.assert_close(footprints.sum(-1), torch.ones(2, 2, 4))
    assert torch.equal(attention_row(attention, args, GRID, 'representative', 3), footprints[:, :, 3])
    if isinstance(attention, CBSA):
        torch.testing.assert_close(attention_matrix(attention, args), footprints.mT @ footprints)


def test_footprints_of_an_attention_without_representatives():
    with pytest.raises(TypeError, match='MSCA has no representatives'):
        representative_footprints(MSCA(16, 2), ())


def output_of(attention: nn.Module, matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """What a timm attention with a fused qkv returns, from its matrix."""
    v = attention.qkv(x)[..., 2 * matrix.shape[1] * attention.head_dim:]
    if getattr(attention, 'v_bias', None) is not None:
        v = v + attention.v_bias
    heads = matrix @ v.unflatten(-1, (matrix.shape[1], -1)).transpose(1, 2)
    return attention.proj(attention.norm(heads.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('attention', [
    timm.layers.Attention(16, 2), timm.layers.Attention(16, 2, qk_norm=True, norm_layer=nn.LayerNorm),
    AttentionRope(16, 2)
])
def test_timm_attention_is_its_matrix_times_values(attention, fused):
    attention.fused_attn = fused
    kwargs = dict(rope=torch.randn(15, 16)) if isinstance(attention, AttentionRope) else {}
    x = torch.randn(2, 16, 16)
    matrix = attention_matrix(attention, (x, ), kwargs)
    torch.testing.assert_close(output_of(attention, matrix, x), attention(x, **kwargs))
    assert attention.fused_attn == fused


@pytest.mark.parametrize('name, extra', [('vit_tiny_patch16_224', 1), ('vit_small_patch16_dinov3', 5)])
def test_timm_vit(name, extra):
    """In a whole ViT, with rotary positions and register tokens where it has them."""
    model = TimmViT(name, img_size=64, model_kwargs=dict(embed_dim=24, depth=2, num_heads=3)).eval()
    layers = attention_layers(model)
    assert len(layers) == 2 and all(has_class_token(model, *item) for item in layers.items())
    with torch.no_grad(), capture(layers) as calls:
        model(torch.randn(2, 3, 48, 64))
        for name, layer in layers.items():
            matrix = attention_matrix(layer, calls[name].args, calls[name].kwargs)
            assert matrix.shape == (2, 3, 12 + extra, 12 + extra)
            torch.testing.assert_close(output_of(layer, matrix, calls[name].args[0]), calls[name].output)


def test_a_timm_module_without_one_softmax_is_refused():
    class Twice(timm.layers.Attention):
        def forward(self, x):
            return super().forward(super().forward(x))

    with pytest.raises(TypeError, match='Twice has no attention map'):
        attention_matrix(Twice(16, 2), (torch.randn(1, 4, 16), ))


def test_class_token_maps():
    model = WhiteBoxTransformer(dict(embed_dims=16, num_layers=2, num_heads=2, attention=[
        dict(type='MSSA'), dict(type='TSSA')], feedforward=dict(type='ISTA')), img_size=48).eval()
    model.extract_feat = model
    layers = {name: layer for name, layer in attention_layers(model).items() if has_class_token(model, name, layer)}
    assert list(layers) == ['layers.0.attn']
    maps = class_token_maps(model, torch.randn(1, 3, 40, 60), layers)
    assert maps['layers.0.attn'].shape == (2, 3, 4)
    tost = WhiteBoxTransformer(dict(WhiteBoxTransformer.arch_zoo['tost-tiny'], num_layers=1), img_size=32)
    assert [has_class_token(tost, *item) for item in attention_layers(tost).items()] == [False, True, True]


def test_statistics():
    rows = torch.zeros(1, 2, 1 + 15)
    rows[0, 0] = 1 / 16
    rows[0, 1, 3] = 0.4
    statistics = attention_statistics(rows, GRID)
    torch.testing.assert_close(statistics['patch_share'], torch.tensor([[15 / 16, 1]]).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(statistics['spread'], torch.tensor([[1, 1 / 15]]).double())


@pytest.fixture(scope='module')
def main():
    return command('attention_map')


@pytest.fixture(scope='module')
def cbt(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp('cbt'), 'cbt_decoder_ade20k_mini.py')


def test_command(main, cbt, tmp_path):
    images = save_images(tmp_path / 'images', a=(48, 80), b=(64, 64))
    options = ['--query', 'class-token', '--query', 'class:wall', '--query', 'representative:99',
               '--query', 'pixel:20,9', '--heads', '1,2']
    assert main([*cbt, images, *options, '--out', str(tmp_path / 'out'), '--device', 'cpu']) == 0
    rows = numbers(tmp_path / 'out', 'attention_map')
    found = [(row['query'], row['layer'].split('.')[0], row['head']) for row in rows]
    expected = [('class-token', 'backbone'), ('class:wall', 'decode_head'), ('representative:99', 'decode_head'),
                ('pixel:20,9', 'backbone'), ('pixel:20,9', 'decode_head')]
    assert found == [(*pair, head) for pair in expected for head in (1, 2)]
    assert all(0 < row['patch_share'] < 1 and 0 < row['spread'] <= 1 and row['images'] == 2 for row in rows)
    assert {path.name for path in (tmp_path / 'out').glob('a*.png')} == {
        'a_class-token.png', 'a_class-wall.png', 'a_representative-99.png', 'a_pixel-20-9.png'}


def test_default_queries(main, tmp_path):
    depict = save_model(tmp_path, 'depict_ca_ade20k_mini.py')
    images = save_images(tmp_path / 'images', a=(48, 64))
    main([*depict, images, '--out', str(tmp_path / 'out'), '--device', 'cpu'])
    rows = numbers(tmp_path / 'out', 'attention_map')
    assert {(row['query'], row['layer']) for row in rows} == {
        ('class-token', 'backbone.vit.blocks.0.attn'), ('class:largest', 'decode_head.class_layers.0.attn')}
    model = init_model(*depict, device='cpu')
    queries = [name for name, layer in attention_layers(model).items() if has_class_queries(model, name, layer)]
    assert queries == ['decode_head.class_layers.0.attn']


@pytest.mark.parametrize('options, message', [
    (['--query', 'cat'], '--query cat: give class-token, class:NAME'),
    (['--query', 'class:unicorn'], 'there is no such class. Classes: wall, '),
    (['--query', 'representative:100'], 'There is no representative 100: CBSA has 100, from 0'),
    (['--query', 'pixel:999,0'], 'the image is 128 x 128 pixels for the model'),
    (['--query', 'class:wall', '--layers', '0'], 'these layers have no attention map.*Layers that have: 1'),
    (['--layers', '2'], 'there are 2 attention layers, 0 to 1'),
    (['--heads', '3'], 'there are 3 heads, 0 to 2'),
])
def test_command_with_bad_input(main, cbt, tmp_path, options, message):
    images = save_images(tmp_path / 'images', a=(64, 64))
    with pytest.raises(UserError, match=message):
        main([*cbt, images, *options, '--out', str(tmp_path / 'out'), '--device', 'cpu'])


def test_a_folder_without_images_is_refused(main, cbt, tmp_path):
    with pytest.raises(UserError, match='no image there'):
        main([*cbt, str(tmp_path), '--out', str(tmp_path / 'out'), '--device', 'cpu'])


def test_command_on_a_model_without_class_token(main, tmp_path):
    cfg = reduced('tost_imagenet_mini.py')
    cfg.model.backbone.update(out_type='avg_featmap', with_cls_token=False)
    tost = save_config(tmp_path, 'tost.py', cfg)
    with pytest.raises(UserError, match='no attention map of the query class-token. Commands that apply.*membership'):
        main([*tost, save_images(tmp_path / 'images', a=(64, 64)), '--out', str(tmp_path), '--device', 'cpu'])
