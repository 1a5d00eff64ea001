"""The parts of a config: their paths, their classes, and the arguments that their classes take for granted."""
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS, DefaultScope, Registry

SPLITS = ('train', 'val', 'test')
HEADS = ('decode_head', 'auxiliary_head', 'head')
STACK = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmwhitebox')


class Part(NamedTuple):
    """A dict of the config that names a type: its path, itself, and the class, None if it is not known."""
    path: str
    cfg: dict
    cls: type | None

    @property
    def name(self) -> str:
        """Path and class: ``model.decode_head (FCNHead)``."""
        return f'{self.path} ({self.cls.__name__})' if self.cls else self.path

    @property
    def known(self) -> bool:
        """Whether the class is ours or of the stack, so that its arguments mean what they are known to mean."""
        return self.cls is not None and self.cls.__module__.partition('.')[0] in STACK

    def argument(self, key: str) -> Any:
        """Value of an argument: the config's, or the default of the class; None if it has none."""
        return self.cfg[key] if key in self.cfg else default_of(self.cls, key)


def default_of(cls: type | None, key: str) -> Any:
    """Default of an argument, looked up in the bases as far as they are handed keyword arguments."""
    for base in getattr(cls, '__mro__', ()):
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            if key in parameters:
                default = parameters[key].default
                return None if default is inspect.Parameter.empty else default
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
                return None
    return None


def make_part(path: str, cfg: Any, registry: Registry) -> Part | None:
    """The part that a value of the config is; None if it is no dict."""
    if not isinstance(cfg, dict):
        return None
    cls = find_type(cfg.get('type'), (registry, ), cfg.get('_scope_'))
    return Part(path, cfg, cls if isinstance(cls, type) else None)


def find_type(name: Any, registries: Iterable[Registry], scope: str | None = None) -> Any:
    """The class of a name, as mmengine finds it; None when there is none.

    Args:
        name (str | Callable): ``type`` of a config dict.
        registries (Iterable[Registry]): Where such a type is looked up, one after another.
        scope (str, optional): ``_scope_`` of the dict.
    """
    if not isinstance(name, str):
        return name
    scope = scope or getattr(DefaultScope.get_current_instance(), 'scope_name', None)
    for registry in registries:
        try:
            found = registry.children.get(scope, registry).get(name)
        except Exception:  # mmengine tries to import the name as a module
            continue
        if found is not None:
            return found
    return None


def listed(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands under a key that takes one thing or a list of them, with the paths."""
    if isinstance(value, (list, tuple)):
        yield from ((f'{path}.{i}', item) for i, item in enumerate(value))
    elif value is not None:
        yield path, value


def parts(path: str, value: Any, registry: Registry) -> Iterator[Part]:
    """The parts under a key that takes one dict or a list of them."""
    made = (make_part(where, item, registry) for where, item in listed(path, value))
    return (part for part in made if part is not None)


def get(cfg: Any, path: str) -> Any:
    """What stands under a path; None if nothing does."""
    for key in path.split('.'):
        cfg = cfg.get(key) if isinstance(cfg, (dict, Config)) else None
    return cfg


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict]]:
    """All dicts inside a config with their paths, ``model.decode_head``."""
    items = value.items() if isinstance(value, (dict, Config)) else enumerate(value)
    for key, inner in items:
        here = (*path, str(key))
        if isinstance(inner, dict):
            yield '.'.join(here), inner
        if isinstance(inner, (dict, list, tuple)):
            yield from walk(inner, here)


def model_part(cfg: Config) -> Part | None:
    """The model; of a model for test-time augmentation the one inside."""
    part = make_part('model', cfg.get('model'), MODELS)
    if part is not None and isinstance(part.cfg.get('module'), dict):
        part = make_part('model.module', part.cfg['module'], MODELS)
    return part


def heads(cfg: Config) -> Iterator[tuple[str, dict]]:
    """The heads of the model with their paths."""
    model = cfg.get('model') or {}
    for key in HEADS:
        yield from ((path, head) for path, head in listed(f'model.{key}', model.get(key)) if isinstance(head, dict))


def preprocessor_part(cfg: Config, model: Part) -> Part | None:
    """The data preprocessor: the model's, or else the one at the top level."""
    inner = make_part(f'{model.path}.data_preprocessor', model.cfg.get('data_preprocessor'), MODELS)
    return inner or make_part('data_preprocessor', cfg.get('data_preprocessor'), MODELS)


def datasets(cfg: Config, split: str) -> Iterator[Part]:
    """The datasets of a split, inside the wrappers of the stack; what is inside of another wrapper is its affair."""
    yield from _leaves(f'{split}_dataloader.dataset', get(cfg, f'{split}_dataloader.dataset'))


def _leaves(path: str, cfg: Any) -> Iterator[Part]:
    part = make_part(path, cfg, DATASETS)
    if part is None:
        return
    inner = [key for key in ('dataset', 'datasets') if key in part.cfg]
    if not inner:
        yield part
    elif part.known:
        for where, item in listed(f'{path}.{inner[0]}', part.cfg[inner[0]]):
            yield from _leaves(where, item)


def steps(path: str, pipeline: Any) -> Iterator[Part]:
    """The steps of a pipeline, those inside of other steps too."""
    if isinstance(pipeline, dict):
        part = make_part(path, pipeline, TRANSFORMS) if 'type' in pipeline else None
        if part is not None:
            yield part
        for key, value in pipeline.items():
            if isinstance(value, (dict, list, tuple)):
                yield from steps(f'{path}.{key}', value)
    elif isinstance(pipeline, Sequence) and not isinstance(pipeline, str):
        for i, item in enumerate(pipeline):
            if isinstance(item, (dict, list, tuple)):
                yield from steps(f'{path}.{i}', item)


def pipelines(cfg: Config, split: str) -> Iterator[Part]:
    """All steps that the samples of a split go through, those of wrappers too."""
    def inside(path: str, value: Any) -> Iterator[Part]:
        if isinstance(value, dict):
            yield from steps(f'{path}.pipeline', value.get('pipeline'))
            for key in ('dataset', 'datasets'):
                for where, item in listed(f'{path}.{key}', value.get(key)):
                    yield from inside(where, item)

    yield from inside(f'{split}_dataloader.dataset', get(cfg, f'{split}_dataloader.dataset'))


def metrics(cfg: Config, split: str) -> Iterator[Part]:
    """The metrics of a split, those inside an ``Evaluator`` too."""
    path = f'{split}_evaluator'
    value = cfg.get(path)
    if isinstance(value, dict) and 'metrics' in value:
        path, value = f'{path}.metrics', value['metrics']
    yield from parts(path, value, METRICS)
