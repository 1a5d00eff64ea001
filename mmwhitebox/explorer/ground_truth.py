"""Masks of images: those of a config's data sets, and those that lie in a folder ``annotations`` beside the images."""
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

from mmwhitebox.apis.data import HELD_OUT_FIRST, building, scope_of
from mmwhitebox.apis.pipeline import InferencePipeline
from mmwhitebox.datasets import FolderClsDataset
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import UserError

from .mask_files import mask_beside

LISTING = (BaseSegDataset, CustomDataset, FolderClsDataset)  # others come as archives, which they would fetch


class GroundTruth:
    """The labels of images for a segmentor of a config; a classifier has none.

    Args:
        cfg (Config): Full config. Its data sets need not be there: they then know no image.
        pipeline (InferencePipeline, optional): Of the model; its loading step says how large an image is. Defaults to
            None: there are no labels.
    """

    def __init__(self, cfg: Config, pipeline: InferencePipeline | None = None) -> None:
        self.cfg, self.pipeline = cfg, pipeline
        self.samples: list[str] = []
        self.known: dict[str, dict] = {}
        self.step: LoadAnnotations | None = None
        self.labelling: dict[str, Any] = {}
        segments = 'decode_head' in cfg.model and pipeline is not None
        for split in HELD_OUT_FIRST:
            loader = cfg.get(f'{split}_dataloader')
            if loader and (segments or not self.samples):
                for leaf in leaf_datasets(loader['dataset']):
                    self._read(leaf, segments)

    def _read(self, leaf: dict, segments: bool) -> None:
        """List the samples of a data set."""
        with building(self.cfg), DATASETS.switch_scope_and_registry(scope_of(self.cfg)) as registry:
            cls = registry.get(leaf['type']) if isinstance(leaf['type'], str) else leaf['type']
            if not (isinstance(cls, type) and issubclass(cls, LISTING)):
                return
            try:
                dataset = registry.build({**leaf, 'pipeline': [], 'lazy_init': True})
            except Exception as error:  # mmseg's assert that their files are there
                print_log(f'{cls.__name__} is not looked through ({error}).', 'current')
                return
            if segments and self.step is None:
                self.step = annotation_step(leaf.get('pipeline') or ())
                self.labelling = dict(reduce_zero_label=getattr(dataset, 'reduce_zero_label', False),
                                      label_map=getattr(dataset, 'label_map', None))
            infos: list[dict] = []
            with suppress(Exception):  # the data may lie on another computer
                dataset.full_init()
                infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        infos = [info for info in infos if isinstance(info.get('img_path'), str) and os.path.isfile(info['img_path'])]
        self.samples = self.samples or [info['img_path'] for info in infos]
        self.known |= {os.path.realpath(info['img_path']): info for info in infos if info.get('seg_map_path')}

    def source(self, image: str | Path) -> dict | None:
        """Where the labels of an image are and how they are read; None if there are none."""
        if self.step is None:
            return None
        info = self.known.get(os.path.realpath(image))
        if info is None:
            beside = mask_beside(image)
            info = dict(seg_map_path=str(beside), **self.labelling) if beside else None
        return info if info and os.path.isfile(info['seg_map_path']) else None

    def labels(self, image: str | Path) -> np.ndarray | None:
        """Class index of every pixel of an image's file, (H, W), 255 where there is none; None if there is no mask.

        Raises:
            UserError: The mask does not fit the image or the classes.
        """
        source = self.source(image)
        if source is None:
            return None
        with building(self.cfg):
            results = self.pipeline.loader(dict(img_path=str(image)))
            try:
                return self.step({**results, 'seg_fields': [], **source, 'img_path': str(image)})['gt_seg_map']
            except UserError:
                raise
            except Exception as error:
                raise UserError(f'The mask {source["seg_map_path"]} cannot be read ({error}).') from error


def annotation_step(steps: list[dict]) -> LoadAnnotations | None:
    """The step of a pipeline that reads masks, built."""
    for step in steps:
        cls = TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']
        if isinstance(cls, type) and issubclass(cls, LoadAnnotations):
            return TRANSFORMS.build(step)
    return None
