"""Weights of classifiers, segmentors and bare encoders for the models of timm."""
import math
from collections import OrderedDict

from torch import Tensor

from mmwhitebox.checkpoints.fitting import as_loaded
from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.models.embeddings import LearnedPositions
from mmwhitebox.models.position_tables import KEY as GRID_KEY

from .model import WhiteBoxModel, with_prefix

HEAD = 'head.fc.'


def fitted(state_dict: dict[str, Tensor], model: WhiteBoxModel) -> dict[str, Tensor]:
    """A state dict under the keys of a model, its positions resized; timm goes on with channels and classifier.

    Args:
        state_dict (dict): Weights of a classifier, of a segmentor, whose decoder is left out, or of an encoder alone.
        model (WhiteBoxModel): The model; its ``pretrained_cfg`` gets the number of classes that the weights have.

    Raises:
        CheckpointError: They are of another model; the message names what differs.
    """
    with_prefix(model, state_dict, '')
    given = OrderedDict((key, value) for key, value in state_dict.items() if key.startswith(('backbone.', HEAD)))
    given._metadata = {'backbone.pos_embed': grid_of(given, model)}
    loaded, own = as_loaded(model, given), model.state_dict()
    model.pretrained_cfg['num_classes'] = len(loaded[f'{HEAD}weight']) if f'{HEAD}weight' in loaded else 0
    first = f'{model.pretrained_cfg.get("first_conv")}.weight'
    adapted = first if model.in_chans != model.pretrained_cfg['input_size'][0] else None
    wrong = [key for key in own if key not in loaded and not key.startswith(HEAD)]
    wrong += [key for key in loaded if key not in own and not key.startswith(HEAD)]
    wrong += [f'{key} ({tuple(value.shape)} there, {tuple(own[key].shape)} here)' for key, value in loaded.items()
              if key in own and not key.startswith(HEAD) and key != adapted and value.shape != own[key].shape]
    if wrong:
        raise CheckpointError(f'The weights are not of this {model.pretrained_cfg.get("architecture")}: '
                              f'{joined(wrong, 3)}.')
    return loaded


def grid_of(state_dict: dict[str, Tensor], model: WhiteBoxModel) -> dict[str, tuple[int, int]]:
    """The grid that a position table was made for: that of ``input_size``, if it has as many places."""
    positions, table = model.backbone.pos_embed, state_dict.get('backbone.pos_embed.table')
    grid = model.backbone.stem.grid_size(*model.pretrained_cfg['input_size'][1:])
    if isinstance(positions, LearnedPositions) and table is not None and \
            table.shape[1] - math.prod(grid) in (0, 1):
        return {GRID_KEY: grid}
    return {}
