"""What a training ends with: the best checkpoint, its classes, what to type next."""
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor

from mmwhitebox.checkpoints.atomic import write_bytes
from mmwhitebox.errors import WriteError

from .evaluation import scoring_metrics
from .hooks.checkpoint import last_checkpoint
from .hooks.validation_classes import ValidationClassesHook, best_checkpoints
from .runner_parts import bare_model, built_loops
from .scores.class_scores import percent, table
from .scores.confusion import Confusion
from .scores.confusion_figure import confusion_figure

MATRIX, CLASSES = 'confusion_matrix', 'class_scores.csv'
MOST_ROWS = 40  # of the table; of more classes the lowest are shown


def say_end(runner: Runner, config: str, save: Callable[[str], Path] | None = None) -> None:
    """Log where the best checkpoint is, what its validation says of every class, and the next commands.

    Writes the confusion matrix of that validation to the work dir, as ``confusion_matrix.png`` and ``.csv``, and the
    scores of the classes as ``class_scores.csv``. Without a best checkpoint it is about the last one. A file that
    cannot be written is a warning: the training is done.

    Args:
        runner (Runner): A training that is done.
        config (str): What names its config on a command line.
        save (Callable, optional): Saves the model of a checkpoint as a folder to share, and returns that. Defaults to
            None.
    """
    if not is_main_process():
        return
    hook = next((hook for hook in runner.hooks if isinstance(hook, ValidationClassesHook)), ValidationClassesHook())
    lines, entry, checkpoint = ['The training is done.'], None, None
    for metric, found in best_checkpoints(runner).items():
        path = found_file(found['path'], runner.work_dir)
        if path is None:
            continue
        kept = next((kept for kept in hook.kept['best'].values()
                     if (kept['path'], kept['score']) == (found['path'], found['score'])), None)
        name = kept['metric'] if kept else metric
        lines.append(f'Best checkpoint by {name}, {found["score"]:.4g}: {shown(path)}')
        if kept is None:
            lines.append('The scores of its classes were not kept.')
        if checkpoint is None:
            checkpoint, entry = path, kept
    if checkpoint is None:
        checkpoint, entry = found_file(last_checkpoint(runner), runner.work_dir), hook.kept.get('last')
        lines.append(f'Last checkpoint: {shown(checkpoint)}' if checkpoint else 'There is no checkpoint.')
    if entry is not None:
        lines += said_classes(runner, entry)
    if save is not None and checkpoint is not None and Path(checkpoint).is_file():
        lines += said_folder(runner, checkpoint, save)
    if checkpoint is not None and Path(checkpoint).is_file():
        lines += ['Next:', *(f'  {shlex.join(command)}' for command in next_commands(runner, config, checkpoint)[:2])]
    runner.logger.info('\n'.join(lines))


def said_folder(runner: Runner, checkpoint: str, save: Callable[[str], Path]) -> Iterator[str]:
    """Save the model of a checkpoint to be shared, as a line; what fails is a warning, the training is done."""
    try:
        folder = shown(save(checkpoint))
        yield f'To keep and to share: {folder}, loaded by mmwhitebox.apis.from_pretrained({folder!r})'
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        runner.logger.warning(f'The model is not saved as a folder to share: {reason}')


def found_file(path: str, work_dir: str) -> str | None:
    """Where a checkpoint is: at its path, in the work dir if that was moved, or on other storage; None if nowhere."""
    if not path or '://' in path or Path(path).exists():
        return path or None
    moved = Path(work_dir) / Path(path).name
    return str(moved) if moved.exists() else None


def shown(path: str | Path) -> str:
    """A path from the current folder, if it lies below."""
    inside = '://' not in str(path) and Path(path).is_absolute() and Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else str(path)


def said_classes(runner: Runner, entry: dict[str, Any]) -> Iterator[str]:
    """The classes of a validation as lines; their files are written."""
    when = f'the validation at {entry["unit"]} {entry["step"]}'
    if entry['confusion'] is None:
        yield f'Of {when} there are no scores of single classes.'
        return
    confusion = Confusion.from_json(entry['confusion'])
    yield f'Classes in {when}, in percent:'
    yield class_table(confusion)
    of = f'{Path(entry["path"]).name}, ' if 'path' in entry else ''
    files = {f'{MATRIX}.png': lambda: as_png(confusion, f'{of}{when}'),
             f'{MATRIX}.csv': lambda: confusion.as_csv().encode(),
             CLASSES: lambda: confusion.scores_as_csv().encode()}
    written = []
    for name, content in files.items():
        try:
            write_bytes(Path(runner.work_dir) / name, content())
            written.append(shown(Path(runner.work_dir) / name))
        except WriteError as error:
            runner.logger.warning(str(error))
    if written:
        yield f'Confusion matrix and scores: {", ".join(written)}'


