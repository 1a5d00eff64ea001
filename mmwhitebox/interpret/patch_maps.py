r"""Maps over the patch grid, and where they lie on the image.

A model cuts the image it gets into patches of P x P pixels, from the top left; at the right and the bottom the last
patches may reach over the edge. Pixel (y, x) belongs to patch (y // P, x // P).
"""

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmwhitebox.drawing import View, show_channels
from mmwhitebox.errors import NotApplicableError
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer

PICTURE_SIDE = 320


def patch_size(model: nn.Module) -> tuple[int, int]:
    """Height and width in pixels of a patch of a model's encoder.

    Args:
        model (nn.Module): A classifier or segmentor, or its backbone.

    Raises:
        NotApplicableError: The encoder is none of this package's.
    """
    backbone = getattr(model, 'backbone', model)
    if isinstance(backbone, (TimmViT, WhiteBoxTransformer)):
        return tuple(backbone.patch_size)
    raise NotApplicableError(f'{type(backbone).__name__}: the maps need the patch grid of an encoder of this '
                             'package, WhiteBoxTransformer or TimmViT.')


def patch_grid(model: nn.Module, image_size: tuple[int, int]) -> tuple[int, int]:
    """Patch grid (H, W) of a model for an image of (height, width) pixels."""
    (height, width), (rows, cols) = image_size, patch_size(model)
    return -(-height // rows), -(-width // cols)


def patch_maps(values: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """Values of all tokens as maps over the patches: (..., E + H*W) -> (..., H, W), without the E extra tokens.

    Args:
        values (Tensor): One value for each token; the extra tokens come first.
        hw_shape (tuple[int, int]): Patch grid (H, W).
    """
    return values[..., values.shape[-1] - hw_shape[0] * hw_shape[1]:].unflatten(-1, tuple(hw_shape))


def patch_of_pixels(size: tuple[int, int], seen_size: tuple[int, int],
                    patch: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the patch under every row and column of pixels.

    Args:
        size (tuple[int, int]): Size of the picture (height, width), e.g. of the original image.
        seen_size (tuple[int, int]): Size to which it was resized before the model cut it, without padding.
        patch (tuple[int, int]): Patch size in pixels.

    Returns:
        tuple[np.ndarray, np.ndarray]: (height,) and (width,) indices; the centre of a pixel decides.
    """
    rows, cols = (((2 * np.arange(full) + 1) * seen // (2 * full * step)).astype(np.int64)
                  for full, seen, step in zip(size, seen_size, patch))
    return rows, cols


def to_pixels(maps: np.ndarray, size: tuple[int, int], seen_size: tuple[int, int],
              patch: tuple[int, int]) -> np.ndarray:
    """Maps over the patches at the resolution of a picture, every pixel with the value of its patch.

    Args:
        maps (np.ndarray): (..., H, W).
        size, seen_size, patch: See :func:`patch_of_pixels`.

    Returns:
        np.ndarray: (..., height, width).
    """
    rows, columns = patch_of_pixels(size, seen_size, patch)
    return maps[..., rows[:, None], columns]


def seen_image(model: nn.Module, image: Tensor, shown: Mapping | None = None) -> View:
    """The picture as the model gets it (resized, cropped, padded): the normalisation undone.

    Args:
        model (nn.Module): A classifier or segmentor with a ``data_preprocessor``.
        image (Tensor): Preprocessed image, (1, C, H, W) or (C, H, W).
        shown (Mapping, optional): What is shown of images that are no photographs: ``shown`` of a data set's metainfo,
            or of ``model.dataset_meta``. Defaults to None: RGB, of more channels the first three, else the first.
    """
    x = image.detach().reshape(image.shape[-3:]).float().cpu()
    preprocessor = model.data_preprocessor
    if preprocessor._enable_normalize:
        x = x * preprocessor.std.cpu().view(-1, 1, 1) + preprocessor.mean.cpu().view(-1, 1, 1)
    display, value_range = ((1, 2, 3) if len(x) >= 3 else (1, ), None) if shown is None else (
        shown['display'], shown['value_range'])
    if value_range:
        low, high = value_range
        return show_channels((x.double() * ((high - low) / 255) + low).permute(1, 2, 0).numpy(), display)
    view = show_channels(x.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy(), display)
    return view if shown else View(view.image)


class Picture:
    """What the model sees of an image, without padding, small enough to be drawn many times.

    Args:
        model (nn.Module): A classifier or segmentor.
        image (Tensor): Preprocessed image, (1, C, H, W).
        seen_size (tuple[int, int]): Size of the image within the tensor.
        shown (Mapping, optional): See :func:`seen_image`.

    Attributes:
        image (np.ndarray): (h, w, 3) uint8 RGB, not longer than :data:`PICTURE_SIDE`.
        note (str): Of which channels, see :class:`mmwhitebox.drawing.View`.
        seen_size (tuple[int, int]): As given.
    """

    def __init__(self, model: nn.Module, image: Tensor, seen_size: tuple[int, int],
                 shown: Mapping | None = None) -> None:
        self.seen_size = tuple(seen_size)
        self._patch = patch_size(model)
        view = seen_image(model, image[..., :seen_size[0], :seen_size[1]], shown)
        self.note = view.note
        full = Image.fromarray(view.image)
        full.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        self.image = np.asarray(full)

    def place(self, maps: Tensor) -> np.ndarray:
        """Maps over the patches, (..., H, W), on the picture: (..., h, w)."""
        return to_pixels(maps.cpu().numpy(), self.image.shape[:2], self.seen_size, self._patch)

    def position(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the seen image lies on the picture."""
        (height, width), (seen_height, seen_width) = self.image.shape[:2], self.seen_size
        return (x + 0.5) * width / seen_width - 0.5, (y + 0.5) * height / seen_height - 0.5
