"""Checking one sample of a dataset: what training would see of it, and what is wrong with it."""
import contextlib
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmwhitebox.errors import AnnotationError, joined

from .formats.labelme import BACKGROUND
from .formats.values import count
from .image_io import BROKEN_IMAGE, QUARTER_TURNS, TURNS, largest_wide_value, orientation_of, read_image
from .label_map import LOSSY, UnknownValuesError
from .likeness import signature
from .offset import edges_under_borders
from .training_view import TrainingView
from .transforms import LoadImage, LoadSegAnnotation, advise_orientation

KINDS = {  # in the order of a report
    'missing image': 'listed, but not there',
    'missing mask': 'an image without its mask',
    'unpaired mask': 'a mask without its image',
    'empty file': 'no bytes, or no pixels',
    'unreadable image': 'cannot be decoded',
    'unreadable mask': 'cannot be decoded',
    'crash': 'the process that read it died',
    'small image': 'smaller than a patch of the model, once it is resized',
    'size mismatch': 'image and mask differ in size',
    'offset masks': 'all masks lie beside their images by the same number of pixels',
    'coloured mask': 'several channels where one of class indices is needed',
    'label out of range': 'a label that is no class and not ignored',
    'inexact mask': 'values or colours near to those of the classes, as JPEG and resizing make them',
    'swapped colours': 'masks whose colours are those of the classes with red and blue swapped',
    'labels from one': 'the classes are counted from 1, not from 0',
    '0/255 mask': 'the labels are 0 and 255, and 255 is ignored',
    'all ignored': 'no pixel counts',
    'empty mask': 'nothing but the background (a note, not a fault)',
    'JPEG mask': 'JPEG masks are not exact (a note, not a fault)',
    'EXIF orientation': 'turned so that sizes cannot tell whether the mask is (a note, not a fault)',
    'bit depth': 'wide images that use fewer bits (a note, not a fault)',
    'hidden file': 'left out (a note, not a fault)',
    'duplicate': 'the same picture twice in a set',
    'leak': 'the same picture in two splits',
    'near duplicate': 'nearly the same picture twice in a set (a note, not a fault)',
    'near leak': 'nearly the same picture in two splits',
    'label conflict': 'the same picture with different labels',
    'empty class': 'a class without a training sample',
    'class names': 'names of classes that do not fit the folders, or each other',
    'classes differ': 'the model has another number of classes than the dataset',
    'class never occurs': 'no sample has this class (a note, not a fault)',
    'uneven classes': 'classes of very different frequency, weighed alike (a note, not a fault)',
    'tiny class': 'a class of areas smaller than a patch of the model (a note, not a fault)',
    'empty crops': 'crops of the training in which no pixel counts (a note, not a fault)',
    'folder': 'what is odd in the folder (a note, not a fault)',
}
OFFSETS = 200  # samples that are looked at for an offset, about
NOTES = {kind for kind, text in KINDS.items() if text.endswith('(a note, not a fault)')}


class Finding(NamedTuple):
    """Something wrong.

    Attributes:
        kind (str): Of :data:`KINDS`.
        file (str): That of an image or a mask, or the name of the data set.
        message (str): What was seen, and what may be done.
        sample (int | None): Place in the data set; None of what concerns all of it.
        other (str): The file that it is like, of pictures that occur twice.
        values (tuple): What the message is about: labels, colours, names of classes.
    """
    kind: str
    file: str
    message: str
    sample: int | None = None
    other: str = ''
    values: tuple = ()


class Sample(NamedTuple):
    """What is kept of a checked sample.

    ``digest`` (16 bytes) is that of its decoded pixels, empty if there are none; ``signature`` (2, 16) is that of
    :mod:`.likeness`, ``size`` (width, height). ``labels`` are the classes of a picture, ``pixels`` (256 or more, ) the
    number of pixels with each label of a mask, ``widest`` the largest value of an image of more than 8 bits.
    ``areas`` and ``empty_crops``, of crops once and twice as large, are those of a :class:`.TrainingView`, ``edges``
    those under the mask's borders, see :mod:`.offset`.
    """
    findings: list[Finding]
    digest: bytes = b''
    labels: tuple[int, ...] = ()
    pixels: np.ndarray | None = None
    widest: int = 0
    signature: np.ndarray | None = None
    size: tuple[int, int] | None = None
    areas: tuple[np.ndarray, np.ndarray] | None = None
    empty_crops: tuple[float, float] = (0., 0.)
    edges: np.ndarray | None = None


