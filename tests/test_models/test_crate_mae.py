"""CRATE-MAE: masks, targets and parts by independent computation, mistakes, the encoder in other models, training."""
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch.func import functional_call, grad, vmap

from mmwhitebox import ops
from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.embeddings import SinCosPositions
from mmwhitebox.models.layers import TransposedLayer
from mmwhitebox.models.selfsup import CRATEMAE

ARCH = dict(WhiteBoxTransformer.arch_zoo['crate-mae-base'], embed_dims=16, num_heads=2, num_layers=2)


def encoder(**options):
    return {'type': 'mmwhitebox.WhiteBoxTransformer', 'arch': ARCH, 'img_size': 32, 'patch_size': 8, **options}


def build(**options):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    return MODELS.build({'type': 'mmwhitebox.CRATEMAE', 'backbone': encoder(), **options})


def test_three_of_four_patches_are_removed_and_those_of_the_smallest_noise_stay():
    model, noise = build(), torch.rand(5, 50)
    mask = model.random_mask(noise)
    assert mask.sum(1).tolist() == [50 - 12] * 5  # floor(12.5) stay
    assert (noise.masked_fill(mask, 0).amax(1) < noise.masked_fill(~mask, 1).amin(1)).all()
    torch.manual_seed(3)
    first = model.draw_mask(torch.zeros(3, 3, 32, 48))
    torch.manual_seed(3)
    assert torch.equal(model.draw_mask(torch.zeros(3, 3, 32, 48)), first)
    assert first.shape == (3, 24) and not torch.equal(first[0], first[1])


def test_positions_row_by_row():
    table = SinCosPositions(8, (2, 3))((2, 3))[0]
    for row in range(2):
        for column in range(3):
            expected = [f(v * w) for v in (column, row) for f in (math.sin, math.cos) for w in (1, 0.01)]
            np.testing.assert_allclose(table[1 + 3 * row + column], expected, rtol=1e-5, atol=1e-6)
    assert not table[0].any() and torch.equal(SinCosPositions(8, (5, 5))((2, 3))[0], table)
    assert SinCosPositions(8, (2, 3)).state_dict() == {}
    with pytest.raises(ValueError, match=r'SinCosPositions: embed_dims \(6\) must be a multiple of 4'):
        SinCosPositions(6, (2, 2))


def test_targets_by_numpy():
    """Pixels ordered (row, column, channel), standardised with the unbiased variance; an image of another aspect."""
    images = torch.randn(2, 3, 16, 28)  # the last column of patches is half outside
    head = build(head=dict(norm_pix=True)).head
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 0), (0, 4)))
    patches = np.stack([padded[:, :, 8 * i:8 * i + 8, 8 * j:8 * j + 8].transpose(0, 2, 3, 1).reshape(2, -1)
                        for i in range(2) for j in range(4)], 1)
    np.testing.assert_array_equal(head.patchify(images), patches)
    target = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(head.construct_target(images), target, rtol=1e-4, atol=1e-5)
    assert torch.equal(head.unpatchify(head.patchify(images), (2, 4))[..., :28], images)
    torch.testing.assert_close(head.restore(head.construct_target(images), images), head.patchify(images))
    pred, mask = torch.randn(2, 8, 192), torch.rand(2, 8) < 0.5
    expected = ((pred.numpy() - target)**2).mean(-1)[mask.numpy()].mean()
    assert head.loss(pred, images, mask.float()).item() == pytest.approx(expected, rel=1e-5)


def test_what_was_removed_is_not_seen():
    model = build().eval()
    images, mask = torch.randn(2, 3, 32, 32), torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 5] = True  # row 1, column 1
    other = images.clone()
    other[:, :, 8:16, 8:16] = 9.
    assert torch.equal(model.predict_pixels(images, mask), model.predict_pixels(other, mask))
    assert not torch.equal(model.predict_pixels(images), model.predict_pixels(other))
    assert model.head.loss(model.predict_pixels(images, mask), images, mask.float()) != \
        model.head.loss(model.predict_pixels(images, mask), other, mask.float())


def test_it_starts_as_published():
    model = build(backbone=encoder(arch=dict(ARCH, embed_dims=64)))
    model.init_weights()
    stem, layer = model.backbone.stem.proj.weight, model.backbone.layers[0]

    def bound(value):
        return value.abs().max().item()

    for values, limit in (
            (stem, math.sqrt(6 / (192 + 64))), (layer.attn.proj.weight, math.sqrt(6 / 128)),
            (layer.ffn.weight, math.sqrt(6 / 64)), (model.neck.layers[1].ffn.weight, math.sqrt(6 / 64)),
            (model.neck.to_pixels.weight, math.sqrt(6 / (64 + 192)))):
        assert 0.9 * limit < bound(values) <= limit
    assert bound(model.neck.to_pixels.bias) == 0 and 0.005 < model.mask_token.std() < 0.04
    assert layer.ffn.lam == 0.5 and layer.norm1.eps == 1e-5 and model.backbone.norm.eps == model.neck.norm.eps == 1e-6


@pytest.mark.parametrize('backbone', [
    dict(), dict(with_cls_token=False, out_type='avg_featmap'), dict(img_size=(32, 48), out_type='featmap'),
    dict(arch=dict(WhiteBoxTransformer.arch_zoo['tost-tiny'], embed_dims=16, num_heads=2, num_layers=2)),
    dict(in_channels=5, out_indices=(0, -1))])
