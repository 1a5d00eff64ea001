"""Loading transforms that check what they load: drop-in for mmcv's and mmseg's.

The inferencers of mmseg and mmpretrain look for a loading step by its name, and put another one in its place. Under the
scope ``mmwhitebox`` these names are ours, so a test pipeline that begins with ::

    dict(type='LoadImageFromFile', _scope_='mmwhitebox')

loads as :class:`LoadImage` does everywhere, and those inferencers take it.
"""

import io
from collections.abc import Mapping, Sequence

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmwhitebox.errors import AnnotationError, ConfigError, ImageArrayError, ImageReadError, joined
from mmwhitebox.registry import TRANSFORMS

from .broken_samples import OnError
from .image_io import BROKEN_IMAGE, EXIF, QUARTER_TURNS, orientation_of, read_image, turned
from .label_map import LabelMap, refuse_fractions


@TRANSFORMS.register_module(name=['LoadImage', 'LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader'])
class LoadImage(OnError, BaseTransform):
    """Load an image of any mode as 8-bit BGR; a truncated file is an error, not a half-grey picture.

    Takes ``img_path`` from the results, or an array already there under ``img``; in inference also a
    bare path or array. Adds ``img``, ``img_shape``, ``ori_shape`` (both (H, W)) and, of files, ``exif``, which
    :class:`LoadSegAnnotation` follows.

    Args:
        bit_depth (int, optional): Bits that the values of images of more than 8 bits use, see :func:`read_image`.
            Defaults to None: all of the type.
        exif (str): 'apply' turns a photograph as its EXIF orientation says, 'ignore' takes it as stored, for masks that
            were drawn so. Defaults to 'apply'.
        on_error (str): 'raise' or, in training, 'skip', see :class:`OnError`. Defaults to 'raise'.
        max_broken (int): Most samples to skip. Defaults to 100.

    Raises:
        ImageReadError: The file cannot be read, or the image has no pixels; the message names it.
        ImageArrayError: An array that is not (H, W, 3) uint8.
        ValueError: ``bit_depth`` or ``exif`` out of range.
    """

    def __init__(self, bit_depth: int | None = None, exif: str = 'apply', **kwargs) -> None:
        super().__init__(**kwargs)
        if bit_depth is not None and not (isinstance(bit_depth, int) and 8 <= bit_depth <= 32):
            raise ValueError(f'LoadImage: bit_depth={bit_depth!r} must be an integer from 8 to 32.')
        if exif not in EXIF:
            raise ValueError(f'LoadImage: exif={exif!r} must be one of {EXIF}.')
        self.bit_depth = bit_depth
        self.exif = exif

    def transform(self, results: dict | str | np.ndarray) -> dict | None:
        if isinstance(results, np.ndarray):
            results = dict(img=results)
        elif not isinstance(results, dict):
            results = dict(img_path=str(results))
        return self.load_or_skip(results, str(results.get('img_path') or f'sample {results.get("sample_idx")}'))

    def load(self, results: dict) -> dict:
        if 'img' not in results:
            results['img'] = read_image(results['img_path'], self.bit_depth, self.exif)
            results['exif'] = self.exif
        img = results['img']
        if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
            raise ImageArrayError('An image array must be (H, W, 3) uint8 in BGR order, got '
                                  f'{img.shape} {img.dtype}.')
        if img.size == 0:
            raise ImageReadError(f'An image without pixels: {img.shape[1]} x {img.shape[0]}.')
        results.setdefault('img_path', None)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


