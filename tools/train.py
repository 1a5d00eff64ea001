"""Train a model: python tools/train.py CONFIG [--resume] [--amp] [--cfg-options key=value ...]

Asked to stop by SIGTERM, SIGINT (Ctrl-C) or SIGUSR1, it finishes the iteration, writes a checkpoint, prints the command
that goes on from there and ends with status 75; a second signal ends it at once.
"""
import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a model',
        epilog='SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 stop the training after the current iteration: a checkpoint is '
        'written, and the status is 75. A second signal ends it at once. --resume goes on exactly where it stopped.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go; work_dirs/CONFIG by default')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='CHECKPOINT',
        help='continue from CHECKPOINT, or from the latest one in the work dir when no path is given; '
        'with "if-any" from the latest one, or from the beginning if there is none')
    parser.add_argument(
        '--resume-schedule', choices=['config', 'checkpoint'],
        help='whose learning rates, schedulers and optimizer options a resumed training follows; by default the '
        "config's if it changed the length of the training or of a scheduler, else the checkpoint's")
    parser.add_argument('--amp', action='store_true', help='mixed-precision training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate by the ratio of the actual batch size to the recipe\'s')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='override config keys, e.g. model.decode_head.num_layers=6 train_dataloader.batch_size=4')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')
    parser.add_argument('--no-config-check', action='store_true',
                        help='do not look for misspelt keys and types in the config before it is built')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below


from mmengine.config import Config
from mmengine.registry import RUNNERS
from torch.distributed.elastic.multiprocessing.errors import record

from mmwhitebox.checkpoints import use_safe_loading
from mmwhitebox.datasets import check_datasets, look_at_masks, watch_workers
from mmwhitebox.engine.config_check import check_config
from mmwhitebox.engine.config_errors import named_build_errors
from mmwhitebox.engine.consistency import check_consistency, raise_together
from mmwhitebox.engine.console import ConsoleRunner
from mmwhitebox.engine.initial_weights import check_initial_weights
from mmwhitebox.engine.launch import (
    fit_precision,
    load_config,
    pin_memory,
    prepare_work_dir,
    report_batch_size,
    resolve_resume,
    run_command,
    setup_determinism,
    setup_launcher,
    use_amp,
    use_compile,
    use_schedule,
)
from mmwhitebox.engine.model_check import check_model
from mmwhitebox.engine.work_dir_lock import lock_work_dir


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    if args.amp:
        use_amp(cfg)  # first: the check looks at what will be built
    fit_precision(cfg)
    if not args.no_config_check:
        check_config(cfg)
    prepare_work_dir(cfg.work_dir)
    with lock_work_dir(cfg):
        train(cfg, args)


def train(cfg: Config, args: argparse.Namespace) -> None:
    if not args.trust_checkpoint:
        use_safe_loading()
    check_initial_weights(cfg)
    resolve_resume(cfg, args.resume, args.trust_checkpoint)
    use_schedule(cfg, args.resume_schedule)
    raise_together(lambda: check_consistency(cfg), lambda: check_datasets(cfg, splits=('train', 'val')),
                   lambda: look_at_masks(cfg))
    use_compile(cfg)
    pin_memory(cfg)
    setup_determinism(cfg)
    setup_launcher(cfg)
    report_batch_size(cfg, scale_lr=args.auto_scale_lr)
    with named_build_errors(cfg), watch_workers():
        runner = ConsoleRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
        check_model(runner.model)
        if isinstance(runner, ConsoleRunner):
            runner.say_head()
        runner.train()


if __name__ == '__main__':
    run_command(record(main), log_to='stdout')  # torchrun then shows the traceback of the process that failed first
