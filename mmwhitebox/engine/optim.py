"""How parameters are updated: timm's Lion, bfloat16 without a GPU, layer-wise learning-rate decay in segmentation.

mmseg's constructors for layer-wise decay know ConvNeXt, BEiT and MAE by the names of their classes and fail with any
other encoder. These take their place under mmseg's names; with an encoder that has no ``get_layer_depth``
(mmpretrain's protocol) they are mmseg's.
"""
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.engine.optimizers import LayerDecayOptimizerConstructor as MMSegLayerDecayOptimizerConstructor
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor as MMSegLearningRateDecayOptimizerConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMSEG_CONSTRUCTORS
from timm.optim import Lion
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

OPTIMIZERS.register_module(module=Lion)
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
