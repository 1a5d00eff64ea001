"""Saving a model as a folder that loads without anything else."""
import json
import os
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.models.segmentors.base import BaseSegmentor
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

import mmwhitebox
from mmwhitebox.config.pretrained import CONFIG, FILES, FORMAT, PAGE, PREPROCESSOR, VERSION, WEIGHTS, is_of_format
from mmwhitebox.engine.silence import silent
from mmwhitebox.errors import UserError, WriteError
from mmwhitebox.interpret import count_parameters
from mmwhitebox.models.access import unwrap

from ..data import describe_data, pipeline_of, scope_of
from ..export.card import model_name, normalization, pixel_range
from ..export.networks import default_size
from ..inference import test_pipeline
from .architecture import Plain
from .loading import from_pretrained
from .page import page_of
from .preprocessor import preprocessor_of
from .recipe import recipe_of

STACK = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'onedl-mmpretrain')


def save_pretrained(model: nn.Module,
                    folder: str | Path,
                    part: str | None = None,
                    cfg: Config | dict | None = None,
                    metrics: dict | None = None,
                    licence: str | None = None,
                    name: str | None = None,
                    weights: str | None = None) -> Path:
    """Save a segmentor, a classifier or a part of one as a folder that :func:`from_pretrained` loads.

    The folder holds ``model.safetensors``, ``config.json``, ``README.md`` (the card) and, where the preprocessing can
    be said exactly in the way of transformers, ``preprocessor_config.json``. Places of files (``pretrained``,
    ``init_cfg``, ...) are taken out of the config. The folder is loaded and compared with the model before it takes
    its place.

    Args:
        model (nn.Module): From :func:`init_model`, :func:`build_model` or a training; or a bare part, with ``cfg``.
        folder (str | Path): Made if there is none; a model that was saved there is replaced.
        part (str, optional): 'backbone', 'decode_head', 'neck' or 'head': save that part alone. Defaults to None.
        cfg (Config | dict, optional): The full config of the model, or of a bare part the dict it was built from,
            ``dict(type='mmwhitebox.WhiteBoxTransformer', arch='cbt-tiny')``. Defaults to ``model.cfg``.
        metrics (dict, optional): Results of these weights, as :func:`.results.read_scores` gives them.
        licence (str, optional): Identifier as the hub knows it, 'apache-2.0', 'cc-by-4.0', ... Defaults to None: the
            card says that none is stated.
        name (str, optional): Name of the model on its card. Defaults to the config's.
        weights (str, optional): What kind of weights these are: 'trained' or 'averaged'. Defaults to None: not said.

    Returns:
        Path: The folder.

    Raises:
        UserError: There is no such part, no config, something in the config that cannot be shared, or another
            README.md in the folder.
        WriteError: It cannot be written, or reads differently.
    """
    folder, model = Path(folder).expanduser(), unwrap(model)
    if folder.exists() and not folder.is_dir():
        raise UserError(f'{folder} is a file; a model is saved as a folder.')
    there = [file for file in FILES if (folder / file).exists()]
    if there and not is_of_format(folder):
        raise UserError(f'{folder} has a {there[0]} of something else: name a folder of its own.')
    cfg = full_config(model, cfg)
    if part is not None:
        if part not in cfg.model or not isinstance(getattr(model, part, None), nn.Module):
            parts = [key for key, value in cfg.model.items() if isinstance(value, dict) and 'type' in value]
            raise UserError(f'The model has no part {part!r}. It has {", ".join(parts)}.')
    info = describe(model, cfg, part, metrics, name, weights)
    saved = model if part is None else getattr(model, part)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f'.{folder.name}.', dir=folder.parent) as draft:
            save_file({key: value.detach().cpu().contiguous().clone() for key, value in saved.state_dict().items()},
                      Path(draft) / WEIGHTS, metadata=dict(format='pt'))
            write_config(Path(draft), info)
            loaded = read_back(draft, folder)
            compare(saved, loaded, folder)
            if 'mean' in info:  # those of a model in half precision are rounded
                info |= normalization(loaded.data_preprocessor, len(info['mean']))
                write_config(Path(draft), info)
            write_texts(Path(draft), info, licence, folder.resolve().name)
            folder.mkdir(exist_ok=True)
            (folder / CONFIG).unlink(missing_ok=True)  # a folder cut short here is refused, and never half of each
            for file in (*(file for file in FILES if file != CONFIG), CONFIG):
                if (Path(draft) / file).exists():
                    os.replace(Path(draft) / file, folder / file)
                else:
                    (folder / file).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        if isinstance(error, UserError):
            raise
        raise WriteError(f'{folder} cannot be written ({getattr(error, "strerror", None) or error}).') from error
    return folder


def read_back(draft: str, folder: Path) -> nn.Module:
    """What was written, loaded; an error names the folder that it is for."""
    try:
        with silent():
            return from_pretrained(draft, 'cpu')
    except UserError as error:
        raise UserError(f'The model cannot be saved: {str(error).replace(draft, str(folder))}') from error


