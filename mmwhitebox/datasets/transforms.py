"""Loading transforms that check what they load: drop-in for mmcv's and mmseg's."""
from typing import Optional, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import LoadAnnotations

from mmwhitebox.errors import AnnotationError, ImageReadError
from mmwhitebox.registry import TRANSFORMS

from .image_io import read_image


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load an image of any mode as 8-bit BGR; a truncated file is an error, not a half-grey picture.

    Takes ``img_path`` from the results, or an array already there under ``img``; in inference also a
    bare path or array. Adds ``img``, ``img_shape``, ``ori_shape`` (both (H, W)).

    Raises:
        ImageReadError: The file cannot be read; the message names it.
    """

    def transform(self, results: Union[dict, str, np.ndarray]) -> dict:
        if isinstance(results, np.ndarray):
            results = dict(img=results)
        elif not isinstance(results, dict):
            results = dict(img_path=str(results))
        if 'img' not in results:
            results['img'] = read_image(results['img_path'])
        img = results['img']
        if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
            raise ValueError('An image array must be (H, W, 3) uint8 in BGR order, got '
                             f'{img.shape} {img.dtype}.')
        results.setdefault('img_path', None)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadSegAnnotation(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` plus the checks that otherwise end as NaN or a CUDA assertion.

    Args:
        num_classes (int): Labels in [0, num_classes) and ``ignore_index`` are accepted, after
            ``reduce_zero_label`` and the label map.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        **kwargs: Arguments of mmseg's ``LoadAnnotations``.

    Raises:
        ImageReadError: The annotation cannot be read.
        AnnotationError: It has several channels, another size than its image, or a label outside the classes.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> Optional[dict]:
        path = results['seg_map_path']
        try:
            results = super().transform(results)
        except (OSError, ValueError, SyntaxError, AttributeError) as error:
            raise ImageReadError(f'{path}: cannot read this annotation ({error}).') from error
        labels = results['gt_seg_map']
        if labels.ndim != 2:
            raise AnnotationError(f'{path}: an annotation is a single-channel image of class indices, this one '
                             f'has shape {labels.shape}.')
        if labels.shape != tuple(results['ori_shape']):
            raise AnnotationError(f'{path}: the annotation is {labels.shape[1]} x {labels.shape[0]} pixels, its '
                             f'image {results["img_path"]} is {results["ori_shape"][1]} x '
                             f'{results["ori_shape"][0]}.')
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        wrong = [int(i) for i in present if i >= self.num_classes and i != self.ignore_index]
        if wrong:
            raise AnnotationError(f'{path}: labels {wrong} are outside the {self.num_classes} classes (after '
                             f'reduce_zero_label={results["reduce_zero_label"]}; {self.ignore_index} is '
                             'ignored). Check num_classes and reduce_zero_label of the dataset.')
        return results
