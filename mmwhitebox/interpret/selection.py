"""What a command looks at: the attention layers that have what it shows, the models it compares."""
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from mmwhitebox.errors import UserError

from .capture import attention_layers
from .command import commands_for, require, select


def layers_with(model: nn.Module, wanted: str | None, notion: Callable[[str, nn.Module], bool],
                what: str) -> dict[str, nn.Module]:
    """Attention layers that have a notion, among those of ``--layers``.

    Args:
        model (nn.Module): A classifier or segmentor.
        wanted (str, optional): Indices into all attention layers of the model, see
            :func:`mmwhitebox.interpret.command.select`. None takes all.
        notion (Callable): (name, module) -> whether the layer has it.
        what (str): What that is, to complete 'This model has no ...'.

    Returns:
        dict[str, nn.Module]: Name -> module, in the order in which they run.

    Raises:
        UserError: No layer of the model has it (with the commands that do apply), none of the wanted ones has, or
            an index is out of range.
    """
    layers = attention_layers(model)
    having = [i for i, (name, layer) in enumerate(layers.items()) if notion(name, layer)]
    require(having, what, commands_for(model))
    chosen = [i for i in select(wanted, len(layers), '--layers', 'attention layers') if i in having]
    if not chosen:
        raise UserError(f'--layers {wanted}: these layers have no {what}. Layers that have: '
                        f'{", ".join(map(str, having))}.')
    items = list(layers.items())
    return dict(items[i] for i in chosen)


def model_names(pairs: Sequence[Sequence[str]]) -> list[str]:
    """Short, unique names of models: that of the config, with that of the checkpoint where it is needed.

    Args:
        pairs (Sequence[Sequence[str]]): Config and checkpoint of each model.
    """
    configs = [Path(config).stem for config, _ in pairs]
    names = [name if configs.count(name) == 1 else f'{name} {Path(checkpoint).stem}'
             for name, (_, checkpoint) in zip(configs, pairs)]
    return [name if names.count(name) == 1 else f'{name} ({i})' for i, name in enumerate(names)]


def short_list(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, cut after a dozen."""
    return ', '.join(names[:most]) + (f', ... ({len(names)} in all)' if len(names) > most else '')
