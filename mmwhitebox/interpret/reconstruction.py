r"""What a masked autoencoder paints in: image, what the model was shown, and what it made of it.

Of the removed patches the picture has the prediction, of the others the true pixels. A model whose targets were
standardised patch by patch (``norm_pix``) predicts no mean and no contrast: both are taken from the true patch.

    error of an image = its loss: mean over the removed patches of |predicted - target|^2 / (3 P^2)
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmwhitebox.models.selfsup import CRATEMAE

from .patch_maps import seen_image

HIDDEN = 128
"""Grey of the removed patches in a picture."""
PANEL_INCHES = 1.6
TITLES = ('image', 'shown', 'reconstruction')


class Reconstruction(NamedTuple):
    """Three pictures of an image, each (H, W, 3) uint8 RGB at the size that the model sees, and a number.

    Attributes:
        image (np.ndarray): The image.
        shown (np.ndarray): The removed patches grey.
        painted (np.ndarray): The removed patches predicted.
        error (float): Its loss.
    """

    image: np.ndarray
    shown: np.ndarray
    painted: np.ndarray
    error: float


@torch.no_grad()
def reconstruction(model: CRATEMAE, image: Tensor, mask: Tensor, pred: Tensor) -> Reconstruction:
    """Pictures of one prediction.

    Args:
        model (CRATEMAE): The model.
        image (Tensor): Normalised image, (1, C, height, width).
        mask (Tensor): (1, H*W) bool, True is removed.
        pred (Tensor): What :meth:`CRATEMAE.predict_pixels` returned for them, (1, H*W, P*P*C).
    """
    head, grid, (height, width) = model.head, model.grid_size(image), image.shape[2:]
    pred = pred.float()
    true = head.patchify(image)
    painted = head.unpatchify(torch.where(mask[..., None], head.restore(pred, image), true), grid)
    hidden = head.unpatchify(mask[..., None].expand_as(true), grid)[0, 0, :height, :width].cpu().numpy()
    seen = seen_image(model, image).image
    return Reconstruction(
        seen, np.where(hidden[..., None], np.uint8(HIDDEN), seen),
        seen_image(model, painted[..., :height, :width]).image, head.loss(pred, image, mask.float()).item())


def draw_reconstructions(found: Sequence[Reconstruction], names: Sequence[str] = (), title: str = '') -> Figure:
    """A row for each image: the image, what was shown, the reconstruction.

    Args:
        found (Sequence[Reconstruction]): The rows.
        names (Sequence[str]): A name beside each row. Defaults to none.
        title (str): Title of the figure. Defaults to ''.
    """
    figure = Figure((len(TITLES) * PANEL_INCHES, len(found) * PANEL_INCHES + 0.5), layout='constrained')
    panels = figure.subplots(len(found), len(TITLES), squeeze=False)
    for i, (row, each) in enumerate(zip(panels, found)):
        for axes, heading, picture in zip(row, TITLES, each):
            axes.imshow(picture, interpolation='nearest')
            axes.set(xticks=[], yticks=[])
            if i == 0:
                axes.set_title(heading, fontsize=8)
        row[-1].set_xlabel(f'error {each.error:.3f}', fontsize=7)
        if i < len(names):
            row[0].set_ylabel(names[i], fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure
