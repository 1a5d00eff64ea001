"""What timm notes of a model, to save it and to prepare images."""
from typing import Any

from torch import nn


def note(model: nn.Module, img_size: tuple[int, int] | None = None, **arguments: Any) -> None:
    """Note arguments that build a model anew, and its image size (height, width); an older timm keeps no such notes."""
    try:
        from timm.models._input import update_model_args, update_model_input_size
    except ImportError:
        return
    update_model_args(model, **arguments)
    if img_size is not None:
        update_model_input_size(model, img_size)
