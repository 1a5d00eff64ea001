"""Inference and models by name."""
from .inference import (WhiteBoxSegInferencer, inference_model, init_model, iter_inference, list_images)
from .result import SegResult
from .zoo import build_model, config_path, list_models

__all__ = [
    'SegResult', 'WhiteBoxSegInferencer', 'build_model', 'config_path', 'inference_model', 'init_model',
    'iter_inference', 'list_images', 'list_models'
]
