"""The losses of rate reduction: recorded numbers, formulas, degenerate features, two processes against one."""
import gc
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

from mmwhitebox.models.rate_reduction import RateReductionLoss, SimDINOLoss
from mmwhitebox.ops.coding_rate import coding_rate, gram_rate
from tests.golden import FOLDER, Golden, assert_close
from tests.test_models import test_regularizers as regularized


@pytest.mark.parametrize('smooth', [False, True])
def test_simdino_is_the_recorded_one(smooth):
    """Values, and the gradient of features of unit length: along them, our normalisation has none."""
    golden, which = Golden('simdino_loss'), int(smooth)
    student = F.normalize(golden.inputs['student'], dim=-1).requires_grad_()
    out = SimDINOLoss(smooth=smooth)(student.unflatten(0, (6, 12)), golden.inputs['teacher'].unflatten(0, (2, 12)))
    for key in ('loss', 'compression', 'expansion'):
        assert_close(out[key].detach(), golden.outputs[f'{key}_{which}'], key)
    out['loss'].backward()
    recorded = torch.from_numpy(np.load(FOLDER / 'simdino_loss.npz')[f'grad_input/student_{which}'])
    along = (recorded * student).sum(-1, keepdim=True)
    assert_close(student.grad, (recorded - along * student).detach(), 'gradient')


def test_coding_rate_is_the_formula():
    for n, p in ((5, 9), (9, 5)):
        z = torch.randn(2, n, p, dtype=torch.double, requires_grad=True)
        expected = torch.logdet(torch.eye(p) + p / (n * 0.3) * z.mT @ z) / 2
        torch.testing.assert_close(coding_rate(z, 0.3), expected)
        assert torch.autograd.gradcheck(lambda z: coding_rate(z, 0.3), z)


def test_mcr2_is_the_formula():
    z, labels = torch.randn(9, 4, dtype=torch.double), torch.tensor([0, 0, 3, 3, 3, 1, 1, 1, 1])  # none of class 2
    unit = F.normalize(z, dim=1)
    parts = sum((labels == j).double().mean() * coding_rate(unit[labels == j], 0.5) for j in (0, 1, 3))
    expected = parts - coding_rate(unit, 0.5)
    torch.testing.assert_close(RateReductionLoss(0.5)(z, labels), expected)
    more = torch.cat([z, torch.randn(3, 4, dtype=torch.double)]), torch.cat([labels, torch.full((3, ), -1)])
    torch.testing.assert_close(RateReductionLoss(0.5)(*more), expected)
    assert RateReductionLoss()(z, torch.full((9, ), -1)) == 0


def test_a_rate_without_a_value_is_none():
    grams = torch.stack([torch.full((3, 3), float('nan')), -9 * torch.eye(3), torch.eye(3)])
    rates = gram_rate(grams, 1.)
    assert rates.isnan().tolist() == [True, True, False]
    torch.testing.assert_close(rates[2], torch.tensor(8.).log() / 2)  # others do not spoil it
    barely = torch.ones(3, 3) - (1 + 1e-7) * torch.eye(3)  # rounding: jitter mends it
    assert gram_rate(barely, 1.).isfinite()


@pytest.mark.parametrize('features', [torch.zeros(2, 8, 16), torch.ones(2, 8, 16), torch.full((2, 8, 16), 1e30)],
                         ids=['zero', 'collapsed', 'huge'])
def test_degenerate_features_have_finite_gradients_in_bfloat16(features):
    for loss in (lambda z: SimDINOLoss()(z, z)['loss'], lambda z: RateReductionLoss()(z[0], torch.arange(8) % 3)):
        z = features.bfloat16().requires_grad_()
        with torch.autocast('cpu', torch.bfloat16):
            value = loss(z)
        value.backward()
        assert value.dtype == torch.float32 and value.isfinite() and z.grad.isfinite().all()


def joint_losses(z, labels):
    return SimDINOLoss()(z, z[:2].flip(0))['loss'] + RateReductionLoss()(z[0], labels)


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 6, 5, generator=generator), torch.tensor([0, 0, 1, 1, 1, 2])


class Loss(nn.Module):
    """A training step's losses as the call of a module, for torch's data-parallel wrapper."""

    def __init__(self):
        super().__init__()
        self.model = regularized.classifier(regularized.SRR, regularized.MCR2)

    def forward(self, images, samples):
        return regularized.total(self.model.loss(images, samples))


def one_of_two(rank, path):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{path}/store', rank=rank, world_size=2,
                            timeout=timedelta(minutes=2))
    z, labels = batch()
    mine = slice(3 * rank, 3 * rank + 3)
    z = z[:, mine].clone().requires_grad_()
    value = joint_losses(z, labels[mine])
    value.backward()
    model = nn.parallel.DistributedDataParallel(Loss())
    images, samples = regularized.batch()
    mine = slice(2 * rank, 2 * rank + 2)
    model(images[mine], samples[mine]).backward()
    torch.save((value.detach(), z.grad, [p.grad for p in model.parameters()]), path / f'{rank}.pt')
    dist.barrier()
    gc.collect()
    dist.destroy_process_group()


def test_two_processes_are_one_with_the_joint_batch(tmp_path):
    threads = torch.get_num_threads()
    start = 'spawn' if torch.cuda.is_initialized() else 'fork'  # a fork has imported everything
    other = mp.get_context(start).Process(target=one_of_two, args=(1, tmp_path))
    other.start()
    try:
        one_of_two(0, tmp_path)
    finally:
        torch.set_num_threads(threads)
    other.join()
    assert other.exitcode == 0
    z, labels = batch()
    z.requires_grad_()
    value = joint_losses(z, labels)
    value.backward()
    values, grads, of_models = zip(*(torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)))
    torch.testing.assert_close((values[0] + values[1]) / 2, value.detach())
    torch.testing.assert_close(torch.cat(grads, 1) / 2, z.grad)  # distributed training takes their mean
    whole = Loss()
    whole(*regularized.batch()).backward()
    for found in of_models:
        for grad, p in zip(found, whole.parameters()):
            torch.testing.assert_close(grad, p.grad, rtol=1e-4, atol=1e-5)
