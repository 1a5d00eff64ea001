"""Boundary F: how closely the boundaries of the classes in an image are met.

The score of Csurka, Larlus and Perronnin (What is a good evaluation measure for semantic segmentation?, BMVC 2013):

- A pixel of a class that has a pixel of another class above, below, left or right of it is one of its boundary. The
  frame of the image is no boundary.
- Precision is the share of the predicted boundary pixels of a class that lie less than a tolerance away from a true one
  of that class, recall the share of the true ones with a predicted one as near. F is their harmonic mean, 0 where only
  one of the two maps has a boundary of the class.
- The tolerance is a share of the diagonal of the image, 0.75 % by default.
- Pixels of the ignored label, and the same pixels of the prediction, belong to no class and bound none: what lies at an
  ignored region is no boundary. Masks that ignore a band along every contour (VOC) thus leave little to score.
- A class without a boundary in truth and prediction has no score in that image.

The score of a class is the mean over the images in which it has one.
"""
import numpy as np
from scipy.spatial import KDTree

TOLERANCE = 0.0075


def boundary_pixels(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Which pixels have a direct neighbour of another label, both of them counted; all (H, W)."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        values, valid, marked = (np.moveaxis(array, axis, 0) for array in (labels, counted, found))  # views
        differ = (values[:-1] != values[1:]) & valid[:-1] & valid[1:]
        marked[:-1] |= differ
        marked[1:] |= differ
    return found


def share_near(points: np.ndarray, others: np.ndarray, radius: float) -> float:
    """Share of the points (N, 2) less than ``radius`` away from one of the others (M, 2)."""
    distances, _ = KDTree(others).query(points, distance_upper_bound=radius)  # infinite beyond
    return float((distances < radius).mean())


def boundary_f(prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore_index: int = 255,
               tolerance: float = TOLERANCE) -> np.ndarray:
    """Boundary F of every class in one image.

    Args:
        prediction (np.ndarray): (H, W) labels.
        truth (np.ndarray): (H, W) labels.
        num_classes (int): Labels from 0 that have a score.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        tolerance (float): Distance at which two boundaries still agree, as a share of the diagonal. Defaults to 0.0075.

    Returns:
        np.ndarray: (K, ) in [0, 1]; NaN where a class has no boundary in either map.
    """
    counted = truth != ignore_index
    radius = tolerance * float(np.hypot(*truth.shape))
    points, labels = [], []
    for label_map in (prediction, truth):
        found = boundary_pixels(label_map, counted)
        points.append(np.argwhere(found))
        labels.append(label_map[found])
    scores = np.full(num_classes, np.nan)
    for index in np.union1d(*labels):
        if not 0 <= index < num_classes:
            continue
        predicted, true = (where[of == index] for where, of in zip(points, labels))
        scores[index] = 0.
        if len(predicted) and len(true):
            precision, recall = share_near(predicted, true, radius), share_near(true, predicted, radius)
            scores[index] = 2 * precision * recall / (precision + recall) if precision + recall else 0.
    return scores
