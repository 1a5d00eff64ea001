"""Shapes of an image to a map of class indices."""
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

OUTSIDE = 1.0  # pixels by which a polygon may leave the image unmentioned: annotators round


class Shape(NamedTuple):
    """One area.

    Attributes:
        label (int): Index of its class.
        polygons (list[list[float]]): Each x1, y1, x2, y2, ...: their union.
        encoded (dict | None): RLE instead of polygons, as pycocotools has it or with a list of counts.
        area (np.ndarray | None): (H, W) bool instead of either.
    """
    label: int
    polygons: list[list[float]] = []
    encoded: dict[str, Any] | None = None
    area: np.ndarray | None = None


class Drawn(NamedTuple):
    """A map of indices, (H, W) uint8, and what was odd: of 'outside', 'broken', 'empty'."""
    labels: np.ndarray
    odd: set[str]


def draw(shapes: list[Shape], width: int, height: int) -> Drawn:
    """Draw shapes on background 0: smaller areas on top of larger, of equal ones the later.

    So a wheel stays on its car whatever their order is. Polygons that leave the image are cut at its border.
    """
    labels, odd, areas = np.zeros((height, width), np.uint8), set(), []
    for shape in shapes:
        area = _area(shape, width, height, odd)
        if area is not None and not area.any():
            odd.add('empty')
        elif area is not None:
            size = int(area.sum())
            rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            areas.append((size, box, area[box].copy(), shape.label))
    for _, box, area, label in sorted(areas, key=lambda item: -item[0]):
        labels[box][area] = label
    return Drawn(labels, odd)


def _area(shape: Shape, width: int, height: int, odd: set[str]) -> np.ndarray | None:
    if shape.area is not None:
        return shape.area
    if shape.encoded is not None:
        try:
            encoded = shape.encoded
            if list(encoded['size']) != [height, width]:
                raise ValueError('another size')
            if isinstance(encoded['counts'], list):
                counts = encoded['counts']
                if sum(counts) != width * height or min(counts, default=0) < 0:
                    raise ValueError('counts of another size')
                encoded = rle.frPyObjects(encoded, height, width)
            return _decode(encoded, width, height)
        except (KeyError, TypeError, ValueError, MemoryError):
            odd.add('broken')
            return None
    inside = []
    for polygon in shape.polygons:
        points = _points(polygon)
        if points is None:
            odd.add('broken')
            continue
        low, high = points.min(0), points.max(0)
        if (low < 0).any() or (high > (width, height)).any():
            if (low < -OUTSIDE).any() or (high > (width + OUTSIDE, height + OUTSIDE)).any():
                odd.add('outside')
            points = clipped(points, width, height)
        if len(points) >= 3:
            inside.append(points.ravel().tolist())
    if not inside:
        return None
    return rle.decode(rle.merge(rle.frPyObjects(inside, height, width))).astype(bool)


def _decode(encoded: dict, width: int, height: int) -> np.ndarray:
    """Decode an RLE whose runs fill the image exactly: pycocotools does not check, and writes past its memory."""
    counts = encoded['counts']
    counts = counts.encode() if isinstance(counts, str) else counts
    if not isinstance(counts, bytes) or sum(runs(counts)) != width * height:
        raise ValueError('runs of another size')
    return rle.decode({'size': [height, width], 'counts': counts}).astype(bool)


def runs(counts: bytes) -> list[int]:
    """Lengths of the runs of a compressed RLE, COCO's LEB128 of differences; a ValueError if it is none."""
    lengths, position = [], 0
    while position < len(counts):
        value, shift, more = 0, 0, True
        while more:
            if position == len(counts) or not 0 <= counts[position] - 48 < 64 or shift > 60:
                raise ValueError('no compressed RLE')
            byte = counts[position] - 48
            value |= (byte & 31) << shift
            more, shift, position = bool(byte & 32), shift + 5, position + 1
            if not more and byte & 16:
                value -= 1 << shift
        value += lengths[-2] if len(lengths) > 2 else 0
        if value < 0:
            raise ValueError('no compressed RLE')
        lengths.append(value)
    return lengths


def _points(polygon: Any) -> np.ndarray | None:
    """(N, 2) of a list of numbers, N at least 3; None of anything else."""
    try:
        flat = np.asarray(polygon, np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if len(flat) < 6 or len(flat) % 2 or not np.isfinite(flat).all():
        return None
    return flat.reshape(-1, 2)


def clipped(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """A polygon cut at the borders of the image (Sutherland and Hodgman): pycocotools counts along every edge."""
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        if not len(points):
            break
        kept = []
        for start, end in zip(np.roll(points, 1, axis=0), points):
            a, b = sign * (start[axis] - limit), sign * (end[axis] - limit)
            if (a < 0) != (b < 0):
                crossing = start + (end - start) * (a / (a - b))
                crossing[axis] = limit
                kept.append(crossing)
            if b >= 0:
                kept.append(end)
        points = np.array(kept).reshape(-1, 2)
    return points
