"""SegResult and ClsResult: what a model says of one image, with everything a person asks for next."""
from typing import List, Tuple

import numpy as np
from mmengine.structures import BaseDataElement
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmwhitebox.datasets import read_image
from mmwhitebox.engine.visualizer import blend


class Result(BaseDataElement):
    """A prediction together with its image and the names of the classes."""

    @classmethod
    def from_sample(cls, sample: BaseDataElement, image, dataset_meta: dict) -> 'Result':
        """Extend a prediction by its image (a path or a BGR array) and the names of its classes."""
        meta = {key: list(value) for key, value in dataset_meta.items()}
        result = cls(metainfo={**sample.metainfo, 'source': image, **meta})
        result.set_data(dict(sample.items()))
        return result

    @property
    def class_names(self) -> List[str]:
        """Names of the classes, in the order of their indices."""
        return self.classes

    @property
    def image(self) -> np.ndarray:
        """The input image, (H, W, 3) uint8 RGB."""
        source = self.source if isinstance(self.source, np.ndarray) else read_image(self.source)
        return source[..., ::-1]


class SegResult(Result, SegDataSample):
    """mmseg's data sample of one image, with its parts as arrays.

    All that mmseg's ``SegDataSample`` has (``pred_sem_seg``, ``seg_logits``, metainfo) is there too.
    """

    @property
    def mask(self) -> np.ndarray:
        """Predicted class index of every pixel of the original image, (H, W) int64."""
        return self.pred_sem_seg.data.squeeze(0).cpu().numpy()

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, softmax of the logits, (C, H, W) float32."""
        return self.seg_logits.data.float().softmax(0).cpu().numpy()

    @property
    def overlay(self) -> np.ndarray:
        """The image with the predicted classes in colour over it, (H, W, 3) uint8 RGB."""
        return blend(self.image, self.mask, self.palette, opacity=0.6)


class ClsResult(Result, DataSample):
    """mmpretrain's data sample of one image, with its parts as arrays and names.

    All that mmpretrain's ``DataSample`` has (``pred_label``, ``pred_score``, metainfo) is there too.
    """

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, (C,) float32."""
        return self.pred_score.float().cpu().numpy()

    def top(self, k: int = 5) -> List[Tuple[str, float]]:
        """Names and probabilities of the k most likely classes (or of all, if there are fewer), best first."""
        scores = self.probabilities
        return [(self.class_names[i], float(scores[i])) for i in np.argsort(-scores, kind='stable')[:k]]
