"""Run by torchrun on two processes: a training of eight iterations, and one that resumes from its fifth."""
import gc
import sys
from pathlib import Path

import torch

from tests.test_engine.trainings import quickly, train


def main(images: str, work_dir: str) -> None:
    torch.distributed.init_process_group('gloo')
    options = {
        'optim_wrapper.accumulative_counts': 3, 'train_cfg.max_iters': 8, 'train_cfg.val_interval': 99,
        'train_dataloader.batch_size': 2, 'custom_hooks': [dict(type='EMAHook', momentum=0.1)],
        'randomness': dict(seed=0, diff_rank_seed=True), 'launcher': 'pytorch', 'sync_bn': None,
        'model_wrapper_cfg': dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)}
    train(images, Path(work_dir) / 'whole', options=options)
    train(images, Path(work_dir) / 'resumed', resume=Path(work_dir) / 'whole/iter_5.pth', options=options)
    torch.distributed.barrier()
    gc.collect()  # the trainings' reducers go before the group that they use
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    with quickly():
        main(*sys.argv[1:])
