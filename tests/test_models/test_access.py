"""A model inside wrappers, and its scores."""
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmwhitebox.models.access import logits, unwrap


def test_every_wrapper_is_taken_off():
    model = nn.Linear(2, 2)
    for wrapped in (model, nn.DataParallel(model), torch.compile(model), nn.DataParallel(torch.compile(model))):
        assert unwrap(wrapped) is model


def test_scores_of_a_classifier_and_a_segmentor():
    vit = dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, arch=dict(
        embed_dims=16, num_layers=1, num_heads=2, attention=dict(type='TSSA'), feedforward=dict(type='ISTA')))
    images = torch.randn(2, 3, 32, 48)
    init_default_scope('mmpretrain')
    classifier = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=vit,
                                   head=dict(type='LinearClsHead', num_classes=5, in_channels=16)))
    assert logits(classifier, images).shape == (2, 5)
    init_default_scope('mmseg')
    segmentor = MODELS.build(dict(
        type='mmwhitebox.EncoderDecoder', backbone=dict(vit, out_type='featmap'), decode_head=dict(
            type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3, num_layers=1,
            attention=dict(type='MSSA', num_heads=2))))
    assert logits(segmentor, images).shape == (2, 3, 2, 3)