def test_a_step_reaches_every_parameter_of_any_encoder(backbone):
    model = build(backbone=encoder(**backbone))
    model.loss(torch.randn(2, backbone.get('in_channels', 3), 32, 48))['loss'].backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert unused == set()
    assert len(model.extract_feat(torch.randn(1, backbone.get('in_channels', 3), 32, 32))) == \
        len(model.backbone.out_indices)


@pytest.mark.parametrize('options, message', [
    (dict(mask_ratio=1.), 'model.mask_ratio=1.0 is a share between 0 and 1 that leaves at least one of 16 patches'),
    (dict(mask_ratio=0.99), 'model.mask_ratio=0.99'), (dict(mask_ratio='half'), "model.mask_ratio='half'"),
    (dict(backbone=encoder(out_indices=0)), r'model.backbone.out_indices=\[0\]: .* takes the last layer, 1'),
    (dict(backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32)),
     'model.backbone: CRATEMAE takes a WhiteBoxTransformer, which knows masks, not TimmViT'),
    (dict(neck=dict(embed_dims=24)), 'model.neck.embed_dims=24, but model.backbone has tokens of 16'),
    (dict(neck=dict(patch_size=16)), 'model.neck gives 768 values for each patch, of 8 x 8 pixels'),
    (dict(head=dict(patch_size=16)), 'model.head.patch_size=16, but model.backbone has 8: leave it out'),
    (dict(backbone=encoder(in_channels=4), data_preprocessor=dict(mean=[0.] * 3, std=[1.] * 3)),
     'model.data_preprocessor.mean has 3 values and model.backbone takes images of 4 channels'),
])
def test_parts_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(**options)
    assert '\n' not in str(error.value)


def test_a_layer_of_another_kind_is_refused():
    with pytest.raises(ValueError, match='TransposedLayer takes an attention that updates every token .* not MSSA and '
                                         'MLP'):
        TransposedLayer(16, 2, dict(type='MSSA'), dict(type='MLP'), dict(type='LN'))


def test_there_is_nothing_to_predict():
    with pytest.raises(UserError, match='CRATEMAE has learned no classes'):
        build()(torch.zeros(1, 3, 32, 32), mode='predict')


def test_gradients_of_every_sample_and_a_second_derivative():
    """The naive form differentiates through masks, encoder and decoder."""
    model = build().double().eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    class Pixels(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            mask = torch.arange(16).remainder(4).gt(0).expand(len(images), -1)
            return self.model.predict_pixels(images, mask)

    whole = Pixels()
    named = {f'model.{name}': value for name, value in parameters.items()}

    def loss(values, image):
        return functional_call(whole, values, image[None]).square().sum()

    with ops.use('naive'):
        together = vmap(grad(loss), in_dims=(None, 0))(named, images)
        alone = grad(loss)(named, images[1])
        torch.testing.assert_close(together['model.mask_token'][1], alone['model.mask_token'])
        image = images[:1].requires_grad_()
        first, = torch.autograd.grad(whole(image).square().sum(), image, create_graph=True)
        v, eps = torch.randn_like(image), 1e-6
        second, = torch.autograd.grad((first * v).sum(), image)
        ahead, behind = (torch.autograd.grad(whole(x).square().sum(), x)[0] for x in (
            (image + sign * eps * v).detach().requires_grad_() for sign in (1, -1)))
        torch.testing.assert_close(second, (ahead - behind) / (2 * eps), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('model', [
    dict(type='ImageClassifier', head=dict(type='LinearClsHead', num_classes=3, in_channels=16)),
    dict(type='mmseg.EncoderDecoder', test_cfg=dict(mode='whole'), decode_head=dict(
        type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3, num_layers=1,
        attention=dict(type='MSSA', num_heads=2))),
], ids=['classifier', 'segmentor'])
def test_the_encoder_goes_on_in_other_models(tmp_path, model):
    """By ``init_cfg`` of the backbone; every value of the encoder is that of the checkpoint."""
    learned = build()
    torch.save(dict(state_dict=learned.state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    out_type = 'featmap' if 'decode_head' in model else 'cls_token'
    init_default_scope('mmseg' if 'decode_head' in model else 'mmpretrain')
    other = MODELS.build(dict(model, backbone=encoder(
        out_type=out_type, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'),
                                         prefix='backbone'))))
    other.init_weights()
    for name, value in learned.backbone.state_dict().items():
        assert torch.equal(other.backbone.state_dict()[name], value), name
    images = torch.randn(1, 3, 32, 32)
    features = other.backbone(images)[0]
    tokens, = learned.backbone(images, torch.zeros(1, 16, dtype=torch.bool), learned.mask_token)
    torch.testing.assert_close(features.flatten(2).mT if out_type == 'featmap' else features,
                               tokens[:, 1:] if out_type == 'featmap' else tokens[:, 0])


def test_it_learns_to_paint_in():
    """Images of one colour each: what is seen tells what was removed, so the error falls far below the variance, 1."""
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        loss = model.loss(torch.randn(16, 3, 1, 1).expand(-1, -1, 32, 32))['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.9 and sum(losses[-5:]) / 5 < 0.45


def test_the_class_is_public():
    assert MODELS.get('mmwhitebox.CRATEMAE') is CRATEMAE
