"""Official state dicts <-> state dicts of mmwhitebox models, value for value."""
import re

from mmengine.logging import print_log
from torch import Tensor

from mmwhitebox.errors import CheckpointError, joined

from .dino import timm_layout
from .keys import FAMILIES, TO_HEADS, VITS, Rule, looks_like

WRAPPERS = ('state_dict', 'model', 'module', 'model_ema', 'teacher')
KEY_PREFIXES = re.compile(r'^(?:module\.|_orig_mod\.)+')


def family_rules(family: str) -> tuple[Rule, ...]:
    """The table of a family; a ValueError that lists the families if there is none."""
    if family not in FAMILIES:
        raise ValueError(f'Unknown family {family!r}. Families: {", ".join(FAMILIES)}.')
    return FAMILIES[family]


def unwrap(checkpoint: dict) -> dict[str, Tensor]:
    """The state dict in a checkpoint, without the wrappers around it and around its keys.

    Args:
        checkpoint (dict): A state dict, or a dict that holds it as ``state_dict``, ``model``, ``module``,
            ``model_ema`` or ``teacher`` (the first that is there, within one another too). The rest (``optimizer``,
            ``args``, ...) is ignored.

    Returns:
        dict: Keys without the ``module.`` of data-parallel training and the ``_orig_mod.`` of ``torch.compile``.

    Raises:
        CheckpointError: It holds no weights, or something that is no tensor among them.
    """
    state_dict = checkpoint
    while isinstance(state_dict, dict) and (
            inner := next((state_dict[name] for name in WRAPPERS if isinstance(state_dict.get(name), dict)), None)):
        state_dict = inner
    if not isinstance(state_dict, dict) or not state_dict:
        raise CheckpointError('The checkpoint holds no weights.')
    others = [str(key) for key, value in state_dict.items()
              if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise CheckpointError('The checkpoint is no state dict and has none under '
                              f'{" or ".join(WRAPPERS)}: not tensors are {joined(others)}.')
    return {KEY_PREFIXES.sub('', key): value for key, value in state_dict.items()}


def official_weights(checkpoint: dict, family: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint, see :func:`unwrap`; of a ViT in the layout of timm."""
    state_dict = unwrap(checkpoint)
    return timm_layout(state_dict) if family in VITS else state_dict


def convert_official(state_dict: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    """Weights of an official implementation -> those of the mmwhitebox model.

    Args:
        state_dict (dict): Official state dict or a checkpoint that holds it, see :func:`unwrap`.
        family (str): 'cbt' (all classification models of the CBSA repository: CBSA, MSSA and TSSA
            layers, hybrids), 'crate', 'crate-alpha' (PyTorch), 'crate-alpha-jax' (the same models as JAX saves
            them), 'crate-mae', 'tost', 'vit' (a ViT as timm, DINO, DINOv2, DINOv3 or SimDINO stores it), 'vit-cbsa'
            (the same weights, adapted as in the CBSA repository), 'cbt-decoder', 'depict' or 'segmenter' (with
            their ViT encoders; keys of ``decoder.*`` alone give a decode head).

    Returns:
        dict: State dict of the model that :func:`describe_official` describes. Classification heads of
        a segmentation encoder are left out, with a log line.

    Raises:
        CheckpointError: A key that the family does not have; the message says what else it looks like. A value
            that has too few axes.
        ValueError: Unknown family.
    """
    rules = family_rules(family)
    state_dict = official_weights(state_dict, family)
    converted, dropped, unknown = {}, [], []
    for key, value in state_dict.items():
        rule, names = next(((rule, names) for rule in rules
                            if (names := rule.our_keys(key, state_dict)) is not None), (None, ()))
        if rule is None:
            unknown.append(key)
        elif not names:
            dropped.append(key)
        else:
            try:
                converted.update(zip(names, rule.layout.to_ours(value)))
            except (RuntimeError, IndexError) as error:  # too few axes
                raise CheckpointError(f'{key} has the shape {tuple(value.shape)}, which is none of the family '
                                      f'{family}.') from error
    if unknown:
        other = looks_like(state_dict)
        guess = f' It looks like {other}.' if other and other != f'the family {family}' else ''
        raise CheckpointError(f'This state dict is not of the family {family}, which has no '
                              f'{joined(unknown)}.{guess}')
    if dropped:
        print_log(f'Left out, since the model has no place for them: {joined(dropped)}', logger='current')
    return converted


def convert_to_official(state_dict: dict[str, Tensor], family: str, num_heads: int | None = None) -> dict[str, Tensor]:
    """The inverse of :func:`convert_official`, exact to the bit.

    What that left out (the classification heads of a segmentation encoder) cannot come back and is
    missing: load the result with ``strict=False`` there.

    Args:
        state_dict (dict): State dict of an mmwhitebox model, or a checkpoint that holds it.
        family (str): As in :func:`convert_official`.
        num_heads (int, optional): Number of heads, which the layout 'crate-alpha-jax' has an axis for and ours has
            not. Defaults to None.

    Returns:
        dict: State dict in the official layout.

    Raises:
        CheckpointError: A key that the models of this family do not have, a missing part of a value, or a number of
            heads that is needed and not given or does not divide the width.
        ValueError: Unknown family.
    """
    rules = family_rules(family)
    state_dict = unwrap(state_dict)
    converted, unknown = {}, []
    for key in state_dict:
        rule, name = next(((rule, name) for rule in rules
                           if (name := rule.official_key(key, state_dict)) is not None), (None, None))
        if rule is None:
            unknown.append(key)
        elif name not in converted:
            parts = rule.our_keys(name)
            missing = [part for part in parts if part not in state_dict]
            if missing:
                raise CheckpointError(f'The state dict lacks {joined(missing)}.')
            values = [state_dict[part] for part in parts]
            converted[name] = rule.layout.to_official(*values, *heads_of(rule, name, values, num_heads))
    if unknown:
        raise CheckpointError(f'This is no state dict of an mmwhitebox model of the family {family}, which '
                              f'has no {joined(unknown)}.')
    return converted


def heads_of(rule: Rule, name: str, values: list[Tensor], num_heads: int | None) -> tuple[int, ...]:
    """The number of heads for a layout that needs it."""
    if not rule.layout.by_head:
        return ()
    if num_heads is None:
        raise CheckpointError(f'{name} has an axis of the heads, whose number is not in the weights: give '
                              'num_heads (--num-heads).')
    width = next(iter(values)).shape[0 if rule.layout is TO_HEADS else 1]
    if width % num_heads:
        raise CheckpointError(f'{name} has {width} dimensions, which {num_heads} heads do not divide.')
    return (num_heads, )
