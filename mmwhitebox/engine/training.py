"""A training: everything that is looked at before it starts, then mmengine's Runner."""
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmwhitebox.checkpoints import use_safe_loading
from mmwhitebox.config.check import check_config
from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.config.model_check import check_model
from mmwhitebox.datasets import watch_workers

from .hooks.training_checks import check_whole, checked
from .resume import resolve_resume
from .runner import ConsoleRunner
from .setup import (
    fit_precision,
    pin_memory,
    report_batch_size,
    setup_determinism,
    setup_launcher,
    use_amp,
    use_class_counts,
    use_compile,
    use_initial_weights,
    use_schedule,
)
from .work_dir import lock_work_dir, prepare_folder


def train(cfg: Config, resume: str | None = None, resume_schedule: str | None = None, amp: bool = False,
          auto_scale_lr: bool = False, trust_checkpoint: bool = False, check: bool = True) -> Runner:
    """Train a model.

    Args:
        cfg (Config): From :func:`mmwhitebox.config.reading.load_config`; it is changed.
        resume (str, optional): A checkpoint to go on from; 'auto': the latest in the work dir; 'if-any': the same, or
            from the beginning if there is none.
        resume_schedule (str, optional): 'config' or 'checkpoint', see :class:`ScheduleHook`.
        amp (bool): Mixed precision. Defaults to False.
        auto_scale_lr (bool): Scale the learning rate by the batch size. Defaults to False.
        trust_checkpoint (bool): Read checkpoints that need more than weights. Defaults to False.
        check (bool): Check the config before anything is built. Defaults to True.

    Returns:
        Runner: The training, done.

    Raises:
        UserError: What cannot work: the config, the data, a checkpoint, the work dir.
    """
    if amp:
        use_amp(cfg)  # first: the check looks at what will be built
    fit_precision(cfg)
    if check:
        check_config(cfg)
    prepare_folder(cfg.work_dir, '--work-dir')
    with lock_work_dir(cfg), checked():
        if not trust_checkpoint:
            use_safe_loading()
        use_initial_weights(cfg)
        resolve_resume(cfg, resume, trust_checkpoint)
        use_schedule(cfg, resume_schedule)
        check_whole(cfg)
        use_compile(cfg)
        use_class_counts(cfg)
        pin_memory(cfg)
        setup_determinism(cfg)
        setup_launcher(cfg)
        report_batch_size(cfg, scale_lr=auto_scale_lr)
        with named_build_errors(cfg), watch_workers():
            runner = ConsoleRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
            check_model(runner.model)
            if isinstance(runner, ConsoleRunner):
                runner.say_head()
            runner.train()
    return runner
