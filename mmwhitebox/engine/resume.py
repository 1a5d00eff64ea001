"""``--resume``: which checkpoint a training goes on from."""
import logging
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from mmwhitebox.checkpoints import newest_checkpoint, verify_checkpoint
from mmwhitebox.checkpoints.verify import POINTER, why_no_training_state
from mmwhitebox.errors import UserError


def checkpoint_folders(cfg: Config) -> list[str]:
    """Local folders with the checkpoints of a training: the work dir, and ``out_dir`` of the checkpoint hook."""
    out_dir = cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir')
    if out_dir is None or '://' in str(out_dir):
        return [cfg.work_dir]
    return [cfg.work_dir, str(Path(out_dir) / Path(cfg.work_dir).resolve().name)]


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
            pointer = Path(cfg.work_dir) / POINTER
            if pointer.is_file():
                passed_over = [*passed_over, f'{pointer} names {pointer.read_text(errors="replace").strip()}.']
            if passed_over:  # traces of an earlier training
                raise UserError('\n  '.join([f'--resume if-any: {cfg.work_dir} is not empty, and nothing in it can be '
                                             'continued from. Name a checkpoint: --resume PATH; to start from the '
                                             'beginning, remove what is there or choose another --work-dir.',
                                             *passed_over]))
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
