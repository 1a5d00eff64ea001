"""What a config is given before a Runner is built from it: precision, compilation, processes, the batch."""
import logging
import os
from datetime import timedelta

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.logging import print_log

from mmwhitebox.engine.devices import warn_of_emulated_bf16
from mmwhitebox.errors import UserError


def add_hook(cfg: Config, hook: dict) -> None:
    """Add one to the config's own hooks."""
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def use_amp(cfg: Config) -> None:
    """Turn the optimizer wrapper into mmengine's mixed-precision one, or ours for bfloat16 without a GPU.

    ``optim_wrapper.dtype`` says which: 'float16' (the default) or 'bfloat16', which needs no loss scaling.

    Raises:
        UserError: float16 without a GPU, or the config uses another wrapper.
    """
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict):
        return  # the check of the config, or the Runner, says so
    name = wrapper.setdefault('type', 'OptimWrapper')
    name = getattr(name, '__name__', name)
    if name in ('mmwhitebox.BFloat16OptimWrapper', 'BFloat16OptimWrapper'):
        if wrapper.get('dtype') == 'bfloat16':
            del wrapper.dtype  # it has no other
        return
    if name not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(f'--amp works with OptimWrapper, the config has {name}.')
    if not torch.cuda.is_available():
        if wrapper.get('dtype') != 'bfloat16':
            raise UserError('--amp in float16 needs a GPU, and torch sees none. Train without it, or in bfloat16: '
                            '--cfg-options optim_wrapper.dtype=bfloat16.')
        wrapper.type = 'mmwhitebox.BFloat16OptimWrapper'
        del wrapper.dtype
        warn_of_emulated_bf16('cpu')
        return
    wrapper.type = 'AmpOptimWrapper'
    half = wrapper.get('dtype', 'float16') == 'float16'
    wrapper.setdefault('loss_scale', 'dynamic' if half else dict(enabled=False))


def fit_precision(cfg: Config) -> None:
    """Train in float32 where a recipe in mixed precision meets a machine without a GPU, and say so.

    float16 on a CPU is slow and mmengine's wrapper refuses it; bfloat16 goes on as :class:`BFloat16OptimWrapper`.
    """
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict) or wrapper.get('type') != 'AmpOptimWrapper' or torch.cuda.is_available():
        return
    if wrapper.get('dtype') == 'bfloat16':
        use_amp(cfg)
    else:
        wrapper.type = 'OptimWrapper'
        for key in ('dtype', 'use_fp64'):
            wrapper.pop(key, None)
        print_log('The recipe trains in float16, which needs a GPU, and torch sees none: training in float32. '
                  '--amp --cfg-options optim_wrapper.dtype=bfloat16 trains in bfloat16.', logger='current',
                  level=logging.WARNING)
    wrapper.pop('loss_scale', None)


def use_compile(cfg: Config) -> None:
    """Compile the networks for ``compile=True`` or ``compile=dict(...)``, options of ``torch.compile``.

    mmengine's own handling of the key compiles the whole training step: the loss breaks its graph, and the
    optimizer's part would be compiled again at every new learning rate.
    """
    options = cfg.pop('compile', None)
    if options:
        add_hook(cfg, dict(type='mmwhitebox.CompileHook', **(options if isinstance(options, dict) else {})))


def use_schedule(cfg: Config, resume_schedule: str | None) -> None:
    """Watch the schedule in configs that do not, and say what a resumed training follows; None leaves the choice."""
    hooks = cfg.get('default_hooks') or {}
    schedule = hooks.get('schedule', dict(type='mmwhitebox.ScheduleHook'))
    if resume_schedule is not None:
        schedule = {**(schedule or dict(type='mmwhitebox.ScheduleHook')), 'on_resume': resume_schedule}
    cfg.default_hooks = {**hooks, 'schedule': schedule}


def use_initial_weights(cfg: Config) -> None:
    """Look at the weights that a training starts from in configs that do not."""
    cfg.setdefault('default_hooks', {}).setdefault('initial_weights', dict(type='mmwhitebox.InitialWeightsHook'))


def use_class_counts(cfg: Config) -> None:
    """Count in every validation which classes are taken for which."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    if not any(isinstance(hook, dict) and str(hook.get('type')).endswith('ValidationClassesHook') for hook in hooks):
        add_hook(cfg, dict(type='mmwhitebox.ValidationClassesHook'))


def pin_memory(cfg: Config) -> None:
    """Let the data loaders fill pinned memory where there is a GPU to copy it to (torch warns elsewhere)."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('pin_memory', torch.cuda.is_available())


def setup_launcher(cfg: Config) -> None:
    """On a machine without a GPU, use gloo and unplaced processes: mmengine would ask for CUDA."""
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.env_cfg.dist_cfg.backend = 'gloo'
        cfg.sync_bn = None  # torch's SyncBatchNorm is for GPUs
        timeout = cfg.env_cfg.dist_cfg.get('timeout')
        torch.distributed.init_process_group(
            backend='gloo', timeout=None if timeout is None else timedelta(seconds=timeout))
        cfg.setdefault('model_wrapper_cfg', dict(
            type='MMDistributedDataParallel', broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False)))
        cfg.model_wrapper_cfg.device_ids = None


def setup_determinism(cfg: Config) -> None:
    """For ``randomness.deterministic``, ask cuBLAS for its deterministic workspaces, before CUDA starts."""
    if cfg.get('randomness', {}).get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def report_batch_size(cfg: Config, scale_lr: bool) -> None:
    """Say when the batch over all processes is not the recipe's; scale the learning rate if asked to."""
    base = cfg.get('auto_scale_lr', {}).get('base_batch_size')
    if scale_lr:
        if not base:
            raise UserError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config.')
        cfg.auto_scale_lr.enable = True
    per_process = cfg.train_dataloader.batch_size
    world_size = int(os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', 1))) \
        if cfg.launcher != 'none' else 1
    if base and per_process * world_size != base and not scale_lr:
        print_log(
            f'The batch is {per_process} x {world_size} process(es) = {per_process * world_size}; the recipe '
            f'is made for {base}. Set train_dataloader.batch_size with --cfg-options, or scale the '
            'learning rate with --auto-scale-lr.', logger='current', level=logging.WARNING)
