"""From a training to a folder to share: which checkpoint, which of its weights, what is known of them."""
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.models import BaseClassifier
from mmseg.models.segmentors.base import BaseSegmentor

from mmwhitebox.checkpoints import load_weights, newest_checkpoint, safe_load
from mmwhitebox.config.pretrained import is_pretrained
from mmwhitebox.config.reading import load_model_config
from mmwhitebox.config_parts import model_part
from mmwhitebox.engine.hooks.validation_classes import NAME
from mmwhitebox.errors import CheckpointError, UserError
from mmwhitebox.models.access import adopt_teacher

from ..allotment import built
from ..data import building
from ..inference import init_model
from .recipe import averages
from .results import validation_of
from .saving import save_pretrained

FOLDER = 'pretrained'


def export_pretrained(config: str | Path | Config, checkpoint: str | Path, folder: str | Path,
                      metrics: dict | None = None, licence: str | None = None, trust_checkpoint: bool = False) -> Path:
    """Save the model of a checkpoint as a folder; the average of its weights, where there is one.

    Of a model that neither segments nor classifies, such as a masked autoencoder, the encoder is saved.

    mmengine's ``EMAHook`` saves the average as the model. ``BesideEMAHook`` saves it beside: it is taken here, and what
    is known of the trained weights is not said of it.

    Args:
        config (str | Path | Config): Config of the model.
        checkpoint (str | Path): Checkpoint of that config.
        folder (str | Path): As in :func:`save_pretrained`.
        metrics (dict, optional): Results, as :func:`.results.read_scores` gives them. Defaults to None: those of the
            validation, if the training kept them beside the checkpoint.
        licence (str, optional): As in :func:`save_pretrained`.
        trust_checkpoint (bool): As in :func:`init_model`. Defaults to False.

    Returns:
        Path: The folder.

    Raises:
        CheckpointError: The checkpoint is missing, broken, or of another model.
        UserError: As :func:`save_pretrained`.
    """
    cfg = config if isinstance(config, Config) else load_model_config(str(config))
    part = None if predicts(cfg) else 'backbone'
    if part is None:
        model = init_model(cfg, str(checkpoint), 'cpu', trust_checkpoint=trust_checkpoint)
    else:
        model = built(cfg)
        load_weights(model, checkpoint, trust_checkpoint)
        adopt_teacher(model)
        model.cfg = cfg
    averaged = use_average(model, checkpoint)
    if metrics is None and not averaged:
        metrics = validation_of(checkpoint)
    kept = averaged or any(name in ('EMAHook', 'mmengine.EMAHook') for name in averages(model.cfg))
    return save_pretrained(model, folder, part, metrics=metrics, licence=licence,
                           weights='averaged' if kept else 'trained')


def predicts(cfg: Config) -> bool:
    """Whether a model segments or classifies; another one trains an encoder without labels."""
    with building(cfg):
        part = model_part(cfg)
    return part is None or part.cls is None or issubclass(part.cls, (BaseSegmentor, BaseClassifier))


def use_average(model: BaseModel, checkpoint: str | Path) -> bool:
    """Give a model the average that a checkpoint holds beside its weights; False if it holds none."""
    if 'BesideEMAHook' not in averages(model.cfg):
        return False
    found = safe_load(checkpoint, mmap=True).get('ema_state_dict')
    if not isinstance(found, dict):
        return False
    average = {key.removeprefix('module.'): value for key, value in found.items() if key.startswith('module.')}
    try:
        model.load_state_dict(average)
    except RuntimeError as error:
        raise CheckpointError(f'{checkpoint}: the average that it holds is not of this model.') from error
    return True


def export_work_dir(work_dir: str | Path, folder: str | Path | None = None, metrics: dict | None = None,
                    licence: str | None = None, trust_checkpoint: bool = False) -> tuple[Path, Path]:
    """Save the best model of a training, or without a best checkpoint the last one, as a folder.

    Args:
        work_dir (str | Path): Where the training wrote its config and checkpoints.
        folder (str | Path, optional): Defaults to ``WORK_DIR/pretrained``.
        metrics, licence, trust_checkpoint: As in :func:`export_pretrained`.

    Returns:
        tuple[Path, Path]: The folder, and the checkpoint that it was made of.

    Raises:
        UserError: There is no config or no checkpoint in the work dir.
    """
    work_dir = Path(work_dir)
    checkpoint = chosen_checkpoint(work_dir, trust_checkpoint)
    newest = max(work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise UserError(f'{work_dir} has no config, so it is no work dir of a training: give CONFIG and CHECKPOINT.')
    folder = folder or work_dir / FOLDER
    return export_pretrained(str(newest), checkpoint, folder, metrics, licence, trust_checkpoint), checkpoint


def chosen_checkpoint(work_dir: Path, trust: bool = False) -> Path:
    """The best checkpoint in a work dir; without one, the newest.

    Raises:
        UserError: There is none.
    """
    if is_pretrained(work_dir):
        raise UserError(f'{work_dir} is the folder of a pretrained model already.')
    if not work_dir.is_dir():
        raise UserError(f'{work_dir} is no folder: give the work dir of a training, or CONFIG and CHECKPOINT.')
    try:
        kept: dict[str, Any] = json.loads((work_dir / NAME).read_text(encoding='utf-8'))['best']
        known = [work_dir / Path(entry['path']).name for entry in kept.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = []
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*known, *best):
        if path.is_file():
            return path
    newest, problems = newest_checkpoint([work_dir], needs_optimizer=False, trust=trust)
    if newest is None:
        raise UserError(' '.join([f'{work_dir} has no checkpoint.', *problems[:1]]).replace('\n', ' '))
    return newest
