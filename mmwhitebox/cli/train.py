"""Train a model.

Asked to stop by SIGTERM, SIGINT (Ctrl-C) or SIGUSR1, it finishes the iteration, writes a checkpoint, prints the command
that goes on from there and ends with status 75; a second signal ends it at once. --resume goes on exactly where it
stopped. A training that is done says where its best checkpoint is, how every class was met in its validation, and what
to type next. WORK_DIR/pretrained then holds that model as a folder to share.
"""
import argparse
from pathlib import Path

from .options import add_config, add_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser, checkpoint=False)
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
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help="scale the learning rate by the ratio of the actual batch size to the recipe's")
    add_run(parser)


def run(args: argparse.Namespace) -> None:
    """Train."""
    from torch.distributed.elastic.multiprocessing.errors import record

    from mmwhitebox.apis import export_pretrained
    from mmwhitebox.config.reading import load_config
    from mmwhitebox.engine.training import train
    from mmwhitebox.engine.training_end import named_config, say_end

    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    runner = record(train)(  # torchrun then shows the traceback of the process that failed first
        cfg, resume=args.resume, resume_schedule=args.resume_schedule, amp=args.amp,
        auto_scale_lr=args.auto_scale_lr, trust_checkpoint=args.trust_checkpoint, check=not args.no_config_check)
    say_end(runner, named_config(runner.cfg, args.config, bool(args.cfg_options)),
            lambda checkpoint: export_pretrained(runner.cfg, checkpoint, Path(runner.work_dir) / 'pretrained',
                                                 trust_checkpoint=args.trust_checkpoint))
