"""What a config and a checkpoint say about the data: names and colours of the classes, how an image is prepared."""
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwhitebox.checkpoints.trained_classes import trained_classes
from mmwhitebox.config_parts import Part, datasets
from mmwhitebox.datasets.class_names import known_classes
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import UserError

HELD_OUT_FIRST = ('test', 'val', 'train')
_BUILDING = threading.RLock()


class DataDescription(NamedTuple):
    """What is known about the data of a model.

    Attributes:
        classes (list[str]): Names, in the order of the labels.
        palette (list[list[int]] | None): Their RGB colours; None of a classifier.
        pipeline (list[dict] | None): Steps that testing runs; None if the config has neither test nor validation.
        shown (dict | None): What pictures show of images that are no photographs, ``shown`` of the data sets' metainfo.
    """

    classes: list[str]
    palette: list[list[int]] | None
    pipeline: list[dict] | None
    shown: dict | None = None

    @property
    def meta(self) -> dict:
        """``classes`` and, as far as they are known, ``palette`` and ``shown``: the stack's ``dataset_meta``."""
        return {key: value for key, value in dict(classes=self.classes, palette=self.palette, shown=self.shown).items()
                if value is not None}


def scope_of(cfg: Config) -> str:
    """Default scope of a config: 'mmseg' unless it names another."""
    return cfg.get('default_scope', 'mmseg')


@contextmanager
def building(cfg: Config) -> Iterator[None]:
    """A context in which parts of a config are built: its default scope, which is the process's, one thread at a time.

    The scope is afterwards what it was.
    """
    with _BUILDING, DefaultScope.overwrite_default_scope(scope_of(cfg)):
        yield


def describe_data(cfg: Config, checkpoint_meta: dict | None = None) -> DataDescription:
    """Classes, palette and test pipeline of a config, and of a checkpoint of it.

    Names are looked up in the checkpoint, which knows what its labels were in training, in ``dataset_meta`` of the
    config (of a pretrained model), in the datasets of the test, validation and training loader, within wrappers too,
    and at last counted. Names of another number than the head has
    classes are passed over. A class keeps the colour that its dataset gives to that name; where there is none,
    colours are those that mmseg generates.

    Args:
        cfg (Config): Full config.
        checkpoint_meta (dict, optional): ``meta`` of the checkpoint. Defaults to None.
    """
    count, segments = count_classes(cfg), 'decode_head' in cfg.model
    with building(cfg):
        parts = [part for split in HELD_OUT_FIRST for part in datasets(cfg, split)]
        known = [meta_of(checkpoint_meta or {}), cfg.get('dataset_meta') or {}]
        own = {name: colour for part in reversed(parts) for name, colour in colours_of(part).items()}
        known += [{'classes': known_classes(part), 'palette': palette_of(part)} for part in parts]
    known = [{**meta, 'classes': [str(name) for name in meta['classes']]} for meta in known if meta.get('classes')]
    fitting = [meta for meta in known if count in (None, len(meta['classes']))]
    if fitting:
        classes = fitting[0]['classes']
    elif count is not None:
        classes = [str(i) for i in range(count)]
    else:
        raise UserError('Neither the datasets nor the head of the config nor the checkpoint say how many classes there '
                        'are.')
    palette = None
    if segments:
        given = [meta.get('palette') for meta in fitting if meta['classes'] == classes]
        palette = next((colours for colours in given if colours and len(colours) == len(classes)), None)
        spare = generated_palette(len(classes))
        palette = [list(map(int, c)) for c in palette or [own.get(name, spare[i]) for i, name in enumerate(classes)]]
    told = [*(part.cfg.get('metainfo') or {} for part in parts), cfg.get('dataset_meta') or {}]
    shown = next(filter(None, (meta.get('shown') for meta in told)), None)
    return DataDescription(classes, palette, pipeline_of(cfg), shown and dict(shown))


def meta_of(checkpoint_meta: dict) -> dict:
    """Classes and palette in the ``meta`` of a checkpoint, where mmseg 1.x or 0.x writes them."""
    old = {'classes': trained_classes(checkpoint_meta), 'palette': checkpoint_meta.get('PALETTE')}
    return checkpoint_meta.get('dataset_meta') or old


def colours_of(part: Part) -> dict[str, Sequence[int]]:
    """The colour that a dataset's class gives to each name."""
    own: dict[str, Any] = getattr(part.cls, 'METAINFO', None) or {}
    return dict(zip(own.get('classes') or (), own.get('palette') or ()))


def count_classes(cfg: Config) -> int | None:
    """Number of classes that the head of a config tells apart; None if it does not say."""
    head = cfg.model.get('decode_head') or cfg.model.get('head') or {}
    head = head[-1] if isinstance(head, (list, tuple)) else head
    count = head.get('num_classes')
    return max(count, 2) if isinstance(count, int) and head.get('out_channels') == 1 else count


def pipeline_of(cfg: Config) -> list[dict] | None:
    """Steps of the first test or validation dataset, or what the config calls its ``test_pipeline``."""
    for split in HELD_OUT_FIRST[:2]:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in leaf_datasets(loader['dataset']) if loader else ():
            if dataset.get('pipeline'):
                return list(dataset['pipeline'])
    return cfg.get('test_pipeline')


def evaluation_split(cfg: Config) -> str | None:
    """'test', or 'val' of a config without test data; None if it has neither."""
    return next((split for split in HELD_OUT_FIRST[:2] if cfg.get(f'{split}_dataloader')), None)


def palette_of(part: Part) -> list[Sequence[int]] | None:
    """Colours of a dataset's classes: those of the config, or those that its class gives to the names."""
    metainfo = part.cfg.get('metainfo') or {}
    classes = known_classes(part)
    if not classes:
        return None
    if len(metainfo.get('palette') or ()) == len(classes):
        return metainfo['palette']
    colours = colours_of(part)
    if not colours:
        return None
    spare = generated_palette(len(classes))
    return [colours.get(name, spare[i]) for i, name in enumerate(classes)]


def generated_palette(count: int) -> list[list[int]]:
    """The colours that mmseg's datasets generate where none are given, RGB."""
    return np.random.RandomState(42).randint(0, 255, size=(count, 3)).tolist()
