"""WhiteBoxMaskHead as an mmseg decode head: losses, options of mmseg's heads, and clear errors."""
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwhitebox.models.decode_heads import WhiteBoxMaskHead

CBSA = dict(type='CBSA', num_heads=2, head_dims=6, pool_size=3)


def build(**kwargs):
    return WhiteBoxMaskHead(**{
        'in_channels': 16, 'channels': 16, 'num_classes': 4, 'num_layers': 2, 'attention': CBSA, **kwargs})


def samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def test_ignored_pixels_and_class_weights_reach_the_loss():
    features = [torch.randn(2, 16, 4, 6)]
    labels = torch.randint(0, 4, (2, 16, 24))
    loss_cfg = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    head = build(loss_decode=loss_cfg)
    plain = head.loss(features, samples(labels), None)['loss_ce']
    logits = torch.nn.functional.interpolate(head(features), (16, 24), mode='bilinear')
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, labels))

    labels[:, :5] = 255
    ignored = head.loss(features, samples(labels), None)['loss_ce']
    torch.testing.assert_close(ignored, torch.nn.functional.cross_entropy(logits, labels, ignore_index=255))

    weights = [1., 2., 0., 1.]
    weighted = build(loss_decode=dict(type='CrossEntropyLoss', class_weight=weights))
    weighted.load_state_dict(head.state_dict())
    torch.testing.assert_close(
        weighted.loss(features, samples(labels), None)['loss_ce'],
        torch.nn.functional.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=255))


def test_features_of_another_width_are_projected():
    head = build(channels=24)
    assert head([torch.randn(1, 16, 3, 5)]).shape == (1, 4, 3, 5)


def test_one_of_several_feature_maps_is_taken():
    head = build(in_index=0)
    maps = [torch.randn(1, 16, 3, 5), torch.randn(1, 16, 2, 2)]
    assert head(maps).shape == (1, 4, 3, 5)


def test_class_tokens_are_extra_tokens_and_stay_out_of_the_pool():
    head = build(num_layers=1)
    layer = head.layers[0].attn
    w, r0 = layer.tokens_and_representatives(torch.randn(1, 4 + 15, 16), (3, 5))
    assert w.shape == (1, 2, 19, 6) and r0.shape == (1, 2, 9, 6)


def test_a_single_output_channel_is_refused():
    with pytest.raises(ValueError, match='one output per class'):
        build(num_classes=2, out_channels=1)
    with pytest.raises(ValueError, match='constant. Make the rest a class: num_classes=2.*FCNHead'):
        build(num_classes=1)


def test_unknown_attention_names_the_known_ones():
    with pytest.raises(KeyError, match='Known types: .*CBSA'):
        build(attention=dict(type='Nothing'))


def test_indivisible_width():
    with pytest.raises(ValueError, match=r'embed_dims \(16\) is not divisible by num_heads \(3\)'):
        build(attention=dict(type='MSSA', num_heads=3))


def test_tokens_that_do_not_fit_the_grid():
    head = build()
    with pytest.raises(ValueError, match=r'10 tokens do not hold a patch grid of hw_shape=\(3, 5\)'):
        head.layers[0](torch.randn(1, 10, 16), (3, 5))


def test_several_feature_maps_are_joined_at_the_size_of_the_first():
    head = build(in_channels=[16, 8], in_index=[0, 2], input_transform='resize_concat')
    maps = [torch.randn(1, 16, 3, 5), torch.randn(1, 4, 9, 9), torch.randn(1, 8, 6, 10)]
    small = torch.nn.functional.interpolate(maps[2], (3, 5), mode='bilinear')
    one = build(in_channels=24)
    one.load_state_dict(head.state_dict())
    torch.testing.assert_close(head(maps), one([torch.cat([maps[0], small], dim=1)]))
    with pytest.raises(ValueError, match="'resize_concat' joins several feature maps"):
        build(in_channels=[16, 8], in_index=[0, 2], input_transform='multiple_select')


@pytest.mark.parametrize('batch', [1, 2])
def test_masks_lie_class_by_class(batch):
    """torch enlarges those of one image five times slower otherwise."""
    assert build()([torch.randn(batch, 16, 4, 5)]).is_contiguous()