def as_png(confusion: Confusion, title: str) -> bytes:
    """The picture of a confusion matrix."""
    file = io.BytesIO()
    confusion_figure(confusion, title).savefig(file, format='png')
    return file.getvalue()


def class_table(confusion: Confusion) -> str:
    """Scores of the classes; of many classes the lowest."""
    scores = confusion.scores()
    true, predicted = confusion.counts.sum(1)[:-1], confusion.counts.sum(0)[:-1]
    rows = np.flatnonzero((true > 0) | (predicted > 0))
    note = []
    absent = len(confusion.classes) - len(rows)
    if absent:
        note.append(f'{absent} more of the {len(confusion.classes)} classes neither occur nor are predicted.')
    if len(rows) > MOST_ROWS:
        order = np.argsort(scores['IoU' if 'IoU' in scores else 'Fscore'][rows], kind='stable')
        note.append(f'The lowest {MOST_ROWS} of {len(rows)}; all: {CLASSES}.')
        rows = rows[order[:MOST_ROWS]]
    share = 100 * true / max(true.sum(), 1)
    of_truth = [f'{share[i]:.2f}' for i in rows] if confusion.unit == 'pixels' else [str(true[i]) for i in rows]
    columns = {'Class': [confusion.classes[i] for i in rows],
               **{name: [percent(values[i]) for i in rows] for name, values in scores.items()},
               'share of pixels' if confusion.unit == 'pixels' else 'images': of_truth}
    return '\n'.join([table(columns), *note])


def next_commands(runner: Runner, config: str, checkpoint: str) -> list[list[str]]:
    """What can be typed next: a test if there is a labelled test set; inference and a report on an image if it is one.

    After learning without labels nothing is predicted: the score of the features, if it was taken, and a report.

    Args:
        runner (Runner): The training.
        config (str): What names its config on a command line.
        checkpoint (str): Path of the checkpoint.
    """
    commands = []
    predicts = not isinstance(bare_model(runner.model), BaseSelfSupervisor)
    if not predicts and any(getattr(loop, 'gives_features', False) for loop in built_loops(runner)):
        commands.append(['mmwhitebox', 'measure', 'knn', config, shown(checkpoint)])
    cfg = runner.cfg
    if cfg.get('test_dataloader') and cfg.get('test_cfg') is not None and scoring_metrics(cfg):
        commands.append([*program('test'), config, shown(checkpoint)])
    image = an_image(runner)
    if image is not None:
        commands += [[*program(name), config, shown(checkpoint), shown(image), '--out',
                      shown(Path(runner.work_dir) / name)] for name in ('infer', 'report')[not predicts:]]
    return commands


def program(command: str) -> list[str]:
    """How a command is called: as the training was."""
    script = Path(sys.argv[0])
    if script.name != 'train.py':
        return ['mmwhitebox', command]
    folder = script.parent / ('analysis_tools' if command == 'report' else '')
    return ['python', str(folder / f'{command}.py')]


def an_image(runner: Runner) -> str | None:
    """The first image of the validation or else of the training; None if its file is not known."""
    for loop in reversed(built_loops(runner)):
        try:
            path = loop.dataloader.dataset.get_data_info(0).get('img_path')
        except (AttributeError, IndexError, NotImplementedError):
            continue
        if path and os.path.isfile(path):
            return str(path)
    return None


def named_config(cfg: Config, typed: str, overridden: bool) -> str:
    """What names the config of a training: what was typed, or with overrides the file that holds them.

    Args:
        cfg (Config): Of the training.
        typed (str): The argument of the command.
        overridden (bool): Whether there were overrides.
    """
    if not overridden:
        return typed
    return shown(Path(cfg.work_dir).resolve() / Path(cfg.filename).name)
