"""What the validations of a training say of every class, kept for its end."""
import json
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.structures import BaseDataElement

from mmwhitebox.checkpoints.atomic import write_bytes
from mmwhitebox.errors import WriteError
from mmwhitebox.registry import HOOKS

from ..runner_parts import is_resumed, is_training
from ..scores.confusion import Confusion, sample_confusion
from .checkpoint import best_keys, checkpoint_hook

NAME = 'validation_classes.json'


def best_checkpoints(runner: Runner) -> dict[str, dict[str, Any]]:
    """Path and score of the best checkpoints that the run knows of, by the name of the score.

    A resumed run with ``save_best='auto'`` that has not validated yet calls the score 'auto'.
    """
    hook, known, found = checkpoint_hook(runner), runner.message_hub.runtime_info, {}
    for name in getattr(hook, 'key_indicators', None) or []:
        score, path = best_keys(hook, name)
        if known.get(path):
            found[name] = dict(path=str(known[path]), score=float(known[score]))
    return found


@HOOKS.register_module()
class ValidationClassesHook(Hook):
    """Counts in every validation which classes are taken for which; keeps the counts of the last and of the best.

    They are kept in ``validation_classes.json`` of the work dir, so that a resumed training has them, too. Images have
    a label map or one label each, with a prediction alike; of others only the scores are kept. Nothing of the training
    is touched. ``mmwhitebox train`` adds the hook to every training.

    Attributes:
        kept (dict): ``last``: an entry; ``best``: an entry for each score of which there is a best checkpoint. An entry
            holds ``step`` and ``unit`` (of the validation), ``scores``, ``confusion`` (or None), and of a best one
            ``path``, ``metric`` and ``score``.
    """

    priority = 'ABOVE_NORMAL'  # before an average of the weights validates again, and before checkpoints

    def __init__(self) -> None:
        self.kept: dict[str, Any] = dict(best={})
        self.samples: list = []
        self.counting = False
        self.unit = 'images'
        self.known: dict[str, dict[str, Any]] = {}  # best checkpoints before the validation
        self.entry: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Take up what the resumed training kept."""
        path = Path(runner.work_dir) / NAME
        if is_resumed(runner) and path.is_file():
            try:
                self.kept = {'best': {}, **json.loads(path.read_text(encoding='utf-8'))}
            except (OSError, ValueError) as error:
                runner.logger.warning(f'{path} cannot be read ({error}): the classes of former validations are not '
                                      'known.')

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self.samples, self.counting = [], is_training(runner)
        self.known = best_checkpoints(runner)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: Sequence[BaseDataElement] | None = None) -> None:
        """Count a batch."""
        if not self.counting:
            return
        classes = (runner.val_loop.evaluator.dataset_meta or {}).get('classes') or ()
        for output in outputs or ():
            sample = output.to_dict() if isinstance(output, BaseDataElement) else output
            self.unit = 'pixels' if 'gt_sem_seg' in sample else 'images'
            counted = sample_confusion(sample, len(classes), self.ignored(runner)) if classes else None
            self.samples.append(counted or ())

    @staticmethod
    def ignored(runner: Runner) -> int:
        """The label that the metrics of the validation ignore; mmseg's default if none of them says."""
        return next((metric.ignore_index for metric in runner.val_loop.evaluator.metrics
                     if hasattr(metric, 'ignore_index')), 255)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Sum the counts of all processes, every image once."""
        if not self.counting:
            return
        self.counting = False
        samples = collect_results(self.samples, len(runner.val_dataloader.dataset))
        self.samples = []
        if not is_main_process():
            return
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.entry = dict(
            step=runner.epoch if by_epoch else runner.iter, unit='epoch' if by_epoch else 'iteration',
            scores={name: float(value) for name, value in (metrics or {}).items() if isinstance(value, Real)},
            confusion=None)
        if samples and () not in samples:
            meta = runner.val_loop.evaluator.dataset_meta
            self.entry['confusion'] = Confusion.of_samples(meta['classes'], samples, self.unit).as_json()

    def after_val(self, runner: Runner) -> None:
        """Keep the counts, now that it is known whether the checkpoint is the best, and before one says so."""
        entry, self.entry = self.entry, None
        if entry is None:
            return
        self.kept['last'] = entry
        best = best_checkpoints(runner)
        for metric, found in best.items():
            if found not in self.known.values():
                self.kept['best'][metric] = dict(entry, metric=metric, **found)
        self.kept['best'] = {metric: kept for metric, kept in self.kept['best'].items() if metric in best}
        try:
            write_bytes(Path(runner.work_dir) / NAME, json.dumps(self.kept).encode())
        except WriteError as error:
            runner.logger.warning(f'The scores of the classes are not kept: {error}')