class SampleChecker:
    """Reads and judges the samples of one dataset.

    Args:
        dataset (BaseDataset): mmseg's or mmpretrain's, fully initialised; its pipeline is not used.
        load_image: The pipeline's loading step, used for files that are not on a local disk.
        load_mask (LoadAnnotations, optional): The pipeline's step that reads masks, None for classification.
        num_classes (int): Number of classes.
        view (TrainingView, optional): How a training sees the samples. Defaults to None: it does not.
        whole (TrainingView, optional): How a test sees them as a whole. Defaults to None: it does not.
    """

    def __init__(self, dataset: BaseDataset, load_image: Any, load_mask: LoadAnnotations | None,
                 num_classes: int, view: TrainingView | None = None, whole: TrainingView | None = None) -> None:
        self.dataset = dataset
        self.load_image = load_image
        self.load_mask = load_mask
        self.num_classes = num_classes
        self.view, self.whole = view or TrainingView(), whole or TrainingView()
        self.ignore_index = getattr(dataset, 'ignore_index', 255)
        self.has_background = num_classes > 1 and (dataset.metainfo.get('classes') or ('', ))[0] in BACKGROUND

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """File of a sample; its place in the dataset if it is no file."""
        info = self.dataset.get_data_info(index)
        return str(info.get('img_path') or f'{type(self.dataset).__name__}[{index}]')

    def check(self, index: int) -> Sample:
        """Read a sample and judge it."""
        info = self.dataset.get_data_info(index)
        name = str(info.get('img_path') or f'{type(self.dataset).__name__}[{index}]')
        findings: list[Finding] = []
        image = self._read_image(info, name, findings)
        digest = b''
        if image is not None:
            digest = hashlib.blake2b(f'{image.shape}'.encode(), digest_size=16)
            digest.update(np.ascontiguousarray(image))
            digest = digest.digest()
        labels, mask = (), None
        if 'gt_label' in info:
            labels = tuple(int(label) for label in np.atleast_1d(info['gt_label']))
            wrong = [label for label in labels if not 0 <= label < self.num_classes]
            if wrong:
                findings.append(Finding('label out of range', name,
                                        f'labels {joined(wrong)} of {self.num_classes} classes: '
                                        f'set num_classes to {max(wrong) + 1} or more, or correct the labels.'))
        if self.load_mask is not None and info.get('seg_map_path'):
            mask = self._check_mask(info, image, findings)
        widest = 0
        if image is not None and 'img' not in info and '://' not in name:
            widest = self._look_at_file(name, image, info, findings)
        if image is not None and self.whole.patch:
            height, width = self.whole.size(*image.shape[:2])
            if min(height, width) < self.whole.patch:
                findings.append(Finding('small image', name, f'{image.shape[1]} x {image.shape[0]} pixels, of which '
                                        f'the model gets {width} x {height}, less than a patch of {self.whole.patch}: '
                                        'take it out, or test at a larger scale.'))
        sample = Sample(findings, digest, labels, widest=widest)
        if image is not None:
            sample = sample._replace(signature=signature(image), size=(image.shape[1], image.shape[0]))
        if mask is None:
            return sample
        if image is not None and index % max(1, len(self) // OFFSETS) == 0 and mask[0].shape == image.shape[:2]:
            sample = sample._replace(edges=edges_under_borders(image, mask[0]))
        return self._count(sample, *mask)

    def _count(self, sample: Sample, labels: np.ndarray, values: np.ndarray, counts: np.ndarray) -> Sample:
        """A sample with what is counted in its mask (H, W), of which the labels and their pixels are known."""
        pixels = np.zeros(max(256, self.num_classes), np.int64)
        known = (values >= 0) & (values < len(pixels))
        pixels[values[known]] = counts[known]
        sample = sample._replace(pixels=pixels)
        if self.view.patch is not None:
            sample = sample._replace(areas=self.view.areas(labels, values[(values >= 0) & (
                values < self.num_classes)].tolist()))
        if self.view.crop is not None and self.ignore_index in values and len(values) > 1:
            counted = labels != self.ignore_index
            sample = sample._replace(empty_crops=tuple(self.view.empty_crops(counted, factor) for factor in (1, 2)))
        return sample

    def look(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Image (H, W, 3) BGR and labels (H, W) of a sample, as far as they can be read and fit each other."""
        info = self.dataset.get_data_info(index)
        image = self._read_image(info, self.name(index), [])
        mask = self._check_mask(info, image, []) if self.load_mask is not None and info.get('seg_map_path') else None
        return image, mask[0] if image is not None and mask is not None and mask[0].shape == image.shape[:2] else None

    def _look_at_file(self, name: str, image: np.ndarray, info: dict, findings: list[Finding]) -> int:
        """Note a turn that sizes cannot show; the largest value of a wide image."""
        try:
            orientation = orientation_of(name)
            follows = getattr(self.load_image, 'exif', 'apply') == 'apply' and \
                getattr(self.load_image, 'color_type', 'color') in ('color', 'grayscale')
            turned = orientation in TURNS and follows
            same_size = orientation not in QUARTER_TURNS or image.shape[0] == image.shape[1]
            if turned and same_size and info.get('seg_map_path'):
                findings.append(Finding('EXIF orientation', name, f'turned by its EXIF orientation ({orientation}): '
                                        "see that its mask is, or set exif='ignore' of mmwhitebox.LoadImage."))
            return largest_wide_value(name)
        except BROKEN_IMAGE:
            return 0

    def _read_image(self, info: dict, name: str, findings: list[Finding]) -> np.ndarray | None:
        if 'img' in info:
            image = np.asarray(info['img'])
        elif '://' not in name:
            trouble = _file_trouble(name, 'image')
            if trouble:
                findings.append(trouble)
                return None
            try:
                if isinstance(self.load_image, LoadImage):
                    return self.load_image.read(name)
                image = read_image(name)
                if self.load_image is not None and orientation_of(name) != 1:  # which loaders follow or do not
                    image = self.load_image(dict(info))['img']
                return image
            except (*BROKEN_IMAGE, AttributeError) as error:
                if self.load_image is not None and not isinstance(self.load_image, LoadImage):
                    with contextlib.suppress(*BROKEN_IMAGE, AttributeError):  # it may know more
                        return self.load_image(dict(info))['img']
                findings.append(Finding('unreadable image', name, _without(name, error)))
                return None
        else:
            try:
                image = self.load_image(dict(info))['img']
            except (*BROKEN_IMAGE, AttributeError) as error:
                findings.append(Finding('unreadable image', name, f'cannot read this image ({error}).'))
                return None
        if image.size == 0:
            findings.append(Finding('empty file', name, f'an image of shape {image.shape}: take it out.'))
            return None
        return image

    def _check_mask(self, info: dict, image: np.ndarray | None,
                    findings: list[Finding]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The mask (H, W), its labels and their pixels; None if it holds none."""
        size = None if image is None else image.shape[:2]
        path = str(info['seg_map_path'])
        trouble = _file_trouble(path, 'mask') if '://' not in path else None
        if trouble:
            findings.append(trouble)
            return None
        results = {**info, 'seg_fields': []}
        if image is not None:
            results.update(img=image, img_shape=size, ori_shape=size, exif=getattr(self.load_image, 'exif', 'apply'))
        try:
            read = self.load_mask.read if isinstance(self.load_mask, LoadSegAnnotation) else self.load_mask
            labels = np.asarray(read(results)['gt_seg_map'])
        except AnnotationError as error:
            findings.append(refused(path, error))
            return None
        except (*BROKEN_IMAGE, AttributeError) as error:
            findings.append(Finding('unreadable mask', path, _without(path, error)))
            return None
        if labels.size == 0:
            findings.append(Finding('empty file', path, f'a mask of shape {labels.shape}: take it out.'))
            return None
        if labels.ndim < 2:  # mmseg squeezes away a side of one pixel
            labels = labels.reshape(size) if size and labels.size == size[0] * size[1] else np.atleast_2d(labels)
        shape = list(labels.shape)
        if size is not None and labels.shape[:2] != size:
            advice = advise_orientation(info.get('img_path'), labels.shape, size,
                                        getattr(self.load_image, 'exif', 'apply'))
            if not advice and labels.shape[:2] == size[::-1]:
                advice = ' Its sides are swapped: turn it as the image is.'
            findings.append(Finding('size mismatch', path, f'{shape[1]} x {shape[0]} pixels, its image '
                                    f'{size[1]} x {size[0]}: save both in one size (masks with nearest neighbour).'
                                    + advice, values=(labels.shape[:2], size)))
        if labels.ndim != 2:
            findings.append(Finding('coloured mask', path, self._advise_coloured(labels)))
            return None
        label_map = getattr(self.load_mask, 'label_map', None)
        if '://' not in path and is_lossy(path) and not (label_map and label_map.nearest):
            findings.append(Finding('JPEG mask', path, 'JPEG masks are not exact: that this one holds nothing but '
                                    'classes may be chance; save masks as PNG.'))
        values, counts = count(labels if labels.dtype == np.uint8 else labels.astype(np.int64))  # cuts fractions
        present = values.tolist()
        wrong = [label for label in present if not 0 <= label < self.num_classes and label != self.ignore_index]
        if wrong:
            findings.append(Finding('label out of range', path,
                                    f'labels {joined(wrong)} of {self.num_classes} classes: '
                                    f'{advise_labels(present, wrong, self.num_classes, info)}', values=tuple(wrong)))
        elif present == [self.ignore_index]:
            findings.append(Finding('all ignored', path, f'every pixel is {self.ignore_index}: take it out'
                                    + (', or reduce_zero_label is wrong for it (0 becomes ignored).'
                                       if info.get('reduce_zero_label') else '.')))
        elif present in ([0], [0, self.ignore_index]) and self.has_background:
            findings.append(Finding('empty mask', path, 'nothing but background: keep it if the image shows nothing '
                                    'else.'))
        return labels, values, counts

    def _advise_coloured(self, labels: np.ndarray) -> str:
        colours = labels[..., :3]
        if labels.shape[2] < 3 or (colours == colours[..., :1]).all():
            return f'{labels.shape[2]} channels that repeat one: save the first channel alone (mode L).'
        palette = {tuple(colour) for colour in self.dataset.metainfo.get('palette', ())}
        seen = {tuple(int(v) for v in colour[::-1]) for colour in np.unique(colours.reshape(-1, 3), axis=0)}
        known = seen & palette
        return (f'{labels.shape[2]} channels, {len(seen)} colours, {len(known)} of them in the palette of the dataset: '
                'save the index of the class of each colour (mode L or P), or name the colours: palette={NAME: (R, G, '
                'B)} of mmwhitebox.LoadSegAnnotation.')


def refused(path: str, error: AnnotationError) -> Finding:
    """A mask that the table of values or colours refuses, or that holds no labels."""
    if not isinstance(error, UnknownValuesError):
        return Finding('label out of range', path, _without(path, error))
    kind = 'swapped colours' if error.swapped else 'inexact mask' if error.near else 'label out of range'
    return Finding(kind, path, _without(path, error), values=error.values)


def is_lossy(path: str) -> bool:
    """Whether a file is in a format that loses values; False if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.format in LOSSY
    except BROKEN_IMAGE:
        return False


def advise_labels(present: list[int], wrong: list[int], num_classes: int, info: dict) -> str:
    """What may be done about labels out of range.

    Args:
        present (list[int]): All labels of the mask, after ``reduce_zero_label`` and the label map.
        wrong (list[int]): Those that are no class.
        num_classes (int): Number of classes.
        info (dict): The sample's ``reduce_zero_label`` says whether labels were reduced.
    """
    classes = [label for label in present if label != 255]
    if max(wrong) < 0:
        return 'save no class as another label (255, say), or correct the mask.'
    spread = np.diff(classes).min(initial=255) > 1 and len(classes) <= num_classes
    if info.get('reduce_zero_label'):
        return (f'the file has them one higher (reduce_zero_label=True). Set it to False if 0 is a class, or '
                f'num_classes to {max(wrong) + 1}.')
    if spread and len(classes) > 1:
        return (f'the {len(classes)} grey levels {joined(classes)} look like a picture of the classes: save their '
                f'indices, 0 to {len(classes) - 1}.')
    if wrong == [num_classes]:
        return f'if they are 1 to {num_classes} with 0 for no class, set reduce_zero_label=True of the dataset.'
    return f'set num_classes to {max(wrong) + 1} (model and pipeline), or correct the mask.'


def _file_trouble(path: str, what: str) -> Finding | None:
    """A file that is not there or has no bytes."""
    try:
        if Path(path).stat().st_size:
            return None
    except OSError as error:
        return Finding(f'missing {what}', path, f'{error.strerror}: add it, or take its sample out.')
    return Finding('empty file', path, '0 bytes: copy it again, or take its sample out.')


def _without(path: str, error: Exception) -> str:
    """The message of an error that starts with the path of its file, without it."""
    return str(error).removeprefix(f'{path}: ')