@TRANSFORMS.register_module(name=['LoadSegAnnotation', 'LoadAnnotations'])
class LoadSegAnnotation(OnError, LoadAnnotations):
    """mmseg's ``LoadAnnotations`` plus the checks that otherwise end as NaN or a CUDA assertion.

    A map with an EXIF orientation of its own is turned if ``LoadImage`` turns the images, and left if it does not.
    A sample that names no label map (``seg_map_path``) passes as it is: inference, and test sets without labels.
    Masks of 0 and 255, of sparse values, or of colours become labels with ``mapping`` or ``palette``, see
    :class:`.label_map.LabelMap`; a value that these do not name is an error.

    Args:
        num_classes (int, optional): Labels in [0, num_classes) and ``ignore_index`` are accepted, after
            ``reduce_zero_label`` and the label map. Defaults to None: as many as ``mapping`` or ``palette`` has.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        mapping (Mapping[int, str], optional): Value -> name of its class: ``{0: 'background', 255: 'road'}``.
        palette (Mapping[str, Sequence], optional): Name of a class -> its RGB colour, or a list of them.
        classes (Sequence[str], optional): Names in the order of their labels; others are ignored. Defaults to None:
            those of ``mapping`` or ``palette``.
        ignored (Sequence): Values, or colours, that do not count.
        nearest (bool): Take the nearest value or colour of the table, for masks saved as JPEG. Defaults to False.
        on_error (str): 'raise' or, in training, 'skip', see :class:`OnError`. Defaults to 'raise'.
        max_broken (int): Most samples to skip. Defaults to 100.
        **kwargs: Arguments of mmseg's ``LoadAnnotations``.

    Raises:
        ImageReadError: The annotation cannot be read.
        AnnotationError: It has several channels, another size than its image, or a label outside the classes.
        ConfigError: ``num_classes`` is more than the labels of 8 bits leave, or not that of ``mapping`` or
            ``palette``, or these contradict themselves.
    """

    def __init__(self, num_classes: int | None = None, ignore_index: int = 255, mapping: Mapping | None = None,
                 palette: Mapping | None = None, classes: Sequence[str] | None = None, ignored: Sequence = (),
                 nearest: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.label_map = None
        if mapping is not None or palette is not None:
            self.label_map = LabelMap(mapping, palette, classes, ignored, ignore_index, nearest)
            named = len(self.label_map.classes)
            if num_classes not in (None, named):
                raise ConfigError(f'LoadSegAnnotation: num_classes={num_classes}, but '
                                  f'{"palette" if palette else "mapping"} has {named} classes: '
                                  f'{joined(self.label_map.classes)}. Leave num_classes out.')
            num_classes = named
        elif num_classes is None:
            raise ConfigError('LoadSegAnnotation needs num_classes, or mapping={VALUE: NAME}, or palette={NAME: '
                              '(R, G, B)}.')
        most = 255 if ignore_index == 255 else 256
        if num_classes > most:
            raise ConfigError(f'LoadSegAnnotation: num_classes={num_classes}, but label maps are read as 8 bit, of '
                              f'which ignore_index={ignore_index} leaves {most} classes.')
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict | None:
        if 'seg_map_path' not in results:  # inference, a test set without labels
            return results
        return self.load_or_skip(results, str(results['seg_map_path']))

    def load(self, results: dict) -> dict:
        results = self.read(results)
        path, labels = results['seg_map_path'], results['gt_seg_map']
        if labels.ndim != 2:
            raise AnnotationError(f'{path}: an annotation is a single-channel image of class indices, this one '
                                  f'has shape {labels.shape}: save the index of the class of each colour, or name the '
                                  'colours: palette={NAME: (R, G, B)} of mmwhitebox.LoadSegAnnotation.')
        if labels.shape != tuple(results['ori_shape']):
            raise AnnotationError(f'{path}: the annotation is {labels.shape[1]} x {labels.shape[0]} pixels, its '
                                  f'image {results["img_path"]} is {results["ori_shape"][1]} x '
                                  f'{results["ori_shape"][0]}.'
                                  + advise_orientation(results.get('img_path'), labels.shape, results['ori_shape'],
                                                       results.get('exif', 'apply')))
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        wrong = [int(i) for i in present if i >= self.num_classes and i != self.ignore_index]
        if wrong:
            raise AnnotationError(f'{path}: labels {wrong} are outside the {self.num_classes} classes (after '
                                  f'reduce_zero_label={results["reduce_zero_label"]}; {self.ignore_index} is '
                                  'ignored). Check num_classes and reduce_zero_label of the dataset.')
        return results

    def read(self, results: dict) -> dict:
        """Read the label map as training sees it, after ``reduce_zero_label`` and the label map, unchecked.

        Raises:
            ImageReadError: It cannot be read.
            AnnotationError: A map of more than 8 bits with labels above 255 or fractions, which mmseg would wrap
                around or cut silently.
        """
        path = results['seg_map_path']
        if self.label_map is not None:
            return self._read_mapped(results)
        try:
            largest = largest_wide_label(path) if self.backend_args is None else 0
            results = super().transform(results)
        except AnnotationError:
            raise
        except (*BROKEN_IMAGE, AttributeError) as error:
            raise ImageReadError(f'{path}: cannot read this annotation ({error}).') from error
        if largest > 255:
            raise AnnotationError(f'{path}: labels up to {largest}; label maps are read as 8 bit, 0 to 255.')
        labels = results['gt_seg_map']
        stored = orientation_of(path) if self.backend_args is None and labels.ndim >= 2 else 1
        if stored != 1:  # turned as the image is
            with Image.open(path) as mask:
                mask.load()
                loaded = orientation_of(mask)
            if stored != loaded and self.imdecode_backend != 'pillow':
                raise AnnotationError(f'{path}: imdecode_backend={self.imdecode_backend!r} may or may not turn this '
                                      f"TIFF with EXIF orientation {stored}: use 'pillow', or save it upright.")
            results['gt_seg_map'] = turned(labels, stored, loaded, results.get('exif', 'apply'))
        if labels.ndim < 2:  # mmseg squeezes away a side of one pixel
            results['gt_seg_map'] = labels.reshape(one_pixel_shape(path, labels.size))
        return results

    def _read_mapped(self, results: dict) -> dict:
        """The mask through the table of ``mapping`` or ``palette``."""
        path = results['seg_map_path']
        if results.get('reduce_zero_label') or results.get('label_map') is not None:
            raise ConfigError('mapping and palette say what every value is: leave reduce_zero_label=False of the data '
                              'set, and take a data set without classes of its own (mmwhitebox.FolderSegDataset).')
        try:
            file = io.BytesIO(fileio.get(path, backend_args=self.backend_args))
            results['gt_seg_map'] = self.label_map.read(file, path, results.get('exif', 'apply'))
        except AnnotationError:
            raise
        except BROKEN_IMAGE as error:
            raise ImageReadError(f'{path}: cannot read this annotation ({error}).') from error
        results['seg_fields'].append('gt_seg_map')
        results['reduce_zero_label'] = False
        return results


def advise_orientation(image_path: str | None, mask_shape: tuple, image_shape: tuple, exif: str = 'apply') -> str:
    """What to do if a mask was drawn on the stored pixels of a photograph that EXIF turns; '' if that is not it."""
    try:
        orientation = orientation_of(image_path) if image_path else 1
    except BROKEN_IMAGE:
        return ''
    if orientation not in QUARTER_TURNS or tuple(mask_shape[:2]) != tuple(image_shape[:2])[::-1]:
        return ''
    if exif == 'ignore':
        return (f" The photograph is taken as it is stored, lying (EXIF orientation {orientation}, exif='ignore' of "
                "mmwhitebox.LoadImage); the mask fits it turned: set exif='apply'.")
    return (f' The photograph is stored lying and turned by its EXIF orientation ({orientation}); the mask is not. If '
            "the masks were drawn on the stored pixels, set exif='ignore' of mmwhitebox.LoadImage; else turn the mask.")


def largest_wide_label(path: str) -> int:
    """Largest label of a map of more than 8 bits; 0 of one of 8, from its header alone.

    Raises:
        AnnotationError: Labels that are no whole numbers.
    """
    with Image.open(path) as image:
        if image.mode[0] not in 'IF':
            return 0
        labels = np.asarray(image)
        refuse_fractions(path, labels)
        return int(labels.max(initial=0))


def one_pixel_shape(path: str, size: int) -> tuple:
    """(H, W) of a label map with a side of one pixel; (1, size) if the file cannot be asked."""
    try:
        with Image.open(path) as image:
            return image.size[::-1]
    except OSError:
        return 1, size
