"""SegResult: a segmentation of one image with everything a person asks for next."""
from typing import List

import numpy as np
from mmseg.structures import SegDataSample

from mmwhitebox.datasets import read_image
from mmwhitebox.engine.visualizer import blend


class SegResult(SegDataSample):
    """mmseg's data sample of one image, with its parts as arrays.

    All that mmseg's ``SegDataSample`` has (``pred_sem_seg``, ``seg_logits``, metainfo) is there too.
    """

    @classmethod
    def from_sample(cls, sample: SegDataSample, image, dataset_meta: dict) -> 'SegResult':
        """Extend a prediction by its image (a path or a BGR array) and the names of its classes."""
        result = cls(metainfo={**sample.metainfo, 'source': image,
                               'classes': list(dataset_meta['classes']),
                               'palette': [list(colour) for colour in dataset_meta['palette']]})
        result.set_data(dict(sample.items()))
        return result

    @property
    def mask(self) -> np.ndarray:
        """Predicted class index of every pixel of the original image, (H, W) int64."""
        return self.pred_sem_seg.data.squeeze(0).cpu().numpy()

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, softmax of the logits, (C, H, W) float32."""
        return self.seg_logits.data.float().softmax(0).cpu().numpy()

    @property
    def class_names(self) -> List[str]:
        """Names of the classes, in the order of the indices in :attr:`mask`."""
        return self.classes

    @property
    def image(self) -> np.ndarray:
        """The input image, (H, W, 3) uint8 RGB."""
        source = self.source if isinstance(self.source, np.ndarray) else read_image(self.source)
        return source[..., ::-1]

    @property
    def overlay(self) -> np.ndarray:
        """The image with the predicted classes in colour over it, (H, W, 3) uint8 RGB."""
        return blend(self.image, self.mask, self.palette, opacity=0.6)