def full_config(model: nn.Module, cfg: Config | dict | None) -> Config:
    """The config of a model; one of a bare part is given as its ``model``.

    Raises:
        UserError: There is none.
    """
    cfg = getattr(model, 'cfg', None) if cfg is None else cfg
    if not isinstance(cfg, (dict, Config)):
        raise UserError(f'{type(model).__name__} has no config: give cfg, the full config of the model or the dict '
                        'that a part was built from.')
    if 'model' not in cfg:
        if 'type' not in cfg:
            raise UserError('cfg has neither a model nor a type: give the full config of the model, or the dict that a '
                            'part was built from.')
        scope = DefaultScope.get_current_instance()
        cfg = dict(default_scope=scope.scope_name if scope else 'mmengine', model=cfg)
    cfg = Config(cfg) if not isinstance(cfg, Config) else cfg
    if cfg.get('data_preprocessor') and 'backbone' in cfg.model and 'data_preprocessor' not in cfg.model:
        cfg = Config(dict(cfg), filename=cfg.filename)
        cfg.model.data_preprocessor = cfg.data_preprocessor  # as mmengine's Runner does
    return cfg


def describe(model: nn.Module, cfg: Config, part: str | None, metrics: dict | None, name: str | None,
             weights: str | None) -> dict[str, Any]:
    """What ``config.json`` says."""
    whole = part is None and 'backbone' in cfg.model
    plain = Plain(scope_of(cfg))
    saved = model if part is None else getattr(model, part)
    architecture = plain.architecture(cfg.model if part is None else cfg.model[part])
    info: dict[str, Any] = dict(
        format=FORMAT, format_version=VERSION, name=name or described_name(cfg, architecture, whole),
        task='features', part=None if whole else part or kind_of_part(saved), default_scope=scope_of(cfg),
        model=architecture, parameters=count_parameters(saved), weights=weights)
    if whole:
        segments = isinstance(model, BaseSegmentor) or 'decode_head' in cfg.model
        meta = getattr(model, 'dataset_meta', None) or describe_data(cfg).meta
        meta = {key: json.loads(json.dumps(meta.get(key), default=list)) for key in ('classes', 'palette', 'shown')}
        channels = cfg.model.backbone.get('in_channels', 3)
        steps = getattr(model, 'test_pipeline', None) or (test_pipeline(cfg) if pipeline_of(cfg) else None)
        info |= dict(
            task='segmentation' if segments else 'classification',
            test_pipeline=plain.pipeline(steps.steps) if steps else None, **meta,
            id2label={str(i): label for i, label in enumerate(meta['classes'])},
            **normalization(model.data_preprocessor, channels), pixels=pixel_range(steps),
            image_size=list(default_size(cfg)))
        info['recipe'] = recipe_of(cfg) if cfg.get('train_dataloader') else None
    info |= dict(tuples=plain.tuples, metrics=metrics if whole else None,
                 versions={'mmwhitebox': mmwhitebox.__version__, **{package: version(package) for package in STACK}})
    return info


def described_name(cfg: Config, architecture: dict, whole: bool) -> str:
    """Name of a model: of its config file, or of what it is made of."""
    stem = Path(cfg.filename).stem if cfg.filename else None
    if whole:
        return stem or model_name(Config(dict(model=architecture)))
    kind = architecture.get('model_name') or architecture.get('arch')
    kind = f' {kind}' if isinstance(kind, str) else ''
    return architecture['type'].rpartition('.')[2] + kind + (f' of {stem}' if stem else '')


def kind_of_part(module: nn.Module) -> str:
    """What a bare part is, by the package of its class: 'backbone', 'decode_head', ..."""
    found = re.search(r'\.(backbone|decode_head|head|neck)s\.', f'{type(module).__module__}.')
    return found[1] if found else 'part'


def write_config(folder: Path, info: dict) -> None:
    """Write ``config.json`` to a folder."""
    (folder / CONFIG).write_text(json.dumps(info, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
                                 encoding='utf-8')


def write_texts(folder: Path, info: dict, licence: str | None, shown_folder: str) -> None:
    """Write the card, and what transformers reads, to a folder; ``shown_folder`` is its name on the card."""
    (folder / PAGE).write_text(page_of(info, licence, info['name'], shown_folder), encoding='utf-8')
    preprocessor = preprocessor_of(info)
    if preprocessor is not None:
        (folder / PREPROCESSOR).write_text(json.dumps(preprocessor, indent=1) + '\n', encoding='utf-8')


def compare(model: nn.Module, loaded: nn.Module, folder: Path) -> None:
    """Make sure that what was loaded is what was saved.

    Raises:
        WriteError: It differs.
    """
    own, found = model.state_dict(), loaded.state_dict()
    wrong = [key for key, value in own.items()
             if key not in found or not torch.equal(bits(value), bits(found[key].to(value.dtype)))]
    buffers = dict(loaded.named_buffers())
    wrong += [key for key, value in model.named_buffers()
              if key.startswith('data_preprocessor.') and not torch.equal(value.cpu(), buffers[key].to(value.dtype))]
    if wrong:
        raise WriteError(f'{folder} was not written: read back, {wrong[0]} differs.')


def bits(value: Tensor) -> Tensor:
    """The bytes of a tensor, of which NaN equals itself."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
