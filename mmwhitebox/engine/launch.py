"""What the tools do before a Runner is built: config, work dir, resume, processes, batch size."""
import logging
import os
import tempfile
from pathlib import Path
from typing import Optional

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint

from mmwhitebox.checkpoints import safe_load
from mmwhitebox.errors import UserError


def exit_message(error: UserError) -> str:
    """What a tool ends with; of an error in a data-loader worker, its message without the traceback."""
    text = str(error)
    if text.startswith('Caught '):
        text = text.strip().splitlines()[-1].partition(': ')[2]
    return f'error: {text}'


def load_config(path: str, options: Optional[dict], work_dir: Optional[str], launcher: str) -> Config:
    """Read a config, apply overrides, decide the work dir (argument, then config, then file name).

    Raises:
        UserError: The file does not exist.
    """
    if not Path(path).is_file():
        raise UserError(f'There is no config file {path}.')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def prepare_work_dir(work_dir: str) -> None:
    """Create the work dir and make sure that files can be written there.

    Raises:
        UserError: It cannot be created or written.
    """
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise UserError(f'The work dir {work_dir} is not writable ({error.strerror}). '
                        'Choose another one with --work-dir.') from error


def resolve_resume(cfg: Config, resume: Optional[str], trust: bool = False) -> None:
    """Set ``resume`` and ``load_from`` of a config for ``--resume [CHECKPOINT]``.

    Raises:
        UserError: There is no checkpoint to resume from, or it cannot be read (with weights only, unless
            it is trusted).
    """
    if resume is None:
        return
    path = find_latest_checkpoint(cfg.work_dir) if resume == 'auto' else resume
    if path is None:
        raise UserError(f'--resume: there is no checkpoint in {cfg.work_dir}. Start without --resume, or '
                        'name one: --resume PATH.')
    if not Path(path).is_file():
        raise UserError(f'--resume: the checkpoint {path} does not exist.')
    if not trust:
        safe_load(path)
    cfg.resume, cfg.load_from = True, path


def use_amp(cfg: Config) -> None:
    """Turn the optimizer wrapper into mmengine's mixed-precision one.

    Raises:
        UserError: There is no GPU (mmengine's wrapper asks for one), or the config uses another wrapper.
    """
    if not torch.cuda.is_available():
        raise UserError('--amp needs a GPU, and torch sees none. Train without it.')
    if cfg.optim_wrapper.type not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(f'--amp works with OptimWrapper, the config has {cfg.optim_wrapper.type}.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def setup_launcher(cfg: Config) -> None:
    """On a machine without a GPU, use gloo and unplaced processes: mmengine would ask for CUDA."""
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.env_cfg.dist_cfg.backend = 'gloo'
        torch.distributed.init_process_group(backend='gloo')
        cfg.setdefault('model_wrapper_cfg', dict(
            type='MMDistributedDataParallel', broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False)))
        cfg.model_wrapper_cfg.device_ids = None


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
