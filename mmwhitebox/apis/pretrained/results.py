"""What is known of how good weights are: scores, those of every class, intervals; in the units of the log."""
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmwhitebox.engine.hooks.validation_classes import NAME
from mmwhitebox.engine.scores.confusion import Confusion
from mmwhitebox.errors import UserError

ENDS = ('_low', '_high')


def results(on: str, scores: Mapping[str, Any], classes: Mapping[str, Mapping[str, Any]] | None = None,
            **more: Any) -> dict[str, Any]:
    """Scores with their intervals beside them; a score that there is not is left out.

    Args:
        on (str): 'validation' or 'test'.
        scores (Mapping): Name -> value; ``NAME_low`` and ``NAME_high`` are the ends of an interval of NAME.
        classes (Mapping, optional): Name -> class -> value. Defaults to None.
        **more: What else is known, ``when='iteration 200'``.
    """
    known = {name: value for name, value in scores.items()
             if isinstance(value, (int, float)) and math.isfinite(value)}
    pairs = {name: [known[name + end] for end in ENDS] for name in known
             if all(name + end in known for end in ENDS)}
    ends = {name + end for name in pairs for end in ENDS}
    found: dict[str, Any] = dict(on=on, **more, scores={n: v for n, v in known.items() if n not in ends})
    if pairs:
        found['intervals'] = pairs
    if classes:
        found['classes'] = {name: dict(values) for name, values in classes.items()}
    return found


def read_scores(path: str | Path) -> dict[str, Any]:
    """Results of ``mmwhitebox test --scores FILE``.

    Raises:
        UserError: It is no such file.
    """
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
        return results('test', found['scores'], found.get('classes'),
                       **{key: found[key] for key in ('images', 'class_intervals', 'bootstrap') if found.get(key)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is not what mmwhitebox test --scores writes'
        raise UserError(f'{path} cannot be read: {reason}.') from error


def validation_of(checkpoint: str | Path) -> dict[str, Any] | None:
    """What the training that wrote a checkpoint found of it in validation; None if that is not known."""
    checkpoint = Path(checkpoint)
    try:
        kept = json.loads((checkpoint.parent / NAME).read_text(encoding='utf-8'))
        entry = next((entry for entry in kept['best'].values() if Path(entry['path']).name == checkpoint.name), None)
        last = kept.get('last')
        if entry is None and last and checkpoint.stem == f'{last["unit"].replace("ation", "")}_{last["step"]}':
            entry = last
        if entry is None:
            return None
        classes = None
        if entry['confusion'] is not None:
            confusion = Confusion.from_json(entry['confusion'])
            classes = {name: {label: round(100 * float(value), 4) if math.isfinite(value) else None
                              for label, value in zip(confusion.classes, values)}
                       for name, values in confusion.scores().items()}
        return results('validation', entry['scores'], classes, when=f'{entry["unit"]} {entry["step"]}')
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
