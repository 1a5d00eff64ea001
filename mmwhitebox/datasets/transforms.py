"""Loading transforms that check what they load: drop-in for mmcv's and mmseg's.

The inferencers of mmseg and mmpretrain look for a loading step by its name, and put another one in its place. Under the
scope ``mmwhitebox`` these names are ours, so a test pipeline that begins with ::

    dict(type='LoadImageFromFile', _scope_='mmwhitebox')

loads as :class:`LoadImage` does everywhere, and those inferencers take it.
"""

import io
import math
from collections.abc import Mapping, Sequence

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmwhitebox.errors import AnnotationError, ConfigError, ImageArrayError, ImageReadError, joined
from mmwhitebox.registry import TRANSFORMS

from .broken_samples import OnError
from .image_io import BROKEN_IMAGE, EXIF, QUARTER_TURNS, high_byte, orientation_of, read_image, turned
from .label_map import LabelMap, refuse_fractions
from .stored_images import AXES, in_range, read_stored


@TRANSFORMS.register_module(name=['LoadImage', 'LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader'])
class LoadImage(OnError, BaseTransform):
    """Load an image of any mode as 8-bit BGR, or with the channels and the values of its file; a truncated file is an
    error, not a half-grey picture.

    Takes ``img_path`` from the results, or an array already there under ``img``; in inference also a
    bare path or array. Adds ``img``, ``img_shape``, ``ori_shape`` (both (H, W)) and, of files, ``exif``, which
    :class:`LoadSegAnnotation` follows.

    With ``channels`` or ``value_range``, ``img`` is (H, W, channels) in the order of the file; three channels are RGB
    in files and BGR here, as everywhere. Arrays have that order too, and the values of files.

    Args:
        bit_depth (int, optional): Bits that the values of images of more than 8 bits use, see :func:`read_image`: the 8
            most significant are kept. Defaults to None: all of the type.
        exif (str): 'apply' turns a photograph as its EXIF orientation says, 'ignore' takes it as stored, for masks that
            were drawn so. Defaults to 'apply'.
        channels (int, optional): Channels of every image; one channel is repeated if three are wanted. An alpha channel
            counts if the number is right with it alone, else it is left out. Defaults to None: 3, of any kind of image.
        value_range (Sequence[float], optional): (LOW, HIGH), values that become 0 and 255: float32, linear, nothing
            rounded or cut. The only way to read floating-point and signed values. Defaults to None: 8 bits.
        replace_nan (float, optional): Value, in the units of the file, that is read where one is NaN or infinite.
            Defaults to None: such an image is an error.
        channel_axis (str, optional): 'first' or 'last', see :func:`.stored_images.read_stored`. Defaults to None.
        on_error (str): 'raise' or, in training, 'skip', see :class:`OnError`. Defaults to 'raise'.
        max_broken (int): Most samples to skip. Defaults to 100.

    Raises:
        ImageReadError: The file cannot be read, has another number of channels, values that need a ``value_range`` or
            are no numbers, or the image has no pixels; the message names it.
        ImageArrayError: An array of another shape or type.
        ValueError: An argument out of range.
    """

    def __init__(self, bit_depth: int | None = None, exif: str = 'apply', channels: int | None = None,
                 value_range: Sequence[float] | None = None, replace_nan: float | None = None,
                 channel_axis: str | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if bit_depth is not None and not (isinstance(bit_depth, int) and 8 <= bit_depth <= 32):
            raise ConfigError(f'LoadImage: bit_depth={bit_depth!r} must be an integer from 8 to 32.')
        if exif not in EXIF:
            raise ConfigError(f'LoadImage: exif={exif!r} must be one of {EXIF}.')
        if channels is not None and not (is_number(channels) and int(channels) == channels >= 1):
            raise ConfigError(f'LoadImage: channels={channels!r} must be a number of channels, 1 or more.')
        if value_range is not None and not (
                isinstance(value_range, (list, tuple)) and len(value_range) == 2
                and all(map(is_number, value_range)) and value_range[0] < value_range[1]):
            raise ConfigError(f'LoadImage: value_range={value_range!r} must be (LOW, HIGH), the values that become 0 '
                             'and 255.')
        if value_range is not None and bit_depth is not None:
            raise ConfigError(f'LoadImage: bit_depth={bit_depth} keeps 8 bits, value_range={tuple(value_range)} all: '
                             'state one of them.')
        if replace_nan is not None and not is_number(replace_nan):
            raise ConfigError(f'LoadImage: replace_nan={replace_nan!r} must be a number.')
        if channel_axis not in (None, *AXES):
            raise ConfigError(f'LoadImage: channel_axis={channel_axis!r} must be one of {AXES}.')
        self.bit_depth = bit_depth
        self.exif = exif
        self.channels = channels
        self.value_range = value_range
        self.replace_nan = replace_nan
        self.channel_axis = channel_axis

    @property
    def takes_any(self) -> bool:
        """Whether images of any kind become 8-bit BGR."""
        return self.channels is None and self.value_range is None

    def transform(self, results: dict | str | np.ndarray) -> dict | None:
        if isinstance(results, np.ndarray):
            results = dict(img=results)
        elif not isinstance(results, dict):
            results = dict(img_path=str(results))
        return self.load_or_skip(results, str(results.get('img_path') or f'sample {results.get("sample_idx")}'))

    def load(self, results: dict) -> dict:
        if 'img' not in results:
            results['img'] = self.read(results['img_path'])
            results['exif'] = self.exif
        else:
            results['img'] = self.taken_array(results['img'])
        img = results['img']
        if img.size == 0:
            raise ImageReadError(f'An image without pixels: {img.shape[1]} x {img.shape[0]}.')
        results.setdefault('img_path', None)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def read(self, path: str) -> np.ndarray:
        """The image of a file as the pipeline gets it.

        Raises:
            ImageReadError: See the class.
        """
        if self.takes_any:
            return read_image(path, self.bit_depth, self.exif)
        wanted = self.channels or 3
        array = read_stored(path, self.channel_axis, self.exif).taken(wanted)
        if array.shape[2] == 1 and wanted == 3:
            array = np.repeat(array, 3, axis=2)
        if array.shape[2] != wanted:
            raise ImageReadError(f'{path}: {array.shape[2]} channels of {array.shape[1]} x {array.shape[0]} pixels, '
                                 f'but {wanted} are stated (own_data.channels, channels of mmwhitebox.LoadImage).')
        try:
            return self.valued(array[..., ::-1] if wanted == 3 else array)
        except ValueError as error:
            raise ImageReadError(f'{path}: {error}.') from error

    def taken_array(self, array: np.ndarray) -> np.ndarray:
        """An array as the pipeline gets the image of a file.

        Raises:
            ImageArrayError: It has another shape or type.
        """
        if self.takes_any:
            if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
                raise ImageArrayError('An image array must be (H, W, 3) uint8 in BGR order, got '
                                      f'{array.shape} {array.dtype}.')
            return array
        wanted = self.channels or 3
        given = array[..., None] if array.ndim == 2 and wanted == 1 else array
        kinds = 'uif' if self.value_range is not None else 'u'
        if given.ndim != 3 or given.shape[2] != wanted or given.dtype.kind not in kinds:
            order = 'in BGR order' if wanted == 3 else 'in the order of the files'
            kind = f'uint8, or uint16 of which {self.bit_depth or 16} bits are used,' if self.value_range is None else \
                f'of the values of files, about {self.value_range[0]} to {self.value_range[1]},'
            raise ImageArrayError(f'An image array must be (H, W, {wanted}) {kind} {order}, got {array.shape} '
                                  f'{array.dtype}.')
        try:
            return self.valued(given)
        except ValueError as error:
            raise ImageArrayError(f'An image array {given.shape} {given.dtype}: {error}.') from error

    def valued(self, array: np.ndarray) -> np.ndarray:
        """The values that the pipeline gets, of those of a file: (H, W, C) uint8, or float32 with ``value_range``.

        Raises:
            ValueError: They need a ``value_range``, do not fit ``bit_depth``, or are no numbers.
        """
        if array.dtype.kind == 'f':
            wrong = ~np.isfinite(array)
            if wrong.any():
                if self.replace_nan is None:
                    raise ValueError(f'{int(wrong.any(2).sum())} pixels are NaN or infinite: mend them, or state what '
                                     'is read instead, own_data.replace_nan (replace_nan of mmwhitebox.LoadImage)')
                array = np.where(wrong, array.dtype.type(self.replace_nan), array)
        if self.value_range is not None:
            return in_range(array, self.value_range)
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        if array.dtype != np.uint16:
            raise ValueError(f'values of type {array.dtype} have no defined range: state the values that become 0 and '
                             '255, own_data.value_range=(LOW, HIGH) (value_range of mmwhitebox.LoadImage)')
        return high_byte(array, self.bit_depth or 16)


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
