r"""Zero-shot segmentation by the class token's attention (CBSA, NeurIPS 2025, tables 5 and 6).

An image is reduced to three targets, foreground, background and the boundary between them. A class-token map
becomes a set of patches S, and each target T is scored by the Jaccard index of the pixels under S,

    J(S, T) = |S and T| / |S or T|

**reading** (the paper states no protocol; this is DINO's and CRATE's, which it follows): S is the smallest set of
patches that holds 60 % of the map over the image; the best head is chosen for every image and target, and the mean
over images is taken. Table 6 is the foreground by the best head of each layer, table 5 by the best head of all
layers: the foregrounds of table 5 are above the best layer of table 6, so the layer is chosen for every image as
well. Beside them stands the fixed head: one layer and head for the whole set, which asks for no oracle.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation
from torch import Tensor

from .patch_maps import patch_of_pixels

TARGETS = ('foreground', 'background', 'boundary')


class Targets(NamedTuple):
    """Pixels of an image that count, and those of each target."""

    masks: np.ndarray
    """(3, height, width) bool, in the order of :data:`TARGETS`."""
    scored: np.ndarray
    """(height, width) bool."""


def make_targets(labels: np.ndarray, foreground: Sequence[int] | None = None, background: Sequence[int] = (0, ),
                 ignore_index: int = 255, boundary_width: int | None = None) -> Targets:
    """Reduce a label map to foreground, background and boundary.

    Args:
        labels (np.ndarray): (height, width) class indices.
        foreground (Sequence[int], optional): Labels of the foreground; every other is background. None takes all
            but ``background``. Defaults to None.
        background (Sequence[int]): Labels of the background, if ``foreground`` is None. Defaults to 0, VOC's.
        ignore_index (int): The label of pixels without a class. Defaults to 255.
        boundary_width (int, optional): None takes the pixels of ``ignore_index`` for the boundary, which is what
            PASCAL VOC draws around its objects. A number makes it the pixels within that distance (in steps to
            one of 8 neighbours) of the change from foreground to background, and leaves ``ignore_index`` out of
            the score. Boundary pixels count to both sides as well when they are made from a width.
            Defaults to None.
    """
    ignored = labels == ignore_index
    front = np.isin(labels, foreground) if foreground is not None else ~np.isin(labels, background)
    front &= ~ignored
    back = ~front & ~ignored
    if boundary_width is None:
        return Targets(np.stack([front, back, ignored]), np.ones_like(front))
    square = np.ones((3, 3), bool)
    near = np.stack([binary_dilation(side, square, iterations=boundary_width) for side in (front, back)])
    return Targets(np.stack([front, back, near.all(0) & ~ignored]), ~ignored)


def mass_sets(maps: np.ndarray, mass: float = 0.6) -> np.ndarray:
    """The smallest sets of patches that hold a share of each map's sum.

    Args:
        maps (np.ndarray): (..., H, W); negative values count as zero.
        mass (float): The share, in (0, 1]. Defaults to 0.6.

    Returns:
        np.ndarray: (..., H, W) bool. A map of zeros gives the empty set; among equal values the first come first.
    """
    flat = np.clip(np.asarray(maps, np.float64), 0, None).reshape(*maps.shape[:-2], -1)
    order = np.argsort(-flat, -1, kind='stable')
    descending = np.take_along_axis(flat, order, -1)
    sums = descending.cumsum(-1)
    kept = sums - descending < mass * sums[..., -1:]
    if mass >= 1:
        kept = descending > 0  # no rounding of the sums decides about the last ones
    masks = np.empty_like(kept)
    np.put_along_axis(masks, order, kept, -1)
    return masks.reshape(maps.shape)


def jaccard(masks: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Jaccard index |A and B| / |A or B| of masks (..., height, width) with a target (height, width).

    Returns:
        np.ndarray: (...), NaN if both are empty.
    """
    shared = (masks & target).sum((-2, -1))
    either = (masks | target).sum((-2, -1))
    return np.divide(shared, either, out=np.full(np.shape(either), np.nan), where=either > 0)


def pixel_counts(targets: Targets, seen_size: tuple[int, int], patch: tuple[int, int],
                 hw_shape: tuple[int, int]) -> np.ndarray:
    """Number of pixels that each patch holds of each target.

    Args:
        targets (Targets): At the resolution at which to score.
        seen_size (tuple[int, int]): Size to which the image was resized for the model, without padding.
        patch (tuple[int, int]): Patch size.
        hw_shape (tuple[int, int]): Patch grid (H, W); patches in the padding hold no pixel.

    Returns:
        np.ndarray: (5, H, W): the three targets, the pixels that are scored, all pixels.
    """
    rows, columns = patch_of_pixels(targets.scored.shape, seen_size, patch)
    cells = (rows[:, None] * hw_shape[1] + columns).ravel()
    planes = (*targets.masks, targets.scored, np.ones_like(targets.scored))
    return np.stack([np.bincount(cells, plane.ravel(), hw_shape[0] * hw_shape[1]).reshape(hw_shape)
                     for plane in planes])


