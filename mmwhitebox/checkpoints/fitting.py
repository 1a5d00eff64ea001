"""Weights and a model that need not fit exactly: what finds its place, and what does not."""
import re
from collections import OrderedDict
from dataclasses import dataclass

from timm.models import adapt_input_conv
from torch import Tensor, nn

from mmwhitebox.errors import CheckpointError, joined

from .official.keys import looks_like


def select(state_dict: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of a part of a model, and their meta data, without its prefix 'PART.'."""
    part = OrderedDict((key.removeprefix(prefix), value) for key, value in state_dict.items() if key.startswith(prefix))
    metadata = getattr(state_dict, '_metadata', {})
    part._metadata = {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}
    part._metadata[''] = metadata.get(prefix.removesuffix('.'), {})
    return part


def as_loaded(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as the load hooks of the model's parts leave it: positions resized, keys renamed or left out.

    Raises:
        CheckpointError: A hook says that it cannot.
    """
    loaded, metadata, errors = dict(state_dict), getattr(state_dict, '_metadata', {}), []
    for name, part in model.named_modules():
        for hook in part._load_state_dict_pre_hooks.values():
            hook(loaded, f'{name}.' if name else '', metadata.get(name, {}), True, [], [], errors)
    if errors:
        raise CheckpointError(' '.join(errors))
    return loaded


@dataclass(frozen=True)
class Fit:
    """How a state dict and a model fit.

    Attributes:
        state_dict (dict): The state dict where it fits, else the model's own values.
        missing (list[str]): Keys that the file lacks.
        unexpected (list[str]): Keys that the model lacks.
        reshaped (list[str]): Keys of another shape, with both shapes.
        fraction (float): Share of the model's values that are in the file, 0 to 1.
        resized (list[str]): Keys that a load hook resized.
        adapted (list[str]): The first convolution, if it was made for images of three channels, with both shapes.
    """
    state_dict: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    fraction: float
    resized: list[str]
    adapted: list[str]

    @property
    def exact(self) -> bool:
        """Whether every key and every shape fits."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def differences(self) -> list[str]:
        """One line for each kind of difference."""
        return [f'{len(keys)} {what}: {joined(keys)}'
                for what, keys in (('keys the file lacks', self.missing), ('keys the model lacks', self.unexpected),
                                   ('keys of another shape', self.reshaped)) if keys]

    @property
    def summary(self) -> str:
        """All of it in one line; empty if all fits."""
        anew = sorted({part_of(key) for key in self.missing + self.reshaped})
        said = (('of another shape', joined(self.reshaped)), ('not in the file', joined(self.missing)),
                ('so these start anew, wholly or in part', ', '.join(anew)),
                ('not in the model', joined(self.unexpected)), ('resized', joined(self.resized)),
                ('adapted to the channels of the images as timm does', joined(self.adapted)))
        return '; '.join(f'{what}: {keys}' for what, keys in said if keys)


def part_of(key: str) -> str:
    """The part of a model that an entry belongs to: 'decode_head', 'backbone.layers.3'."""
    return match[0] if (match := re.match(r'\w+(?:\.\w+)*?\.\d+(?=\.)', key)) else key.split('.')[0]


def first_convolution(model: nn.Module) -> str | None:
    """Key of the weight of the convolution that sees the images; None if the encoder begins with none."""
    backbone = getattr(model, 'backbone', model)
    channels = getattr(backbone, 'in_channels', None)
    seen = next((f'{name}.weight' for name, part in backbone.named_modules()
                 if isinstance(part, nn.Conv2d) and channels in (None, part.in_channels)), None)
    return f'backbone.{seen}' if seen and backbone is not model else seen


def fit(model: nn.Module, state_dict: dict[str, Tensor], adapt_channels: bool = False) -> Fit:
    """Compare a state dict, after the load hooks of the model, with the model.

    Args:
        model (nn.Module): The model.
        state_dict (dict): Weights.
        adapt_channels (bool): Adapt a first convolution for three channels to those of the model, as timm does: the sum
            for one channel, else the weights repeated and scaled by 3 / channels. Defaults to False.

    Raises:
        CheckpointError: A position table that cannot be resized.
    """
    own, loaded = model.state_dict(), as_loaded(model, state_dict)
    key, adapted = first_convolution(model) if adapt_channels else None, []
    if key in loaded and loaded[key].ndim == 4 and loaded[key].shape[1] == 3 != own[key].shape[1]:
        adapted = [f'{key} ({tuple(loaded[key].shape)} to {tuple(own[key].shape)})']
        loaded[key] = adapt_input_conv(own[key].shape[1], loaded[key])
    fitting = {key for key, value in own.items() if key in loaded and loaded[key].shape == value.shape}
    size = sum(value.numel() for value in own.values())
    return Fit(
        state_dict={key: loaded[key] if key in fitting else value for key, value in own.items()},
        missing=[key for key in own if key not in loaded],
        unexpected=[key for key in loaded if key not in own],
        reshaped=[f'{key} ({tuple(loaded[key].shape)} in the file, {tuple(own[key].shape)} in the model)'
                  for key in own if key in loaded and key not in fitting],
        fraction=sum(own[key].numel() for key in fitting) / max(size, 1),
        resized=[f'{name} ({tuple(state_dict[name].shape)} to {tuple(loaded[name].shape)})'
                 for name in fitting if name in state_dict and state_dict[name].shape != own[name].shape
                 and not (adapted and name == key)],
        adapted=adapted if key in fitting else [])


def require(found: Fit, path: str, keys: list[str], min_fraction: float, remedy: str) -> None:
    """Refuse weights that fit less than a share of the model.

    Args:
        found (Fit): From :func:`fit`.
        path (str): The file, for the message.
        keys (list[str]): The keys of the file.
        min_fraction (float): 0 to 1.
        remedy (str): What to do if they are wanted all the same.

    Raises:
        CheckpointError: They fit less.
    """
    if found.fraction < min_fraction:
        kind = looks_like(keys)
        raise CheckpointError(
            f'Checkpoint {path} fits {found.fraction:.0%} of the model only ({found.summary}).'
            + (f' It looks like {kind}.' if kind and 'mmwhitebox model' not in kind else '') + f' {remedy}')
