"""Polygons of a label map: exact, one for every region, holes included."""
from collections.abc import Iterator
from typing import NamedTuple

import contourpy
import numpy as np


class Region(NamedTuple):
    """Touching pixels of one class.

    Attributes:
        label (int): Its class.
        area (int): Its pixels.
        polygon (list[int]): x1, y1, x2, y2, ...: corners of pixels along its outline, in one ring. A hole is part of
            the ring, which goes to it and comes back the same way.
    """
    label: int
    area: int
    polygon: list[int]


def regions(labels: np.ndarray, num_classes: int) -> Iterator[Region]:
    """The regions of each class of a label map; labels of no class have none.

    Drawn by pycocotools, or by any other means that asks whether the centre of a pixel is inside, the polygons give
    the label map back to the pixel; their areas are the numbers of their pixels.

    Args:
        labels (np.ndarray): (H, W) class indices.
        num_classes (int): Labels from here on are left out.
    """
    for label in np.unique(labels):
        if label >= num_classes:
            continue
        same = labels == label
        rows, columns = np.flatnonzero(same.any(1)), np.flatnonzero(same.any(0))
        top, left = int(rows[0]), int(columns[0])
        inside = np.pad(same[top:rows[-1] + 1, left:columns[-1] + 1], 1).astype(np.float64)
        traced = contourpy.contour_generator(z=inside, fill_type='OuterOffset').filled(0.5, 1.5)
        for points, offsets in zip(*traced):
            rings = [corners(points[start:end - 1]) + (left, top) for start, end in zip(offsets, offsets[1:])]
            ring = joined_rings(rings[0], rings[1:])
            yield Region(int(label), abs(round(signed_area(ring))), ring.ravel().tolist())


def corners(line: np.ndarray) -> np.ndarray:
    """Corners of the pixels that a contour passes: (n, 2) x, y in pixels of an image that was padded by one.

    A contour halfway between 0 and 1 has a vertex in the middle of every edge between two pixels; where the next edge
    stands at a right angle to the last, there is a corner.
    """
    upright = line[:, 0] % 1 == 0.5  # an edge between pixels side by side is a vertical one
    after = np.roll(line, -1, axis=0)
    turns = upright != np.roll(upright, -1)
    x, y = np.where(upright, line[:, 0], after[:, 0]), np.where(upright, after[:, 1], line[:, 1])
    return (np.stack([x, y], 1)[turns] - 0.5).astype(np.int64)


def joined_rings(outer: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One ring, (n, 2), that goes to each hole and back from the corner that is nearest to the hole's first."""
    places: dict[int, list[np.ndarray]] = {}
    for hole in holes:
        places.setdefault(int(((outer - hole[0])**2).sum(1).argmin()), []).append(hole)
    parts, start = [], 0
    for place in sorted(places):
        parts.append(outer[start:place + 1])
        for hole in places[place]:
            parts += [hole, hole[:1], outer[place:place + 1]]
        start = place + 1
    return np.concatenate([*parts, outer[start:]])


def signed_area(ring: np.ndarray) -> float:
    """Area of a ring, negative if it runs the other way; what is passed both ways counts nothing."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