def score_maps(maps: np.ndarray, counts: np.ndarray, mass: float | None = 0.6) -> np.ndarray:
    """Jaccard indices of maps with the three targets, exact at the resolution of the targets.

    Args:
        maps (np.ndarray): Class-token maps over the patches, (..., H, W).
        counts (np.ndarray): From :func:`pixel_counts`, (5, H, W).
        mass (float, optional): Share of a map that its set of patches holds; None takes the best of all
            thresholds, for every map and target: an upper bound. Defaults to 0.6.

    Returns:
        np.ndarray: (..., 3); NaN where the image lacks the target.
    """
    counts = counts.reshape(5, -1)
    flat = np.clip(np.asarray(maps, np.float64), 0, None).reshape(*maps.shape[:-2], -1) * (counts[4] > 0)
    totals = counts[:3].sum(1)  # (3,)
    if mass is None:
        order = np.argsort(-flat, -1, kind='stable')
        shared = np.moveaxis(counts[:3, order].cumsum(-1), 0, -2)  # (..., 3, N): sets of growing size
        covered = counts[3, order].cumsum(-1)[..., None, :]
    else:
        sets = mass_sets(flat[..., None, :], mass)[..., 0, :]
        shared = (sets @ counts[:3].T)[..., None]  # (..., 3, 1)
        covered = (sets @ counts[3])[..., None, None]
    either = covered + totals[:, None] - shared
    scores = np.divide(shared, either, out=np.zeros(shared.shape), where=either > 0).max(-1)
    return np.where(totals > 0, scores, np.nan)


def score_image(maps: dict[str, Tensor], targets: Targets, seen_size: tuple[int, int], patch: tuple[int, int],
                mass: float | None = 0.6) -> dict[str, np.ndarray]:
    """Jaccard indices of one image.

    Args:
        maps (dict[str, Tensor]): Layer -> class-token maps, (K, H, W), see
            :func:`mmwhitebox.interpret.attention_map.class_token_maps`.
        targets (Targets): From :func:`make_targets`.
        seen_size (tuple[int, int]): Size to which the image was resized for the model, without padding.
        patch (tuple[int, int]): Patch size.
        mass (float, optional): See :func:`score_maps`. Defaults to 0.6.

    Returns:
        dict[str, np.ndarray]: Layer -> (K, 3).
    """
    counts = pixel_counts(targets, seen_size, patch, next(iter(maps.values())).shape[-2:])
    return {layer: score_maps(values.cpu().numpy(), counts, mass) for layer, values in maps.items()}


class ZeroShotScores:
    """Scores of any number of images, in constant memory.

    Attributes:
        layers (list[str]): Names of the layers, from the first image.
    """

    def __init__(self) -> None:
        self.layers: list[str] = []
        self._sums: dict[str, np.ndarray] = {}
        self._best = np.zeros(0)
        self._overall = np.zeros(len(TARGETS))
        self._images = np.zeros(len(TARGETS))

    def add(self, scores: dict[str, np.ndarray]) -> None:
        """Add an image.

        Args:
            scores (dict[str, np.ndarray]): Layer -> (K, 3), from :func:`score_maps`. Targets that the image lacks
                (NaN) are left out of the mean.
        """
        if not self.layers:
            self.layers = list(scores)
            self._best = np.zeros((len(scores), len(TARGETS)))
        for layer, values in scores.items():
            self._sums[layer] = self._sums.get(layer, 0) + np.nan_to_num(values)
        best = np.nan_to_num(np.stack([scores[layer].max(0) for layer in self.layers]))
        self._best += best
        self._overall += best.max(0)
        self._images += ~np.isnan(next(iter(scores.values()))[0])

    def rows(self) -> list[dict]:
        """One row for each layer and target, and one for all layers together ('all').

        Each has ``layer``, ``target``, ``images`` (how many have the target), ``best_head`` (mean Jaccard index
        of the best head of each image), ``fixed_head`` (of the best single head) and ``head`` (which one).
        """
        rows = []
        with np.errstate(invalid='ignore'):
            best, overall = self._best / self._images, self._overall / self._images
            fixed = {layer: sums / self._images for layer, sums in self._sums.items()}
        for t, target in enumerate(TARGETS):
            common = dict(target=target, images=int(self._images[t]))
            if not common['images']:
                continue
            heads = {layer: int(values[:, t].argmax()) for layer, values in fixed.items()}
            for i, layer in enumerate(self.layers):
                rows.append(dict(layer=layer, **common, best_head=float(best[i, t]),
                                 fixed_head=float(fixed[layer][heads[layer], t]), head=str(heads[layer])))
            top = max(self.layers, key=lambda layer: fixed[layer][heads[layer], t])
            rows.append(dict(layer='all', **common, best_head=float(overall[t]),
                             fixed_head=float(fixed[top][heads[top], t]), head=f'{top}:{heads[top]}'))
        return rows
