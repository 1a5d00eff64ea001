"""Whether the masks of a set lie beside their images, all by the same number of pixels.

Where a mask has a border, its image tends to have an edge. For each sample the edges under the border are averaged at
every shift of the mask up to ``REACH`` pixels, in units of the spread of all edges. Of many samples the shift with the
most edges is compared with none, sample by sample.
"""
import cv2
import numpy as np
import scipy.fft
from scipy.stats import sem

REACH = 12  # pixels in each direction
SIDE = 512  # of an image, the middle is looked at
LEAST = 2  # pixels; drawn borders are no more exact
ENOUGH = 8  # samples
SURE = 6.  # standard errors between the best shift and none
MOST_OF_NONE = 0.75  # of the edges of the best shift that no shift may have


def edges_under_borders(image: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Mean edge of an image under the borders of its mask, at each shift of it.

    Args:
        image (np.ndarray): (H, W) or (H, W, C).
        labels (np.ndarray): (H, W).

    Returns:
        np.ndarray | None: (2 R + 1, 2 R + 1), rows and columns are shifts down and right from -R; None without edges,
        borders, or room to shift.
    """
    top, left = (max(0, (side - SIDE) // 2) for side in labels.shape)
    image, labels = image[top:top + SIDE, left:left + SIDE], labels[top:top + SIDE, left:left + SIDE]
    if min(labels.shape) <= 4 * REACH:
        return None
    grey = image[..., :3].astype(np.float32).mean(2) if image.ndim == 3 else image.astype(np.float32)
    edges = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    spread = float(edges.std())
    borders = np.zeros(labels.shape, np.float32)
    for axis in (0, 1):
        differ = np.diff(labels.astype(np.int64), axis=axis) != 0
        for side in ((1, 0), (0, 1)):  # the pixels on both sides
            borders += np.pad(differ, [side if i == axis else (0, 0) for i in (0, 1)])
    inner = np.zeros_like(borders)
    inner[REACH:-REACH, REACH:-REACH] = borders[REACH:-REACH, REACH:-REACH]  # the same pixels at every shift
    if not spread or not inner.any():
        return None
    spectrum = scipy.fft.rfft2((edges - edges.mean()) / spread) * scipy.fft.rfft2(inner).conj()
    sums = scipy.fft.irfft2(spectrum, labels.shape)
    around = np.arange(-REACH, REACH + 1)
    return sums[np.ix_(around, around)] / inner.sum()


def common_offset(surfaces: list[np.ndarray]) -> tuple[int, int] | None:
    """(down, right) by which the masks must be moved; None if they lie right, or that cannot be judged."""
    if len(surfaces) < ENOUGH:
        return None
    stack = np.stack(surfaces)
    mean = stack.mean(0)
    down, right = np.unravel_index(mean.argmax(), mean.shape)
    gained = stack[:, down, right] - stack[:, REACH, REACH]
    down, right = int(down) - REACH, int(right) - REACH
    if max(abs(down), abs(right)) < LEAST or mean[REACH, REACH] > MOST_OF_NONE * mean.max() or \
            gained.mean() < SURE * sem(gained):
        return None
    return down, right
