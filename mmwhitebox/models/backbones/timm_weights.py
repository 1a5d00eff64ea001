"""Weights of timm ViTs from files, read by timm's own loader."""
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmwhitebox.errors import CheckpointError, MissingCheckpointError, joined

SEED = 1_700_011_071  # of the weights that show what was not loaded: one that nobody else takes

# timm -> WhiteBoxTransformer, applied one after another
RENAMES = (('patch_embed.', 'stem.'), ('pos_embed', 'pos_embed.table'), ('blocks.', 'layers.'),
           ('.attn.proj.', '.attn.to_out.'), ('.mlp.', '.ffn.'))


def source_args(owner: str, source: bool | str) -> dict:
    """Arguments with which ``timm.create_model`` loads a file, or fetches its own weights for True.

    Raises:
        MissingCheckpointError: There is no such file.
    """
    if source is True:
        return dict(pretrained=True)
    file = Path(source).expanduser()
    if not file.is_file():
        raise MissingCheckpointError(f'{owner}: pretrained={source!r} is not a file. Give the path of a timm '
                                     'checkpoint, True to fetch it (TimmViT), or False.')
    return dict(pretrained=True,
                pretrained_cfg_overlay=dict(file=str(file), custom_load=file.suffix == '.npz'))


def file_img_size(owner: str, path: str, num_extra: int, patch_size: tuple[int, int]) -> tuple[int, int] | None:
    """Image size that the positions in a file of :func:`source_args` are made for; None if they have no square.

    Args:
        owner (str), path (str): As in :func:`source_args`.
        num_extra (int): Extra tokens in the table.
        patch_size (tuple[int, int]): Patch (height, width) of the model that takes them.
    """
    file = Path(source_args(owner, path)['pretrained_cfg_overlay']['file'])
    if file.suffix == '.npz':
        with np.load(file) as arrays:
            table = arrays.get('Transformer/posembed_input/pos_embedding')
    else:
        table = timm.models.load_state_dict(str(file)).get('pos_embed')
    side = 0 if table is None else math.isqrt(max(table.shape[1] - num_extra, 0))
    if not side or side**2 != table.shape[1] - num_extra:
        return None
    return side * patch_size[0], side * patch_size[1]


def load_timm_weights(owner: str, model_name: str, source: bool | str,
                      create: Callable[..., nn.Module]) -> dict[str, Tensor]:
    """Pretrained weights of a timm ViT, fitted to its size by timm; says what of it is not among them.

    timm leaves out in silence what does not fit. So the model is built twice from one random state: a weight that
    comes out as it was drawn was not loaded.

    Args:
        owner (str): Name of the model, for messages.
        model_name (str): Name of timm's model.
        source (bool | str): True fetches timm's weights; else the path of a ``.safetensors``, ``.pth`` or ``.npz``.
        create (Callable): Builds the ViT; takes the arguments of ``timm.create_model`` about weights.

    Returns:
        dict: State dict of the ViT, without the weights that were not loaded.

    Raises:
        CheckpointError: The file is missing or of another model (less than half of the weights are in it), or the
            weights cannot be downloaded.
    """
    args = source_args(owner, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        drawn = create().state_dict()
        torch.manual_seed(SEED)
        try:
            vit = create(**args)
        except Exception as error:  # of the network, the hub, the file, or its shapes
            reason = ' '.join(str(error).split())[:300] or type(error).__name__
            if source is not True:
                raise CheckpointError(f'{owner}: pretrained={source!r} cannot be loaded into {model_name} '
                                      f'({reason}).') from error
            raise CheckpointError(
                f'{owner}: the pretrained weights of {model_name} cannot be downloaded ({reason}). Fetch them where '
                'there is a network and give the file, pretrained=PATH (.safetensors, .pth or .npz; in a config '
                'model.backbone.pretrained), or start without: pretrained=False.') from error
    loaded = vit.state_dict()
    random = [key for key, value in drawn.items() if value.is_floating_point() and (value != value.flatten()[0]).any()]
    lacking = [key for key in random if torch.equal(drawn[key], loaded[key])]
    share = sum(drawn[key].numel() for key in lacking) / max(sum(drawn[key].numel() for key in random), 1)
    channels = getattr(getattr(vit.patch_embed, 'proj', None), 'in_channels', 3)
    where = f'of {model_name}' if source is True else f'from {source}'
    if share > 0.5:
        raise CheckpointError(f'{owner}: the weights {where} are not of this model: {share:.0%} of it is not among '
                              f'them ({joined(lacking)}).')
    print_log(f'{owner}: loaded pretrained weights {where}'
              + (f', the first convolution adapted to {channels} channels' if channels != 3 else '')
              + (f', which lack {joined(lacking)}: these start anew' if lacking else ''),
              logger='current', level=logging.WARNING if lacking else logging.INFO)
    return {key: value for key, value in loaded.items() if key not in lacking}


def whitebox_weights(owner: str, path: str, **size) -> dict[str, Tensor]:
    """State dict of a timm ViT under the keys of a WhiteBoxTransformer.

    The position table is resized and the first convolution is adapted to the image channels by timm.

    Args:
        owner (str): Name of the model, for the message.
        path (str): File as in :func:`load_timm_weights`.
        **size: ``img_size``, ``patch_size``, ``in_chans``, ``embed_dim``, ``depth``, ``num_heads``,
            ``mlp_ratio`` of the model.
    """
    name = 'vit_tiny_patch16_224'
    weights = load_timm_weights(owner, f"arch='vit-*' of {size['depth']} layers", path, partial(
        timm.create_model, name, num_classes=0, **size))
    state_dict = {}
    for key, value in weights.items():
        for name, ours in RENAMES:
            key = key.replace(name, ours)
        state_dict[key] = value
    return state_dict
