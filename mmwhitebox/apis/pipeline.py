"""The pipeline that testing runs, for images without annotations: files, and arrays that are loaded already."""
import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadAnnotations, LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadImageFromNDArray

from mmwhitebox.datasets.image_io import BROKEN_IMAGE
from mmwhitebox.datasets.transforms import LoadImage
from mmwhitebox.errors import ImageReadError, UserError

from .inputs import as_file

UNREADABLE = (*BROKEN_IMAGE, AssertionError, AttributeError, cv2.error)  # mmcv asserts that OpenCV gave an image


class InferencePipeline:
    """A test pipeline that takes a path or an array (H, W) or (H, W, C), channels in the order of OpenCV.

    Steps are left out by what they do, whatever they are called: a step that reads annotations is one that derives from
    mmcv's ``LoadAnnotations``, or that asks for an annotation which an image alone does not have, or that fails to read
    another file than the image's; the last is logged. A step that changes a label map together with the image gets an
    empty one. Of a step that reads the image's file, an array goes through the rest: ``to_float32``.

    Args:
        steps (Sequence[dict]): Steps of the config. They are built under the current default scope.

    Attributes:
        steps (list[dict]): Those of the config that do not read annotations.
        loader (BaseTransform | None): Its first step.
        reads_bytes (bool): Whether its first step gives pixels from 0 to 255 of every file.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        built = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps]
        kept = [i for i, step in enumerate(built) if not isinstance(step, LoadAnnotations)]
        self.steps = [steps[i] for i in kept]
        self.transforms = [built[i] for i in kept]
        self.loader = loader = self.transforms[0] if self.transforms else None
        self.reads_bytes = (loader.value_range is None if isinstance(loader, LoadImage) else
                            reads_file(loader) and 'color' in str(loader.color_type))
        self._reported: set[str] = set()

    def __call__(self, image: Any) -> dict:
        """The packed sample of an image: a path, an array, or the bytes of a file.

        Raises:
            ImageReadError: The file cannot be read.
            UserError: A step drops the image, or changes it as its labels are.
        """
        if isinstance(image, bytes):
            with as_file(image) as path:
                try:
                    return self(path)
                except UserError as error:
                    said = str(error).removeprefix(f'{path}: ').replace(str(path), 'the image')
                    raise type(error)(f'These {len(image)} bytes: {said}') from error
        if isinstance(image, np.ndarray):
            sample = dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        else:
            sample = dict(img_path=str(image))
        sample.update(seg_fields=[], label_map=None, reduce_zero_label=False)  # as a dataset says of every image
        for step in self.transforms:
            sample = self._apply(step, sample, image)
        return sample

    def _apply(self, step: BaseTransform, sample: dict, image: Any) -> dict:
        loaded = 'img' in sample
        if loaded and 'img_path' not in sample and reads_file(step):
            return as_loaded(step, sample)
        watched = Watched(sample)
        found: Any = None
        try:
            found = step(watched)
        except Exception as error:
            missing = error.args[0] if isinstance(error, KeyError) and error.args else None
            if missing == 'gt_seg_map' and loaded:
                return self._with_empty_maps(step, sample)
            if is_annotation(missing) or watched.asked_for_annotation:
                if watched.get('img') is not sample.get('img'):
                    raise UserError(f'{name_of(step)} of the test pipeline changes the image and cannot do so '
                                    f'without {missing or "annotations"}: let it pass images alone.') from error
                return sample
            if missing == 'img_path' and loaded:
                return as_loaded(step, sample)
            if loaded and 'img_path' in sample and watched.asked_for_path and unreadable(error):
                if watched.get('img') is sample['img']:
                    self._report(step, error)
                    return sample
            if loaded and isinstance(error, cv2.error):
                size = ' x '.join(map(str, np.shape(sample['img'])[:2]))
                raise ImageReadError(f'{sample.get("img_path", "This array")}: {name_of(step)} of the test pipeline '
                                     f'cannot take an image of {size} pixels ({error.err}).') from error
            if loaded or isinstance(error, UserError) or not unreadable(error):
                raise
            raise ImageReadError(f'{image}: cannot read this image ({str(error) or type(error).__name__}).') from error
        if found is None:
            if watched.asked_for_annotation:
                return sample
            raise UserError(f'{name_of(step)} of the test pipeline gives nothing for '
                            f'{sample.get("img_path", "this array")}.')
        return found

    def _with_empty_maps(self, step: BaseTransform, sample: dict) -> dict:
        """What a step that asks for a label map makes of the image: the same, whatever the labels are, or an error."""
        found = []
        for label in (0, 1):
            labels = np.full(sample['img'].shape[:2], label, np.uint8)
            fields = dict(gt_seg_map=labels, seg_fields=[*sample['seg_fields'], 'gt_seg_map'])
            try:
                found.append(step({**sample, **fields, 'img': sample['img'].copy()}))
            except KeyError as error:
                if is_annotation(error.args[0] if error.args else None):
                    raise UserError(f'{name_of(step)} of the test pipeline asks for {error} as well as for '
                                    'gt_seg_map: let it pass images alone.') from error
                raise
        if any(result is None for result in found) or not np.array_equal(found[0]['img'], found[1]['img']):
            raise UserError(f'{name_of(step)} of the test pipeline changes the image by its labels (gt_seg_map), '
                            'which an image alone does not have: let it pass images alone.')
        return {**{key: value for key, value in found[0].items() if key != 'gt_seg_map'},
                'seg_fields': sample['seg_fields']}

    def _report(self, step: BaseTransform, error: Exception) -> None:
        """Say once that a step is left out."""
        name = name_of(step)
        if name not in self._reported:
            self._reported.add(name)
            print_log(f'{name} of the test pipeline is left out for images alone, as a reader of annotations: it fails '
                      f'to read another file ({str(error) or type(error).__name__}).', 'current', logging.WARNING)


class Watched(dict):
    """A sample that notes whether a step asks for annotations by ``get``, and whether for the path of the image."""

    asked_for_annotation = False
    asked_for_path = False

    def __getitem__(self, key: str) -> Any:
        """As of a dict."""
        self.asked_for_path |= key == 'img_path'
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict. Geometric steps ask for ``gt_...`` too, the path of a map is asked for by its reader alone."""
        if key not in self and str(key).endswith('_map_path'):
            self.asked_for_annotation = True
        self.asked_for_path |= key == 'img_path'
        return super().get(key, default)


def name_of(step: Any) -> str:
    """Name of a function or of a transform's class."""
    return getattr(step, '__name__', type(step).__name__)


def unreadable(error: Exception) -> bool:
    """Whether an error is one of reading a file; a UserError says by its class what it is."""
    return isinstance(error, ImageReadError if isinstance(error, UserError) else UNREADABLE)


def is_annotation(key: Any) -> bool:
    """Whether a key of a sample belongs to its annotations."""
    return isinstance(key, str) and (key.startswith('gt_') or key.endswith('_map_path') or key == 'instances')


def reads_file(step: BaseTransform) -> bool:
    """Whether a step is mmcv's reader of image files; mmseg derives its reader of arrays from that."""
    return isinstance(step, LoadImageFromFile) and not isinstance(step, LoadImageFromNDArray)


def as_loaded(step: BaseTransform, sample: dict) -> dict:
    """A sample with an array, as a step that reads files would leave it."""
    image = sample['img']
    return {**sample, 'img': image.astype(np.float32) if getattr(step, 'to_float32', False) else image}
