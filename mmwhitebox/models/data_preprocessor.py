"""mmseg's data preprocessor for images of any number of bands."""
import math
from collections.abc import Sequence
from numbers import Number
from typing import Any

import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor as MMSegDataPreProcessor
from mmseg.registry import MODELS as MMSEG_MODELS

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import MODELS


@MODELS.register_module()
@MMSEG_MODELS.register_module(force=True)
class SegDataPreProcessor(MMSegDataPreProcessor):
    """mmseg's, which takes a mean and a std of 1 or 3 values only. It takes mmseg's place under mmseg's name.

    Args:
        mean (Sequence[float], optional): One value for each band, in the order that the network sees (after
            ``bgr_to_rgb``, which turns images of three bands only), or a single one. Defaults to None.
        std (Sequence[float], optional): As many as ``mean``.
        **kwargs: As in mmseg.

    Raises:
        ConfigError: One of both is missing, they have different lengths, or a std is zero; at the first batch: the
            images have another number of bands.
    """

    def __init__(self, mean: Sequence[Number] | None = None, std: Sequence[Number] | None = None,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if mean is None and std is None:
            return
        mean, std = ([value] if isinstance(value, Number) else value for value in (mean, std))
        numbers = all(isinstance(values, (list, tuple)) and all(isinstance(value, Number) for value in values)
                      for values in (mean, std))
        if not numbers or not mean or len(mean) != len(std) or not all(0 < value < math.inf for value in std):
            raise ConfigError(f'data_preprocessor: mean={mean} and std={std} need one number for each band of the '
                              'images, the std above zero.')
        self._enable_normalize = True
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalise, pad and stack a batch, as in mmseg."""
        if self._enable_normalize:
            expected, bands = len(self.mean), data['inputs'][0].shape[-3]
            if expected not in (1, bands):
                raise ConfigError(f'The images have {bands} bands and data_preprocessor.mean and std {expected} '
                                  'values: give one for each band, and set backbone.in_channels.')
        return super().forward(data, training)
