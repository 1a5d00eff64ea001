"""What the tools do before a Runner is built: config, work dir, resume, processes, batch size."""
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmwhitebox.checkpoints import newest_checkpoint, verify_checkpoint
from mmwhitebox.checkpoints.verify import POINTER, why_no_training_state
from mmwhitebox.errors import ConfigError, UserError

from .config_reading import read_config

OTHERS_WAIT = 5  # seconds
REFUSED_NOTE = 'MMWHITEBOX_REFUSED_NOTE'  # environment: a file that tells tools/dist_launch.py that the reason is said


def exit_message(error: UserError) -> str:
    """What a tool ends with; of an error in a data-loader worker, its message without the traceback."""
    text = str(error)
    if text.startswith('Caught '):
        text = text.strip().splitlines()[-1].partition(': ')[2]
    return f'error: {text}'


class StandardStream(logging.StreamHandler):
    """A handler like another one, that writes to the standard stream of a name as it is at that moment."""

    def __init__(self, like: logging.Handler, name: str) -> None:
        logging.Handler.__init__(self, like.level)
        self.setFormatter(like.formatter)
        self.filters = like.filters
        self.stream_name = name

    @property
    def stream(self) -> TextIO:
        """What ``sys`` has under the name."""
        return getattr(sys, self.stream_name)


def run_command(main: Callable[[], int | None], log_to: str = 'stderr') -> None:
    """Run a command and end the process with its status, if it has one; an error for people is one message.

    On several processes the first one says it. The others wait, since the launcher ends them when the first has ended;
    what only they know is said a little later.

    Args:
        main (Callable): Returns the status or None.
        log_to (str): Where log messages go, other than those of a Runner: 'stdout', or by default 'stderr', since
            standard output is for what a command was asked for.
    """
    logger = MMLogger.get_instance('mmwhitebox')
    logger.handlers[:1] = [StandardStream(logger.handlers[0], log_to)]
    warnings.filterwarnings('ignore', 'The draw is False')  # mmseg, of a hook that is there to be turned on
    try:
        status = main()
    except UserError as error:
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ('RANK', 'LOCAL_RANK'))
        if rank:
            time.sleep(OTHERS_WAIT * (2 if local_rank else 1))
        note = os.environ.get(REFUSED_NOTE)
        if note:
            Path(note).touch()
        sys.exit(exit_message(error) if rank == 0 else f'process {rank}: {exit_message(error)}')
    if status is not None:
        sys.exit(status)


def check_device(device: str | None, option: str = '--device') -> None:
    """Make sure that a device is there; ``option`` is what it was given by.

    Raises:
        UserError: torch does not know it, or cannot put a tensor on it.
    """
    if device is None:
        return
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]
        raise UserError(f'{option} {device}: {str(error).splitlines()[0]} There is: {", ".join(there)}.') from error


def load_config(path: str, options: dict | None, work_dir: str | None, launcher: str) -> Config:
    """Read a config, apply overrides, decide the work dir (argument, then config, then file name).

    Raises:
        ConfigError: It cannot be read (see :func:`read_config`), or an override does not fit it.
    """
    cfg = read_config(path)
    for key, value in (options or {}).items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f'--cfg-options {key}={value}: {str(error.args[0]).splitlines()[0]}') from error
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def prepare_work_dir(work_dir: str, option: str = '--work-dir') -> None:
    """Create the work dir, or another folder for outputs, and make sure that files can be written there.

    Raises:
        UserError: It cannot be created or written.
    """
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir, buffering=0) as file:
            file.write(bytes(1 << 16))  # a full disk may still take an empty file
    except OSError as error:
        what = 'work dir' if option == '--work-dir' else 'folder'
        raise UserError(f'The {what} {work_dir} is not writable ({error.strerror}). Choose another one with '
                        f'{option}.') from error


def checkpoint_folders(cfg: Config) -> list[str]:
    """Local folders with the checkpoints of a training: the work dir, and ``out_dir`` of the checkpoint hook."""
    out_dir = cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir')
    if out_dir is None or '://' in str(out_dir):
        return [cfg.work_dir]
    return [cfg.work_dir, str(Path(out_dir) / Path(cfg.work_dir).resolve().name)]


