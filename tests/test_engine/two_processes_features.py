"""Run by torchrun on two processes: an iteration, and what its validation of features sees."""
import gc
import sys
from pathlib import Path

import torch

from mmwhitebox.engine.feature_validation import collect_bank
from tests.test_engine.test_feature_validation import NINE, run, scored
from tests.test_engine.trainings import quickly


def main(images: str, folder: str) -> None:
    torch.distributed.init_process_group('gloo')
    runner = run(scored(images, Path(folder) / 'two', options={
        **NINE, 'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1, 'randomness': dict(seed=0),
        'launcher': 'pytorch', 'sync_bn': None, 'model_wrapper_cfg': dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)}))
    scores = runner.val_loop.run()
    bank = collect_bank(runner.val_loop.model, runner.val_loop.bank_loader)
    torch.save(dict(scores=scores, bank=tuple(bank)), Path(folder) / f'{torch.distributed.get_rank()}.pt')
    torch.distributed.barrier()
    del runner
    gc.collect()  # the reducer goes before the group that it uses
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    with quickly():
        main(*sys.argv[1:])
