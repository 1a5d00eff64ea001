"""Where an image lies on the earth: read from a GeoTIFF, written into its label map."""
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from .image_io import BROKEN_IMAGE

TIFF_SUFFIXES = ('.tif', '.tiff')
GEO_TAGS = (33550, 33922, 34264, 34735)  # scale and tie points, or a transformation of pixels; keys of the projection
BLOCK = 512


def has_rasterio() -> bool:
    """Whether rasterio is installed, which :func:`read` and :func:`write` need."""
    return importlib.util.find_spec('rasterio') is not None


def is_geotiff(path: str | Path) -> bool:
    """Whether a file is a TIFF with a georeference, by its tags."""
    if not str(path).lower().endswith(TIFF_SUFFIXES):
        return False
    try:
        with tifffile.TiffFile(path) as file:
            return any(tag in file.pages.first.tags for tag in GEO_TAGS)
    except (*BROKEN_IMAGE, tifffile.TiffFileError):
        return False


def without_data(path: str | Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Where a GeoTIFF has no data, by its nodata value, its alpha or its mask, (H, W) bool; None of another shape.

    It is read in blocks.
    """
    import rasterio  # pyright: ignore (the extra geo)

    with rasterio.open(path) as source:
        if source.shape != tuple(shape):
            return None
        missing = np.zeros(shape, bool)
        for _, window in source.block_windows(1):
            missing[window.toslices()] = source.dataset_mask(window=window) == 0
    return missing


def write(path: str | Path, bands: np.ndarray, like: str | Path, nodata: int | None = None,
          palette: Sequence | None = None) -> None:
    """Write bands as a GeoTIFF that lies where another one does: its projection, transform, ground control points.

    Args:
        path (str | Path): File to write.
        bands (np.ndarray): (H, W), or (H, W, 4) RGBA; unsigned integers.
        like (str | Path): The GeoTIFF, of (H, W).
        nodata (int, optional): Value that means no data. Defaults to None.
        palette (Sequence, optional): RGB colours of the values of 8 bits. Defaults to None.

    Raises:
        OSError: The file cannot be written.
    """
    import rasterio  # pyright: ignore (the extra geo)

    with rasterio.open(like) as source:
        points, crs = source.gcps
        place: dict[str, Any] = dict(gcps=points, crs=crs) if points else dict(transform=source.transform,
                                                                              crs=source.crs)
        rpcs = source.rpcs
        # rasterio gives control points as of areas; the tag would move them by half a pixel again
        tags = {} if points else {key: value for key, value in source.tags().items() if key == 'AREA_OR_POINT'}
    planes = bands[None] if bands.ndim == 2 else np.moveaxis(bands, 2, 0)
    height, width = bands.shape[:2]
    tiled = dict(tiled=True, blockxsize=BLOCK, blockysize=BLOCK) if min(height, width) >= BLOCK else {}
    colours = dict(photometric='rgb', alpha='yes') if len(planes) == 4 else {}
    try:
        with rasterio.open(path, 'w', driver='GTiff', height=height, width=width, count=len(planes), dtype=bands.dtype,
                           nodata=nodata, compress='deflate', BIGTIFF='IF_SAFER', rpcs=rpcs, **place, **tiled,
                           **colours) as file:
            file.update_tags(**tags)
            if palette is not None:
                file.write_colormap(1, {label: (*map(int, colour), 255) for label, colour in enumerate(palette)})
            file.write(planes)
    except rasterio.errors.RasterioError as error:
        raise OSError(str(error)) from error
