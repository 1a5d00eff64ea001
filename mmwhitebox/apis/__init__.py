"""Inference, export, and models by name."""
from mmwhitebox import stack  # noqa: F401  # isort: skip
from mmwhitebox.config.names import config_path, list_models
from mmwhitebox.models.optimization import optimize

from . import hub  # noqa: F401  (enters the models in mmpretrain's hub)
from .exploration import Exploration
from .explore import explore
from .export import ExportedModel, export_int8, export_model, load_exported
from .inference import (
    WhiteBoxSegInferencer,
    inference_model,
    init_model,
    iter_inference,
    list_images,
)
from .pretrained import export_pretrained, export_work_dir, from_pretrained, push_to_hub, save_pretrained
from .result import ClsResult, SegResult
from .zoo import build_model

__all__ = [
    'ClsResult', 'Exploration', 'ExportedModel', 'SegResult', 'WhiteBoxSegInferencer', 'build_model', 'config_path',
    'explore', 'export_int8', 'export_model', 'export_pretrained', 'export_work_dir', 'from_pretrained',
    'inference_model', 'init_model', 'iter_inference', 'list_images', 'list_models', 'load_exported', 'optimize',
    'push_to_hub', 'save_pretrained'
]
