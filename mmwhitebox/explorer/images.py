"""The pictures that the page offers: those of a folder and the last uploads, by ids; no request names a path."""
import hashlib
import io
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from mmwhitebox.apis.inputs import as_file
from mmwhitebox.datasets.image_io import orientation_of, refuse_bands, to_bgr, turned
from mmwhitebox.datasets.stored_images import TIFF_STARTS
from mmwhitebox.datasets.viewable import read_viewable
from mmwhitebox.errors import ImageReadError, ImageSizeError, UserError

from .mask_files import without_masks

FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM')  # none that runs another program, as EPS does
MAX_PIXELS = 50_000_000
MAX_LISTED, MAX_UPLOADS, MAX_UPLOADED_BYTES = 500, 16, 256 * 2**20
THUMBNAIL, KEPT_THUMBNAILS = 160, 600
MAX_NAME = 200


class NoSuchImageError(UserError, KeyError):
    """An id that no image has, or has any more."""

    __str__ = Exception.__str__


@dataclass
class Picture:
    """An image that can be looked at.

    Attributes:
        id (str): What requests call it; the same in every session for a file of the folder.
        name (str): What people call it: its path below the folder, or the name of the upload.
        path (str | None): The file, of one that lies on the disk.
        data (bytes | None): The file's content, of an upload.
        size (tuple[int, int] | None): Width and height upright, if it has been read.
        ground_truth (bool): Whether there is a mask for it.
    """
    id: str
    name: str
    path: str | None = None
    data: bytes | None = None
    size: tuple[int, int] | None = None
    ground_truth: bool = False

    @property
    def facts(self) -> dict:
        """What the API says of it."""
        size = dict(zip(('width', 'height'), self.size)) if self.size else {}
        return dict(id=self.id, name=self.name, **size, ground_truth=self.ground_truth)

    def open(self) -> BinaryIO:
        """Its file, opened.

        Raises:
            ImageReadError: It has gone.
        """
        if self.data is not None:
            return io.BytesIO(self.data)
        try:
            return open(self.path, 'rb')
        except OSError as error:
            raise ImageReadError(f'{self.name}: cannot be opened ({error.strerror}).') from error


class Pictures:
    """All of them; may be used by several threads.

    Args:
        paths (Iterable[str | Path]): Files to offer, the first 500 of them.
        root (str | Path, optional): Folder that none of the files may leave, not by a link either; names are below it.
            Defaults to None: every file is taken as it is.
    """

    def __init__(self, paths: Iterable[str | Path] = (), root: str | Path | None = None) -> None:
        self.root = os.path.realpath(root) if root is not None else None
        self.listed: dict[str, Picture] = {}
        self.more = 0
        self.uploads: OrderedDict[str, Picture] = OrderedDict()
        self.thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self.shown: Mapping | None = None
        self.lock = threading.Lock()
        self.offer(paths, root)

    def offer(self, paths: Iterable[str | Path], root: str | Path | None = None) -> None:
        """Offer more files, called by their paths below ``root``; masks beside them are none."""
        for path in without_masks(map(str, paths), root):
            if not self.within(path):
                continue
            if len(self.listed) >= MAX_LISTED:
                self.more += 1
                continue
            name = os.path.relpath(path, root) if root is not None else os.path.basename(path)
            key = 'f' + hashlib.sha256(os.path.abspath(path).encode('utf-8', 'surrogateescape')).hexdigest()[:16]
            self.listed.setdefault(key, Picture(key, name.encode('utf-8', 'replace').decode(), os.path.abspath(path)))

    @property
    def paths(self) -> list[str]:
        """Files that are offered."""
        return [picture.path for picture in self.listed.values() if picture.path]

    def learn(self, samples: Iterable[str], masks: Iterable[str], shown: Mapping | None = None) -> None:
        """Note what a model knows.

        Args:
            samples (Iterable[str]): Images of its data; they are offered if nothing else is.
            masks (Iterable[str]): Images that have a mask.
            shown (Mapping, optional): What can be seen of its images, if they are no photographs, see
                :func:`mmwhitebox.config.own_data.shown`. Defaults to None.
        """
        self.shown = self.shown or shown
        if not self.listed:
            self.offer(samples)
        found = set(map(os.path.abspath, masks))
        for picture in self.listed.values():
            picture.ground_truth |= picture.path in found

    def within(self, path: str) -> bool:
        """Whether a file lies below the root, links followed."""
        return self.root is None or Path(os.path.realpath(path)).is_relative_to(self.root)

    def __getitem__(self, key: str) -> Picture:
        """The picture of an id.

        Raises:
            NoSuchImageError: There is none.
        """
        with self.lock:
            found = self.listed.get(key) or self.uploads.get(key)
        if found is None or (found.path is not None and not self.within(found.path)):
            raise NoSuchImageError('There is no such image; of uploads, the last few are kept.')
        return found

    @property
    def facts(self) -> dict:
        """What the API says of all: listed files and uploads, and how many files more there are."""
        with self.lock:
            return dict(images=[picture.facts for picture in (*self.listed.values(), *self.uploads.values())],
                        more=self.more)

    def upload(self, data: bytes, name: str = '') -> Picture:
        """Keep an image that somebody sends; the oldest ones go.

        Args:
            data (bytes): The file.
            name (str): What it is called, percent-encoded, from anywhere. Defaults to 'image'.

        Raises:
            ImageSizeError: It has more pixels than :data:`MAX_PIXELS`.
            ImageReadError: It is no image, or a broken one.
        """
        picture = Picture('u' + secrets.token_hex(8), shown_name(name), data=data)
        height, width = self._read(picture).shape[:2]
        picture.size = (width, height)
        with self.lock:
            self.uploads[picture.id] = picture
            while len(self.uploads) > MAX_UPLOADS or \
                    len(self.uploads) > 1 and sum(len(p.data) for p in self.uploads.values()) > MAX_UPLOADED_BYTES:
                self.thumbnails.pop(self.uploads.popitem(last=False)[0], None)
        return picture

    def thumbnail(self, key: str) -> bytes:
        """A small JPEG of a picture.

        Raises:
            NoSuchImageError: There is no such picture.
            ImageReadError: It cannot be read.
        """
        picture = self[key]
        with self.lock:
            if key in self.thumbnails:
                self.thumbnails.move_to_end(key)
                return self.thumbnails[key]
        image = Image.fromarray(self._read(picture, around=2 * THUMBNAIL))
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        image.save(file, 'JPEG', quality=85)
        with self.lock:
            self.thumbnails[key] = file.getvalue()
            while len(self.thumbnails) > KEPT_THUMBNAILS:
                self.thumbnails.popitem(last=False)
        return file.getvalue()

    def _read(self, picture: Picture, around: int | None = None) -> np.ndarray:
        try:
            return read_picture(picture, around)
        except ImageReadError:
            if self.shown is None:
                raise
            return read_bands(picture, self.shown)


