"""What a measure looks at: layers and heads that were named and have what it shows; names of the models."""
import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmwhitebox.errors import NotApplicableError, UserError
from mmwhitebox.interpret.attention_map import has_representatives
from mmwhitebox.models.attention_layers import attention_layers, compression_layers, subspace_layers


def select(wanted: str | None, count: int, option: str, what: str) -> list[int]:
    """Indices that ``--layers`` or ``--heads`` name.

    Args:
        wanted (str, optional): Indices and ranges, '0-3,7'; a negative index counts from the last.
            None names all.
        count (int): How many there are.
        option (str): Name of the option, '--layers'.
        what (str): What is counted, for the message: 'attention layers'.

    Returns:
        list[int]: In rising order, each once.

    Raises:
        UserError: Not of that form, or out of range.
    """
    if wanted is None:
        return list(range(count))
    chosen = set()
    for part in wanted.split(','):
        first, dash, last = part.strip().rpartition('-')
        try:
            # '3' and '-1' have nothing before the dash, '0-3' has.
            start, stop = (int(first), int(last)) if first else (int(part), int(part))
        except ValueError:
            raise UserError(f'{option} {wanted}: give indices and ranges, e.g. 0-3,7 or -1.') from None
        if not all(-count <= index < count for index in (start, stop)):
            raise UserError(f'{option} {wanted}: there are {count} {what}, 0 to {count - 1}.')
        if start % count > stop % count:
            raise UserError(f'{option} {wanted}: the range {part.strip()} is empty.')
        chosen.update(range(start % count, stop % count + 1))
    return sorted(chosen)


def select_heads(wanted: str | None, layers: Iterable[Any]) -> list[int]:
    """Heads that ``--heads`` names, of those that every one of the layers (``num_heads``) has; None names all."""
    return select(wanted, min(layer.num_heads for layer in layers), '--heads', 'heads')


def commands_for(model: nn.Module) -> list[str]:
    """Names of the analysis commands whose notion a model has."""
    attentions = attention_layers(model).values()
    notions = {
        'coding_rate': bool(compression_layers(model)),
        'rate_reduction': any(hasattr(a, 'tokens_and_representatives') for a in attentions),
        'rank': any(has_representatives(a) for a in attentions),
        'attention_map': any(not hasattr(a, 'membership') for a in attentions),
        'membership': any(hasattr(a, 'membership') for a in attentions),
        'subspaces': bool(subspace_layers(model)),
        'perturbation': bool(attentions),
    }
    return ['complexity', *(name for name, there in notions.items() if there)]


def require(found: Any, what: str, commands: Sequence[str]) -> None:
    """Raise unless the model has what a command looks at.

    Args:
        found (Any): What was found; empty or False means nothing.
        what (str): What the command needs, to complete 'This model has no ...'.
        commands (Sequence[str]): Commands that do apply, from :func:`commands_for`.

    Raises:
        NotApplicableError: ``found`` is empty.
    """
    if not found:
        raise NotApplicableError(f'This model has no {what}. Commands that apply to it: {", ".join(commands)}.')


def layers_with(model: nn.Module, wanted: str | None, notion: Callable[[str, nn.Module], bool],
                what: str) -> dict[str, nn.Module]:
    """Attention layers that have a notion, among those of ``--layers``.

    Args:
        model (nn.Module): A classifier or segmentor.
        wanted (str, optional): Indices into all attention layers of the model, see
            :func:`select`. None takes all.
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


def named_models(args: argparse.Namespace) -> dict[str, Sequence[str]]:
    """Config and checkpoint of every model of a command, under short, unique names: that of the config, with that of
    the checkpoint where it is needed."""
    pairs = [(args.config, args.checkpoint), *args.also]
    configs = [Path(config).stem for config, _ in pairs]
    names = [name if configs.count(name) == 1 else f'{name} {Path(checkpoint).stem}'
             for name, (_, checkpoint) in zip(configs, pairs)]
    return {name if names.count(name) == 1 else f'{name} ({i})': pair
            for i, (name, pair) in enumerate(zip(names, pairs))}
