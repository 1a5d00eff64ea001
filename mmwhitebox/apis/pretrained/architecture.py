"""The config of a model as plain JSON: without what starts a training, and without places of files."""
import inspect
from collections.abc import Sequence
from typing import Any

from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from mmwhitebox.config.untrusted import MODEL_PARTS, STEPS, find, is_source, names_file, registries_of
from mmwhitebox.errors import UserError

OF_TRAINING = ('train_cfg', 'keep_logits')  # the latter is chosen where a model is used


class Plain:
    """Configs as plain values; JSON has no tuples, so their paths are noted.

    Args:
        scope (str): Default scope of the config.

    Attributes:
        tuples (list[str]): Paths of the lists that are tuples, ``model.backbone.out_indices``.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.tuples: list[str] = []

    def architecture(self, model: dict) -> dict:
        """The config of a model."""
        return self._plain(model, 'model', self.scope, MODEL_PARTS)

    def pipeline(self, steps: Sequence[dict]) -> list[dict]:
        """Steps of a test pipeline."""
        return self._plain(list(steps), 'test_pipeline', self.scope, STEPS)

    def _plain(self, value: Any, path: str, scope: str, registries: tuple[Registry, ...]) -> Any:
        if isinstance(value, dict):
            scope = value.get('_scope_', scope)
            kept = {}
            for key, item in value.items():
                key = str(key)
                if is_source(key, item) or key in OF_TRAINING:
                    continue
                kept[key] = registered_name(item, f'{path}.type', scope, registries) if key == 'type' else \
                    self._plain(item, f'{path}.{key}', scope, registries_of(key, registries))
            return kept
        if isinstance(value, (list, tuple)):
            if isinstance(value, tuple):
                self.tuples.append(path)
            return [self._plain(item, f'{path}.{i}', scope, registries) for i, item in enumerate(value)]
        if isinstance(value, str) and names_file(value):
            raise UserError(f'{path} of the config is {value!r}, which could name a file: such a model cannot be '
                            'saved to be shared.')
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if hasattr(value, 'item') and getattr(value, 'size', 2) == 1:  # a number of NumPy
            return value.item()
        raise UserError(f'{path} of the config is {type(value).__name__}, which JSON cannot hold: such a model cannot '
                        'be saved to be shared.')


def registered_name(value: Any, path: str, scope: str, registries: Sequence[Registry]) -> str:
    """The name by which registries know a type, which may be a class or its dotted name.

    Raises:
        UserError: None knows it.
    """
    if isinstance(value, str) and find(value, scope, registries) is not None:
        return value
    cls = value
    if isinstance(value, str):
        try:
            cls = get_object_from_string(value)
        except Exception:  # of an import
            cls = None
    for root in registries if inspect.isclass(cls) else ():
        for node in (*root.children.values(), root):
            for key, found in node.module_dict.items():
                if found is cls:
                    return f'{node.scope}.{key}'
    raise UserError(f'{path} of the config is {value!r}, which no registry has: such a model cannot be saved to be '
                    'shared. Register the class.')
