"""class_weight and the focal loss, against torch's own and the formula."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.losses import CrossEntropyLoss as MMSegCrossEntropyLoss
from mmseg.models.losses import FocalLoss as MMSegFocalLoss

from mmwhitebox.errors import ConfigError
from mmwhitebox.models.losses import CrossEntropyLoss, FocalLoss

WEIGHTS = [1., 2., 0., 0.5]


def batch(classes=4, ignored=255):
    torch.manual_seed(2)
    logits = torch.randn(2, classes, 6, 4, requires_grad=True)  # as wide as there are classes
    labels = torch.randint(0, max(classes, 2), (2, 6, 4))
    labels[:, :2] = ignored
    return logits, labels


def build(**cfg):
    return MODELS.build(cfg)  # in the scope of mmseg, as from a config


@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('name', ['CrossEntropyLoss', 'mmwhitebox.CrossEntropyLoss'])
def test_class_weights_of_the_cross_entropy(name, avg_non_ignore):
    logits, labels = batch()
    loss = build(type=name, class_weight=WEIGHTS, avg_non_ignore=avg_non_ignore, loss_weight=3.)
    expected = 3 * F.cross_entropy(logits, labels, torch.tensor(WEIGHTS), ignore_index=255)
    found = loss(logits, labels, ignore_index=255)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


@pytest.mark.parametrize('avg_non_ignore', [False, True])
def test_without_class_weights_it_is_mmseg_s(avg_non_ignore):
    logits, labels = batch()
    ours, theirs = (cls(avg_non_ignore=avg_non_ignore)(logits, labels, ignore_index=255)
                    for cls in (type(build(type='CrossEntropyLoss')), MMSegCrossEntropyLoss))
    assert torch.equal(ours, theirs)


def test_class_weights_of_the_binary_cross_entropy_are_those_of_the_classes():
    logits, labels = batch()
    loss = build(type='CrossEntropyLoss', use_sigmoid=True, class_weight=WEIGHTS, avg_non_ignore=True)
    valid = (labels != 255)[:, None].expand_as(logits)
    target = (labels[:, None] == torch.arange(4)[:, None, None]).float()
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    each = -(torch.tensor(WEIGHTS)[:, None, None] * target * log_p + (1 - target) * log_q)
    torch.testing.assert_close(loss(logits, labels, ignore_index=255), each[valid].mean())


@pytest.mark.parametrize('ignored', [255, 0, 1])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
@pytest.mark.parametrize('weight', [None, 'pixels'])
def test_focal_loss(class_weight, weight, ignored):
    logits, labels = batch(ignored=ignored)
    pixels = torch.rand(labels.shape) if weight else None
    p = logits.sigmoid()
    target = labels[:, None] == torch.arange(4)[:, None, None]
    each = torch.where(target, -0.25 * (1 - p)**2 * p.log(), -0.75 * p**2 * (1 - p).log())
    each = each * (labels != ignored)[:, None] * (1 if weight is None else pixels[:, None])
    each = each * torch.tensor(class_weight or [1.] * 4)[:, None, None]
    loss = build(type='FocalLoss', alpha=0.25, class_weight=class_weight)
    torch.testing.assert_close(loss(logits, labels, weight=pixels, ignore_index=ignored), each.mean())


def test_focal_loss_of_a_single_output():
    logits, labels = batch(classes=1)
    p = logits[:, 0].sigmoid()
    each = torch.where(labels == 1, -0.5 * (1 - p)**2 * p.log(), -0.5 * p**2 * (1 - p).log()) * (labels != 255)
    torch.testing.assert_close(build(type='FocalLoss')(logits, labels, ignore_index=255), each.mean())


@pytest.mark.parametrize('cfg', [dict(type='CrossEntropyLoss'), dict(type='FocalLoss')])
def test_a_wrong_number_of_weights_is_named(cfg):
    logits, labels = batch()
    with pytest.raises(ConfigError, match='class_weight has 3 values and the head 4 outputs'):
        build(**cfg, class_weight=[1., 2., 3.])(logits, labels, ignore_index=255)


def test_a_batch_without_labels_has_no_loss_whatever_the_head():
    labels = torch.full((2, 5, 7), 255)
    for channels, options in ((1, dict(use_sigmoid=True)), (3, dict(use_sigmoid=True)), (3, dict(avg_non_ignore=True))):
        pred = torch.randn(2, channels, 5, 7, requires_grad=True)
        loss = CrossEntropyLoss(**options)(pred, labels, ignore_index=255)
        loss.backward()
        assert loss.item() == 0 and not pred.grad.any()


def test_focal_loss_of_one_channel_ignores_the_label_0_alone():
    torch.manual_seed(0)
    pred, labels = torch.randn(2, 1, 5, 7), torch.randint(0, 2, (2, 5, 7))
    p, t = pred[:, 0].sigmoid(), labels.float()
    pt = (1 - p) * t + p * (1 - t)
    every = F.binary_cross_entropy_with_logits(pred[:, 0], t, reduction='none') * pt**2 * (0.5 * t + 0.5 * (1 - t))
    expected = (every * (labels != 0)).mean()
    torch.testing.assert_close(FocalLoss()(pred, labels, ignore_index=0), expected)


def test_focal_loss_takes_a_weight_for_every_output():
    torch.manual_seed(0)
    pred, target, weight = torch.randn(6, 4), torch.rand(6, 4), torch.rand(6, 4)
    torch.testing.assert_close(FocalLoss()(pred, target, weight), MMSegFocalLoss()(pred, target, weight))
