r"""Learning rates of the published trainings, epoch by epoch, as functions of the epoch e alone.

mmengine chains a warm-up and a cosine that starts where it ends. The published codes let the cosine run over all T
epochs and put the warm-up of W epochs in front of it in two ways. With lr the configured rate and

    cosine(e) = (1 + cos(pi e / T)) / 2
"""
import math

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from mmwhitebox.registry import PARAM_SCHEDULERS


class _ClosedFormLR(LRSchedulerMixin, _ParamScheduler):
    """A learning rate that depends on the epoch alone.

    Args:
        optimizer (Optimizer | BaseOptimWrapper): Filled in by the Runner.
        total (int): T, epochs of the cosine.
        warmup (int): W, epochs of warm-up. Defaults to 0.
        **kwargs: ``begin``, ``end``, ``by_epoch``, ``last_step`` of mmengine's schedulers.

    Raises:
        ValueError: Not 0 <= ``warmup`` < ``total``.
    """

    def __init__(self, optimizer, total: int, warmup: int = 0, **kwargs) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f'{type(self).__name__}: warmup={warmup} must be from 0 to below total={total}.')
        self.total = total
        self.warmup = warmup
        super().__init__(optimizer, **kwargs)

    def cosine(self, epoch: int) -> float:
        """(1 + cos(pi e / T)) / 2, 0 from T on."""
        return (1 + math.cos(math.pi * min(epoch, self.total) / self.total)) / 2

    def rate(self, epoch: int, lr: float) -> float:
        """The learning rate of an epoch, counted from 0."""
        raise NotImplementedError

    def _get_value(self) -> list[float]:
        return [self.rate(self.last_step, lr) for lr in self.base_values]


@PARAM_SCHEDULERS.register_module()
class RampedCosineLR(_ClosedFormLR):
    """CBT and CRATE: lr(e) = lr * min((e + 1) / W, cosine(e)).

    The ramp and the cosine meet where they cross, a little before W. Arguments: ``total`` (T), ``warmup`` (W) and
    mmengine's ``begin``, ``end``, ``by_epoch``.
    """

    def rate(self, epoch: int, lr: float) -> float:
        return lr * min((epoch + 1) / max(self.warmup, 1), self.cosine(epoch))


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ClosedFormLR):
    """ToST and DMST (timm's cosine): a straight line up to epoch W, then the cosine as if it had begun at 0.

        e < W:   lr(e) = start + (lr - start) e / W
        else     lr(e) = eta_min + (lr - eta_min) cosine(e)

    Args:
        start (float): Learning rate of epoch 0. Defaults to 1e-6.
        eta_min (float): Learning rate that the cosine ends at. Defaults to 0.
        **kwargs: ``total`` (T), ``warmup`` (W) and mmengine's ``begin``, ``end``, ``by_epoch``.
    """

    def __init__(self, *args, start: float = 1e-6, eta_min: float = 0., **kwargs) -> None:
        self.start = start
        self.eta_min = eta_min
        super().__init__(*args, **kwargs)

    def rate(self, epoch: int, lr: float) -> float:
        if epoch < self.warmup:
            return self.start + (lr - self.start) * epoch / self.warmup
        return self.eta_min + (lr - self.eta_min) * self.cosine(epoch)
