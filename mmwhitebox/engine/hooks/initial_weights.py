"""Weights that a training starts from: what of them fits stands in one line, and too little is refused."""
import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader, Runner

from mmwhitebox.checkpoints.fitting import Fit, fit, require, select
from mmwhitebox.checkpoints.loading import tensors_of
from mmwhitebox.checkpoints.trained_classes import compare_classes
from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.registry import HOOKS

from ..runner_parts import bare_model, is_resumed, is_training, loaded_path

MIN_FRACTION = 0.5
NAME = 'initial_weights'  # in default_hooks


def report(found: Fit, path: str) -> None:
    """One line about weights that are loaded."""
    summary = f'; {found.summary}' if found.summary else ''
    print_log(f'Weights from {path}: {found.fraction:.0%} of the model{summary}',
              logger='current', level=logging.INFO if found.exact else logging.WARNING)


@HOOKS.register_module()
class InitialWeightsHook(Hook):
    """Looks at a checkpoint before it is loaded into the model: ``load_from``, ``resume``, ``init_cfg`` of Pretrained.

    Of ``load_from`` the parts that do not fit (a head of other classes) start anew and are named in one line; a first
    convolution for three channels is adapted to another number. A checkpoint to resume from has to fit exactly, and so
    do its classes. ``load_from`` may be a bare state dict.

    Args:
        min_fraction (float): Share of the model's values that ``load_from`` has to give. 0 takes everything.
            Defaults to 0.5.

    Raises:
        CheckpointError: Before training: it does not fit.
    """
    priority = 'VERY_HIGH'  # hooks with a copy of the model load the same weights

    def __init__(self, min_fraction: float = MIN_FRACTION) -> None:
        if not 0 <= min_fraction <= 1:
            raise ValueError(f'min_fraction={min_fraction}: it is a share of the model, 0 to 1.')
        self.min_fraction = min_fraction

    def before_run(self, runner: Runner) -> None:
        """Before the model is initialised, let it look at the weights that ``init_cfg`` of type Pretrained names."""
        if is_training(runner):
            WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=CheckedPretrainedInit, force=True)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, and put what will be loaded in the place of the state dict."""
        if not isinstance(runner, Runner):
            return  # the strategies of FlexibleRunner load the model by themselves
        path = str(loaded_path(runner) or 'to load')
        meta = checkpoint.get('meta')
        if is_training(runner) and isinstance(meta, dict):  # built, as in a training
            metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
            compare_classes(meta, metainfo.get('classes'), path, refuse=is_resumed(runner))
        tensors = tensors_of(checkpoint, path)
        found = fit(bare_model(runner.model), tensors, adapt_channels=is_training(runner) and not is_resumed(runner))
        if is_resumed(runner) and not found.exact:
            raise CheckpointError(f'Checkpoint {path} is not of this model, so nothing can be continued: '
                                  f'{found.summary}. To start from what fits, use --cfg-options load_from=PATH.')
        require(found, path, list(tensors), self.min_fraction,
                f'Give one of this model, or take it all the same: --cfg-options default_hooks.{NAME}.min_fraction=0.')
        report(found, path)
        if 'state_dict' not in checkpoint:
            checkpoint.clear()
        checkpoint['state_dict'] = found.state_dict


class CheckedPretrainedInit(PretrainedInit):
    """mmengine's ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` with the checks of the hook.

    Args:
        *args: As in mmengine.
        min_fraction (float): As in :class:`InitialWeightsHook`, of the part that is initialised. Defaults to 0.5.
        **kwargs: As in mmengine.
    """

    def __init__(self, *args, min_fraction: float = MIN_FRACTION, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.min_fraction = min_fraction

    def __call__(self, module) -> None:
        tensors = tensors_of(CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location), self.checkpoint)
        roots = sorted({key.split('.')[0] for key in tensors})
        if self.prefix is not None:
            tensors = select(tensors, self.prefix.removesuffix('.') + '.')
            if not tensors:
                raise CheckpointError(f'Checkpoint {self.checkpoint} has nothing under prefix={self.prefix!r}; its '
                                      f'keys begin with {joined(roots, 6)}.')
        name = type(module).__name__
        found = fit(module, tensors, adapt_channels=True)
        require(found, f'{self.checkpoint}, for {name},', list(tensors), self.min_fraction,
                f'Its keys begin with {joined(roots, 6)}: init_cfg takes a part of it with prefix=..., and less of '
                'it with min_fraction=0.')
        report(found, f'{self.checkpoint} for {name}')
        module.load_state_dict(found.state_dict)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
