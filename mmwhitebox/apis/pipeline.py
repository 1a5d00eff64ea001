"""The pipeline that testing runs, for images without annotations: files, and arrays that are loaded already."""
from typing import Any, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadAnnotations, LoadImageFromFile
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadImageFromNDArray

from mmwhitebox.datasets.image_io import BROKEN_IMAGE
from mmwhitebox.errors import ImageReadError, UserError

UNREADABLE = (*BROKEN_IMAGE, AssertionError, AttributeError, cv2.error)  # mmcv asserts that OpenCV gave an image


class InferencePipeline:
    """A test pipeline that takes a path or an array (H, W) or (H, W, C), channels in the order of OpenCV.

    Steps are left out by what they do, whatever they are called: a step that reads annotations is one that derives from
    mmcv's ``LoadAnnotations``, or that asks for an annotation which an image alone does not have. Of a step that
    reads the image's file, an array goes through the rest: ``to_float32``.

    Args:
        steps (Sequence[dict]): Steps of the config. They are built under the current default scope.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        built = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps]
        self.transforms = [step for step in built if not isinstance(step, LoadAnnotations)]

    def __call__(self, image: Any) -> dict:
        """The packed sample of an image.

        Raises:
            ImageReadError: The file cannot be read.
            UserError: A step drops the image.
        """
        if isinstance(image, np.ndarray):
            sample = dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        else:
            sample = dict(img_path=str(image))
        sample['seg_fields'] = []
        for step in self.transforms:
            sample = self._apply(step, sample, image)
        return sample

    def _apply(self, step: BaseTransform, sample: dict, image: Any) -> dict:
        loaded = 'img' in sample
        if loaded and 'img_path' not in sample and reads_file(step):
            return as_loaded(step, sample)
        watched = Watched(sample)
        try:
            found = step(watched)
        except Exception as error:
            missing = error.args[0] if isinstance(error, KeyError) and error.args else None
            if is_annotation(missing) or watched.asked_for_annotation:
                if watched.get('img') is not sample.get('img'):
                    raise UserError(f'{type(step).__name__} of the test pipeline changes the image and cannot do so '
                                    f'without {missing or "annotations"}: let it pass images alone.') from error
                return sample
            if missing == 'img_path' and loaded:
                return as_loaded(step, sample)
            if loaded or isinstance(error, UserError) or not isinstance(error, UNREADABLE):
                raise
            raise ImageReadError(f'{image}: cannot read this image ({str(error) or type(error).__name__}).') from error
        if found is None:
            if watched.asked_for_annotation:
                return sample
            raise UserError(f'{type(step).__name__} of the test pipeline gives nothing for '
                            f'{sample.get("img_path", "this array")}.')
        return found


class Watched(dict):
    """A sample that notes whether a step asks for annotations by ``get``."""

    asked_for_annotation = False

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict. Geometric steps ask for ``gt_...`` too, the path of a map is asked for by its reader alone."""
        if key not in self and str(key).endswith('_map_path'):
            self.asked_for_annotation = True
        return super().get(key, default)


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