def why_not_from_the_start(cfg: Config, passed_over: list[str]) -> list[str]:
    """Traces of an earlier training in a work dir without a usable checkpoint: none was ever written if empty."""
    traces = list(passed_over)
    pointer = Path(cfg.work_dir) / POINTER
    if pointer.is_file():
        traces.append(f'{pointer} names {pointer.read_text(errors="replace").strip()}.')
    return traces


def resolve_resume(cfg: Config, resume: str | None, trust: bool = False) -> None:
    """Set ``resume`` and ``load_from`` of a config for ``--resume [CHECKPOINT]``.

    ``auto`` takes the checkpoint of the highest iteration that verifies and logs a line for every one that it passed
    over; ``if-any`` does the same, and leaves the config as it is in a work dir that never had one. Every process
    looks for itself, before any of them writes, by a rule that depends on the files alone;
    :class:`AtomicCheckpointHook` compares the choices. Checkpoints that a hook keeps on remote storage are not
    searched: name one.

    Raises:
        UserError: There is no checkpoint to resume from, or it cannot be read (with weights only, unless
            it is trusted), is damaged, or is no checkpoint of a training.
    """
    if resume is None:
        return
    first = os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'
    if resume in ('auto', 'if-any'):
        needs_optimizer = cfg.get('default_hooks', {}).get('checkpoint', {}).get('save_optimizer', True)
        path, passed_over = newest_checkpoint(checkpoint_folders(cfg), needs_optimizer, trust)
        if path is None and resume == 'if-any':
            traces = why_not_from_the_start(cfg, passed_over)
            if traces:
                raise UserError('\n  '.join([f'--resume if-any: {cfg.work_dir} is not empty, and nothing in it can be '
                                             'continued from. Name a checkpoint: --resume PATH; to start from the '
                                             'beginning, remove what is there or choose another --work-dir.', *traces]))
            if first:
                print_log(f'--resume if-any: there is no checkpoint in {cfg.work_dir}, the training starts from the '
                          'beginning.', logger='current')
            return
        if path is None:
            raise UserError('\n  '.join([f'--resume: there is no checkpoint in {cfg.work_dir} to continue from. Start '
                                         'without --resume, or name one: --resume PATH.', *passed_over]))
        if first:
            for line in passed_over:
                print_log(f'--resume: {line}', logger='current', level=logging.WARNING)
            print_log(f'--resume: continuing from {path}', logger='current')
    else:
        path = Path(resume)
        if not path.is_file():
            raise UserError(f'--resume: the checkpoint {path} does not exist.')
        problem = why_no_training_state(verify_checkpoint(path, trust), needs_optimizer=False)
        if problem is not None:
            raise UserError(f'--resume: nothing can be continued from {path}: {problem}. To start from its weights, '
                            'use --cfg-options load_from=PATH.')
    cfg.resume, cfg.load_from = True, str(path)


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
        hook = dict(type='mmwhitebox.CompileHook', **(options if isinstance(options, dict) else {}))
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def use_schedule(cfg: Config, resume_schedule: str | None) -> None:
    """Watch the schedule in configs that do not, and say what a resumed training follows; None leaves the choice."""
    hooks = cfg.get('default_hooks') or {}
    schedule = hooks.get('schedule', dict(type='mmwhitebox.ScheduleHook'))
    if resume_schedule is not None:
        schedule = {**(schedule or dict(type='mmwhitebox.ScheduleHook')), 'on_resume': resume_schedule}
    cfg.default_hooks = {**hooks, 'schedule': schedule}


def pin_memory(cfg: Config) -> None:
    """Let the data loaders fill pinned memory where there is a GPU to copy it to (torch warns elsewhere)."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('pin_memory', torch.cuda.is_available())


def setup_launcher(cfg: Config) -> None:
    """On a machine without a GPU, use gloo and unplaced processes: mmengine would ask for CUDA."""
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.env_cfg.dist_cfg.backend = 'gloo'
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
