"""Random erasing with the noise of the published recipes."""
import numpy as np
from mmpretrain.datasets.transforms import RandomErasing as MMPretrainRandomErasing

from mmwhitebox.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomErasing(MMPretrainRandomErasing):
    """mmpretrain's ``RandomErasing`` whose normal noise is not cut to bytes; the image becomes float32.

    The published recipes erase after normalising, with noise of mean 0 and standard deviation 1. Noise of mean
    ``fill_color`` and standard deviation ``fill_std`` before normalising is the same, as long as it may leave 0..255:
    a third of it does. Put it after all steps that need bytes. Arguments: mmpretrain's.
    """

    def transform(self, results: dict) -> dict:
        """Erase a part of ``img``, (H, W, 3), perhaps."""
        results['img'] = results['img'].astype(np.float32)
        return super().transform(results)

    def _fill_pixels(self, img: np.ndarray, top: int, left: int, h: int, w: int) -> np.ndarray:
        if self.mode == 'rand' and self.fill_std is not None:
            img[top:top + h, left:left + w] = np.random.normal(self.fill_color, self.fill_std, (h, w, 3))
            return img
        return super()._fill_pixels(img, top, left, h, w)
