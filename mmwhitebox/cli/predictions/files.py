"""The files of a prediction: its label map and its overlay, whole or not there."""
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmwhitebox.apis import ClsResult, SegResult
from mmwhitebox.datasets import georeference
from mmwhitebox.datasets.formats.outlines import regions
from mmwhitebox.datasets.video import Video, VideoWriter
from mmwhitebox.drawing import colorize, save_labels, with_legend
from mmwhitebox.errors import UserError, WriteError

JPEG_QUALITY = 92
JPEG_SIDE = 65500  # pixels at most
TOP = 5


class Files:
    """Writes what is wanted of a prediction, and says what tables need of it.

    Args:
        out (Path): Folder: label maps go to ``labels``, overlays to ``overlays``.
        temporary (Path): Folder of the same file system, in which files lie until they are whole.
        masks (str): 'index', 'colour' or 'none'.
        overlays (bool): Whether overlays are written.
        legend (bool): Whether an image's overlay is above the names of its classes; a film's never is.
        polygons (bool): Whether tables need the regions.
    """

    def __init__(self, out: Path, temporary: Path, masks: str, overlays: bool, legend: bool, polygons: bool) -> None:
        self.out, self.temporary = out, temporary
        self.masks, self.overlays, self.legend, self.polygons = masks, overlays, legend, polygons
        self.keeps_place = georeference.has_rasterio()
        self.told = False

    def exist(self, name: str, video: bool) -> bool:
        """Whether the files of a finished image or video are there."""
        labels, overlays = (('', ), ('.mp4', )) if video else (('.png', '.tif'), ('.jpg', '.png'))
        wanted = [('labels', labels)] * (self.masks != 'none') + [('overlays', overlays)] * self.overlays
        return all(any(os.path.exists(f'{self.out}/{folder}/{name}{end}') for end in ends) for folder, ends in wanted)

    def write(self, name: str, result: SegResult | ClsResult, film: VideoWriter | None = None) -> dict[str, Any]:
        """Write the files of one image or frame.

        Args:
            name (str): Of the files, without suffix.
            result (SegResult | ClsResult): The prediction; nothing is written of a classifier's.
            film (VideoWriter, optional): Takes the overlay of a frame. Defaults to None, a file.

        Returns:
            dict[str, Any]: What tables say of it.

        Raises:
            ImageReadError: The image cannot be shown or read again.
            WriteError: A file cannot be written.
        """
        if isinstance(result, ClsResult):
            return dict(top=result.top(TOP))
        classes, palette = result.class_names, result.palette
        labels, place = self.label_map(result)
        if self.masks != 'none':
            with self.placed(self.out / 'labels' / f'{name}{".tif" if place else ".png"}') as path:
                if place:
                    self.save_place(path, labels, palette, place)
                elif self.masks == 'index':
                    save_labels(path, labels, palette)
                else:
                    Image.fromarray(colorize(labels, palette)).save(path, 'PNG')
        if self.overlays:
            self.save_overlay(name, result, labels, film)
        found, counts = np.unique(labels[labels < len(classes)], return_counts=True)
        content = dict(size=list(labels.shape), pixels=dict(zip(map(str, found.tolist()), counts.tolist())))
        if self.polygons:
            content['regions'] = list(regions(labels, len(classes)))
        return content

    def label_map(self, result: SegResult) -> tuple[np.ndarray, str | None]:
        """Class indices, and the GeoTIFF of which they keep the place; where that has no data, they are none."""
        labels = result.mask.astype(np.uint8 if len(result.class_names) < 256 else np.uint16)
        source = result.source
        if not isinstance(source, (str, Path)) or not georeference.is_geotiff(source):
            return labels, None
        if not self.keeps_place:
            self.tell()
            return labels, None
        missing = georeference.without_data(source, labels.shape)
        if missing is None:
            return labels, None
        if missing.any():
            labels[missing] = np.iinfo(labels.dtype).max
            result.pred_sem_seg = PixelData(data=torch.from_numpy(labels.astype(np.int64))[None])
        return labels, str(source)

    def tell(self) -> None:
        """Say once that a georeference is lost."""
        if not self.told:
            self.told = True
            print('There are GeoTIFFs among the images; their label maps are PNGs without the georeference. To keep '
                  'it: pip install rasterio.', file=sys.stderr)

    def save_place(self, path: Path, labels: np.ndarray, palette: list, like: str) -> None:
        """A label map as GeoTIFF; in colours it has an alpha channel instead of a value that means no data."""
        nodata = int(np.iinfo(labels.dtype).max)
        if self.masks == 'index':
            georeference.write(path, labels, like, nodata, palette if labels.dtype == np.uint8 else None)
        else:
            alpha = np.where(labels == nodata, 0, 255).astype(np.uint8)
            georeference.write(path, np.dstack([colorize(labels, palette), alpha]), like)

    def save_overlay(self, name: str, result: SegResult, labels: np.ndarray, film: VideoWriter | None) -> None:
        """The overlay as a file of its own, or as the next picture of a film."""
        picture = result.overlay
        if film is not None:
            film.write(picture)
            return
        if self.legend:
            picture = with_legend(picture, labels, result.class_names, result.palette)
        kind = 'JPEG' if max(picture.shape) <= JPEG_SIDE else 'PNG'
        with self.placed(self.out / 'overlays' / f'{name}{".jpg" if kind == "JPEG" else ".png"}') as path:
            Image.fromarray(picture).save(
                path, kind, **(dict(quality=JPEG_QUALITY, comment=result.note) if kind == 'JPEG' else {}))

    @contextmanager
    def film(self, name: str, video: Video) -> Iterator[VideoWriter | None]:
        """A film for the overlays of a video, of its rate; None if there are none to be."""
        if not self.overlays:
            yield None
            return
        with self.placed(self.out / 'overlays' / f'{name}.mp4') as path, VideoWriter(path, video.rate) as film:
            yield film

    @contextmanager
    def placed(self, path: Path) -> Iterator[Path]:
        """Where to write a file; what is written there takes its place at the end, at once.

        Raises:
            WriteError: It cannot be written.
        """
        temporary = self.temporary / f'{uuid4().hex}{path.suffix}'
        try:
            yield temporary
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)
        except OSError as error:
            if isinstance(error, UserError):
                raise
            raise WriteError(f'{path} cannot be written ({error.strerror or error}).') from error
        finally:
            temporary.unlink(missing_ok=True)
