"""Optimizers, their schedules and what wraps them, as the configs of mmengine name them.

Layer-wise decay: mmseg's constructors know ConvNeXt, BEiT and MAE by the names of their classes and fail with any other
encoder. Ours take their place under mmseg's names; with an encoder that has no ``get_layer_depth`` (mmpretrain's
protocol) they are mmseg's.

Schedules: mmengine chains a warm-up and a cosine that starts where it ends. The published codes let the cosine run over
all T epochs and put the warm-up of W epochs in front of it in two ways. With lr the configured rate and e the epoch,

    cosine(e) = (1 + cos(pi e / T)) / 2
"""
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmseg.engine.optimizers import LayerDecayOptimizerConstructor as MMSegLayerDecayOptimizerConstructor
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor as MMSegLearningRateDecayOptimizerConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMSEG_CONSTRUCTORS
from timm.optim import Lion
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS

OPTIMIZERS.register_module(module=Lion)  # timm's; torch has none

DECAYS = ('layer_wise', 'layer_wise_vit')
POSITIONS = ('pos_embed', 'cls_token', 'dist_token', 'reg_token')  # parts of names


class DepthsOfTheEncoder:
    """Groups of parameters by the depth that the encoder's ``get_layer_depth`` gives them."""

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Add one group for every depth d of n, with and without weight decay: lr * decay_rate^(n - d - 1).

        As in mmseg, biases, norms and all other parameters of one axis, position tables and tokens of the encoder have
        no weight decay. Everything outside the encoder has the full learning rate.

        Args:
            params (list[dict]): Groups, extended in place.
            module (nn.Module): The segmentor, with a ``backbone``.

        Raises:
            ConfigError: ``decay_rate`` is missing or not positive, ``num_layers`` is not the encoder's, another
                ``decay_type``.
        """
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            super().add_params(params, module, **kwargs)
            return
        rate, kind = self.paramwise_cfg.get('decay_rate'), self.paramwise_cfg.get('decay_type', 'layer_wise')
        name = type(backbone).__name__
        if not isinstance(rate, (int, float)) or rate <= 0:
            raise ConfigError(f'optim_wrapper.paramwise_cfg.decay_rate={rate}: it is a positive number, e.g. 0.75.')
        if kind not in DECAYS:
            raise ConfigError(f"optim_wrapper.paramwise_cfg.decay_type={kind!r}: {name} has {DECAYS[0]!r} only.")
        given, num_layers = self.paramwise_cfg.get('num_layers'), backbone.get_layer_depth('')[1] - 2
        if given not in (None, num_layers):
            raise ConfigError(f'optim_wrapper.paramwise_cfg.num_layers={given}: {name} has {num_layers} layers. '
                              f'Set {num_layers}, or leave it out.')
        groups = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            inside = name.startswith('backbone.')
            depth = backbone.get_layer_depth(name, 'backbone.')[0] if inside else num_layers + 1
            plain = parameter.ndim == 1 or name.endswith('.bias') or (
                inside and any(part in name for part in POSITIONS))
            scale = rate**(num_layers + 1 - depth)
            group = groups.setdefault((depth, plain), dict(
                params=[], param_names=[], group_name=f'layer_{depth}_{"no_decay" if plain else "decay"}',
                lr_scale=scale, lr=scale * self.base_lr,
                **({} if self.base_wd is None else dict(weight_decay=0. if plain else self.base_wd))))
            group['params'].append(parameter)
            group['param_names'].append(name)
        scales = sorted({group['lr_scale'] for group in groups.values()})
        print_log(f'Layer-wise learning rates: {len(scales)} depths, factors {scales[0]:.3g} to {scales[-1]:.3g}',
                  logger='current')
        params.extend(groups[key] for key in sorted(groups))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
@MMSEG_CONSTRUCTORS.register_module(force=True)
class LearningRateDecayOptimizerConstructor(DepthsOfTheEncoder, MMSegLearningRateDecayOptimizerConstructor):
    """mmseg's constructor for both encoders as well.

    In a config::

        optim_wrapper = dict(
            constructor='LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay_rate=0.75))  # decay_type='layer_wise' and num_layers are found

    Everything else as in mmseg, see :meth:`DepthsOfTheEncoder.add_params`.
    """


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
@MMSEG_CONSTRUCTORS.register_module(force=True)
class LayerDecayOptimizerConstructor(DepthsOfTheEncoder, MMSegLayerDecayOptimizerConstructor):
    """mmseg's older constructor, which names the rate ``layer_decay_rate``, for both encoders as well."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, without a warning for each parameter of a part that is not trained, as a teacher."""

    def add_params(self, params: list[dict], module: nn.Module, *args, **kwargs) -> None:
        """Add the parameters of a module, unless it has none to train."""
        if any(parameter.requires_grad for parameter in module.parameters()):
            super().add_params(params, module, *args, **kwargs)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast on the model's own device; parameters and optimizer stay float32.

    mmengine's ``AmpOptimWrapper`` asks for a GPU. bfloat16 has the exponents of float32 and needs no loss scaling,
    and CPUs with bfloat16 instructions gain from it too.

    Args:
        flash_attention (bool): Whether ``scaled_dot_product_attention`` may take a flash kernel. On a CPU the backward
            pass of that kernel is slow in bfloat16 for short sequences (64 tokens). Defaults to True.
        **kwargs: Arguments of ``OptimWrapper``.
    """

    def __init__(self, *args, flash_attention: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.flash_attention = flash_attention

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a training step's forward pass."""
        kernels = nullcontext() if self.flash_attention else sdpa_kernel(SDPBackend.MATH)
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16), kernels:
            yield


class _ClosedFormLR(LRSchedulerMixin, _ParamScheduler, ABC):
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

    @abstractmethod
    def rate(self, epoch: int, lr: float) -> float:
        """The learning rate of an epoch, counted from 0."""

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
