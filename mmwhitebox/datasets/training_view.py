"""How a training sees an image: the size that it is resized to, the crop, the patches of the model."""
import re
from collections.abc import Iterable
from typing import NamedTuple, Self

import cv2
import mmcv
import numpy as np
from mmengine.config import Config

from mmwhitebox.config_parts import default_of, get, make_part, model_part, pipelines
from mmwhitebox.registry import MODELS

BINS = 4  # of the areas, for a factor of two
NUM_BINS = 32 * BINS


class TrainingView(NamedTuple):
    """What the training pipeline and the model do to an image.

    Attributes:
        scale (tuple[int, int] | None): (width, height) into which images are resized, at the ratio 1; None as they are.
        keep_ratio (bool): Whether they are fitted into it, their sides in proportion.
        crop (tuple[int, int] | None): (height, width) of ``RandomCrop``; None without.
        patch (int | None): Side of the model's patches; None if it is not known.
    """
    scale: tuple[int, int] | None = None
    keep_ratio: bool = True
    crop: tuple[int, int] | None = None
    patch: int | None = None

    @classmethod
    def of(cls, cfg: Config, split: str = 'train') -> Self:
        """That of a config; of another split its scale and the patches."""
        scale, keep_ratio, crop = None, True, None
        for step in pipelines(cfg, split):
            name = step.cls.__name__ if step.cls is not None else None
            if name in ('Resize', 'RandomResize') and crop is None and step.cfg.get('scale'):
                scale, keep_ratio = step.cfg['scale'], bool(step.argument('keep_ratio'))
                scale = scale[0] if isinstance(scale[0], (list, tuple)) else scale
            elif name == 'RandomCrop' and crop is None and step.cfg.get('crop_size'):
                crop = step.cfg['crop_size']
                crop = (crop, crop) if isinstance(crop, int) else tuple(crop)
        return cls(tuple(scale) if scale else None, keep_ratio, crop, patch_size(cfg))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of an image once it is resized."""
        if self.scale is None:
            return height, width
        if not self.keep_ratio:
            width, height = self.scale
        else:
            width, height = mmcv.rescale_size((width, height), self.scale)
        return height, width

    def empty_crops(self, counts: np.ndarray, factor: float = 1) -> float:
        """Share of the places of a random crop at which it holds no pixel that counts, at the size of the scale.

        Args:
            counts (np.ndarray): (H, W) bool: where the mask of the file counts.
            factor (float): The crop is so many times as large. Defaults to 1.
        """
        size = self.size(*counts.shape)
        height, width = (min(side, max(1, round(crop * factor))) for side, crop in zip(size, self.crop))
        resized = cv2.resize(counts.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        sums = cv2.integral(resized)
        windows = (sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width])
        return float((windows == 0).mean())

    def areas(self, labels: np.ndarray, classes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """The connected areas of a mask.

        Args:
            labels (np.ndarray): (H, W), of a file.
            classes (Iterable[int]): The labels to look at.

        Returns:
            tuple: (A, ) int64 class of each, and (A, ) float64 its pixels at the size of the scale.
        """
        height, width = self.size(*labels.shape)
        factor = height * width / labels.size
        owners, pixels = [np.empty(0, np.int64)], [np.empty(0)]
        for label in classes:
            here = (labels == label).view(np.uint8)
            left, top, across, down = cv2.boundingRect(here)
            if not across:  # an empty array would end the process
                continue
            number, parts = cv2.connectedComponents(here[top:top + down, left:left + across])
            owners.append(np.full(number - 1, label))
            pixels.append(np.bincount(parts.ravel(), minlength=number)[1:] * factor)
        return np.concatenate(owners), np.concatenate(pixels)


def bins_of(pixels: np.ndarray) -> np.ndarray:
    """Bins of areas of so many pixels, int64: four for each doubling."""
    return np.clip(np.floor(BINS * np.log2(np.maximum(pixels, 1)) + 1e-9), 0, NUM_BINS - 1).astype(np.int64)


def patch_size(cfg: Config) -> int | None:
    """Side of the patches of a config's model, as far as the config says; None where it does not."""
    model = model_part(cfg)
    backbone = get(model.cfg, 'backbone') if model is not None else None
    part = make_part('backbone', backbone, MODELS)
    if part is None:
        return None
    stated = [get(backbone, 'model_kwargs.patch_size'), backbone.get('patch_size'), default_of(part.cls, 'patch_size')]
    named = re.search(r'patch(\d+)', str(backbone.get('model_name', '')))
    found = next((side for side in stated if side), int(named[1]) if named else None)
    return found if isinstance(found, int) else None
