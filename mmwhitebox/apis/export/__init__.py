"""Models for deployment: safetensors, ONNX and torch.export files with a model card, and reading them back.

An exported network maps normalised images to logits. What comes before it is not part of the file; the card,
in the file and beside it as FILE.json, says what it is: mean and std (of pixels 0..255), channel order, image
size, and the steps of the test pipeline. Sliding windows and test-time augmentation, which a segmentor puts around
its network, are not part of it either.
"""
from .networks import LogitsNetwork, default_size
from .quantization import export_int8
from .reading import ExportedModel, load_exported
from .substitute import substitute
from .writing import export_model

__all__ = [
    'ExportedModel', 'LogitsNetwork', 'default_size', 'export_int8', 'export_model', 'load_exported', 'substitute'
]
