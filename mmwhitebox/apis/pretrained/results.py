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


def kept_validation(checkpoint: Path) -> dict[str, Any] | None:
    """What the training that wrote a checkpoint kept of its validation, in the same folder.

    Args:
        checkpoint (Path): Its name is that of a best checkpoint, or of the step that was validated last.

    Returns:
        dict | None: ``scores`` (name -> value, as the metric gave it), ``classes`` (name -> class -> percent, NaN where
        there is none; empty if it is not known) and ``when``. None of a checkpoint of which nothing was kept.
    """
    try:
        kept = json.loads((checkpoint.parent / NAME).read_text(encoding='utf-8'))
        entry = next((entry for entry in kept.get('best', {}).values() if Path(entry['path']).name == checkpoint.name),
                     None)
        last = kept.get('last')
        if entry is None and last and checkpoint.stem == f'{last["unit"].replace("ation", "")}_{last["step"]}':
            entry = last
        if entry is None:
            return None
        classes = {}
        if entry.get('confusion') is not None:
            confusion = Confusion.from_json(entry['confusion'])
            classes = {name: {label: 100 * float(value) for label, value in zip(confusion.classes, values)}
                       for name, values in confusion.scores().items()}
        return dict(scores={name: value for name, value in entry['scores'].items()
                            if isinstance(value, (int, float)) and math.isfinite(value)},
                    classes=classes, when=f'{entry["unit"]} {entry["step"]}')
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def validation_of(checkpoint: str | Path) -> dict[str, Any] | None:
    """:func:`kept_validation` as :func:`results`."""
    kept = kept_validation(Path(checkpoint))
    return kept and results(
        'validation', kept['scores'], {name: {label: round(value, 4) if math.isfinite(value) else None
                                              for label, value in values.items()}
                                       for name, values in kept['classes'].items()}, when=kept['when'])
