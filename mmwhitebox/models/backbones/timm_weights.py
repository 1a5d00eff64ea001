"""Weights of timm ViTs from files, read by timm's own loader."""
import math
from pathlib import Path
from typing import Dict, Optional, Tuple

import numpy as np
import timm
from torch import Tensor

# timm -> WhiteBoxTransformer, applied one after another
RENAMES = (('patch_embed.', 'stem.'), ('pos_embed', 'pos_embed.table'), ('blocks.', 'layers.'),
           ('.attn.proj.', '.attn.to_out.'), ('.mlp.', '.ffn.'))


def weights_file(owner: str, path: str) -> Path:
    """The file; a FileNotFoundError that says what can be given if there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f'{owner}: pretrained={path!r} is not a file. Give the path of a timm '
                                'checkpoint, True to fetch it (TimmViT), or False.')
    return file


def weights_from_file(owner: str, path: str) -> dict:
    """Arguments with which ``timm.create_model`` loads a file.

    Args:
        owner (str): Name of the model, for the message.
        path (str): A timm ``.safetensors``, ``.pth`` or AugReg ``.npz``.

    Raises:
        FileNotFoundError: There is no such file.
    """
    file = weights_file(owner, path)
    return dict(pretrained=True,
                pretrained_cfg_overlay=dict(file=str(file), custom_load=file.suffix == '.npz'))


def file_img_size(owner: str, path: str, num_extra: int, patch_size: Tuple[int, int]) -> Optional[Tuple[int, int]]:
    """Image size that the positions in a file of :func:`weights_from_file` are made for; None if they have no square.

    Args:
        owner (str), path (str): As in :func:`weights_from_file`.
        num_extra (int): Extra tokens in the table.
        patch_size (tuple[int, int]): Patch (height, width) of the model that takes them.
    """
    file = weights_file(owner, path)
    if file.suffix == '.npz':
        with np.load(file) as arrays:
            table = arrays.get('Transformer/posembed_input/pos_embedding')
    else:
        table = timm.models.load_state_dict(str(file)).get('pos_embed')
    side = 0 if table is None else math.isqrt(max(table.shape[1] - num_extra, 0))
    if not side or side**2 != table.shape[1] - num_extra:
        return None
    return side * patch_size[0], side * patch_size[1]


def whitebox_weights(owner: str, path: str, **size) -> Dict[str, Tensor]:
    """State dict of a timm ViT under the keys of a WhiteBoxTransformer.

    The position table is resized and the first convolution is adapted to the image channels by timm.

    Args:
        owner (str): Name of the model, for the message.
        path (str): As in :func:`weights_from_file`.
        **size: ``img_size``, ``patch_size``, ``in_chans``, ``embed_dim``, ``depth``, ``num_heads``,
            ``mlp_ratio`` of the model.
    """
    vit = timm.create_model('vit_tiny_patch16_224', num_classes=0, **size, **weights_from_file(owner, path))
    state_dict = {}
    for key, value in vit.state_dict().items():
        for name, ours in RENAMES:
            key = key.replace(name, ours)
        state_dict[key] = value
    return state_dict