def shown_name(text: str) -> str:
    """The name of an upload from a percent-encoded text that may hold anything."""
    name = unquote(text, errors='replace').replace('\\', '/').rpartition('/')[2]
    name = ''.join(sign for sign in name if sign.isprintable()).strip()
    return name[:MAX_NAME] or 'image'


def read_picture(picture: Picture, around: int | None = None) -> np.ndarray:
    """A picture upright, (H, W, 3) uint8 RGB; what is read into memory is bounded, whatever the file says.

    Args:
        picture (Picture): What to read; of an animation the first frame.
        around (int, optional): A side in pixels that suffices: JPEG files are then decoded smaller. Defaults to None.

    Raises:
        ImageSizeError: More pixels than :data:`MAX_PIXELS`.
        ImageReadError: No image of :data:`FORMATS`, or a broken one.
    """
    try:
        with picture.open() as file, Image.open(file, formats=FORMATS) as image:
            check_size(picture.name, image.size)
            if around is not None and image.mode in ('L', 'RGB'):
                image.draft(image.mode, (around, around))
            stored = orientation_of(image)
            refuse_bands(image)
            image.load()
            return np.ascontiguousarray(turned(to_bgr(image), stored, orientation_of(image))[..., ::-1])
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(picture.name) from error
    except UnidentifiedImageError as error:
        kinds = ', '.join(FORMATS)
        raise ImageReadError(f'{picture.name}: this is no image of a kind that is read here ({kinds}).') from error
    except Exception as error:  # Pillow's plug-ins raise what hostile bytes lead to
        raise unreadable(picture.name, str(error), error) from error


def unreadable(name: str, reason: str, error: Exception) -> ImageReadError:
    """What is said of a broken image, in a line."""
    reason = ' '.join(reason.split())[:200] or type(error).__name__
    return ImageReadError(f'{name}: cannot read this image ({reason}).')


def read_bands(picture: Picture, shown: Mapping) -> np.ndarray:
    """What can be seen of a picture of other bands or bits than a photograph's, (H, W, 3) uint8 RGB.

    Args:
        picture (Picture): What to read.
        shown (Mapping): See :func:`mmwhitebox.datasets.viewable.read_viewable`.

    Raises:
        ImageSizeError: More values than :data:`MAX_PIXELS` photographs have.
        ImageReadError: It cannot be read.
    """
    with as_file(picture.data) if picture.data is not None else nullcontext(picture.path) as path:
        try:
            if is_tiff(path):
                with tifffile.TiffFile(path) as file:
                    check_size(picture.name, (file.series[0].size // 3, 1))
            return read_viewable(path, None, shown).image
        except ImageSizeError:
            raise
        except Exception as error:  # the readers raise what hostile bytes lead to
            raise unreadable(picture.name, str(error).replace(str(path), '').strip(': '), error) from error


def is_tiff(path: str | Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with open(path, 'rb') as file:
        return file.read(4) in TIFF_STARTS


def check_size(name: str, size: tuple[int, int]) -> None:
    """Refuse an image whose header states too many pixels.

    Raises:
        ImageSizeError: More than :data:`MAX_PIXELS`.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise too_large(name)


def too_large(name: str) -> ImageSizeError:
    """What is said of too many pixels."""
    return ImageSizeError(f'{name}: more than the {MAX_PIXELS // 10**6} million pixels that are read here.')


def check_listed(picture: Picture) -> None:
    """Refuse a file with too many pixels by its header; one of another kind is left to the model to read.

    Raises:
        ImageSizeError: More than :data:`MAX_PIXELS`.
        ImageReadError: It has gone.
    """
    with picture.open() as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                size = image.size
        except Image.DecompressionBombError as error:
            raise too_large(picture.name) from error
        except Exception:  # Pillow's plug-ins raise what hostile bytes lead to
            return
    check_size(picture.name, size)
