"""SegResult and ClsResult: what a model says of one image, with everything a person asks for next."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from PIL import Image

from mmwhitebox.datasets.viewable import read_viewable, viewable
from mmwhitebox.drawing import View, blend, captioned, save_labels
from mmwhitebox.errors import UserError, WriteError

from .inputs import as_file

if TYPE_CHECKING:
    from .exploration import Exploration

BAND_ROWS = 256
_MADE_BY: WeakKeyDictionary['Result', ref] = WeakKeyDictionary()
"""Results -> weak references to their models; not within the results, which are copied and pickled."""


class Result(BaseDataElement):
    """A prediction together with its image and the names of the classes."""

    @classmethod
    def from_sample(cls, sample: BaseDataElement, image, dataset_meta: dict,
                    model: BaseModel | None = None) -> 'Result':
        """Extend a prediction by its image (a path, a BGR array or an encoded file) and the names of its classes.

        Of the model, if it is given, no more than a weak reference is kept, for :meth:`explore`.
        """
        meta = {key: dict(value) if isinstance(value, dict) else list(value) for key, value in dataset_meta.items()}
        result = cls(metainfo={**sample.metainfo, 'source': image, **meta})
        result.set_data(dict(sample.items()))
        if model is not None:
            _MADE_BY[result] = ref(model)
        return result

    def explore(self, what_if: Sequence[Mapping] = (), ground_truth: np.ndarray | None = None) -> 'Exploration':
        """Look at what every layer of the model did to this image; a notebook shows it as a page.

        Args:
            what_if, ground_truth: See :func:`mmwhitebox.apis.explore`.

        Raises:
            UserError: The model is gone: a result does not keep it, and a copy of one does not know it.
        """
        from .explore import explore  # it needs the inference, whose results these are
        model = _MADE_BY.get(self, lambda: None)()
        if model is None:
            raise UserError('The model of this result is gone, since a result does not keep its model: keep it in a '
                            'variable, or call mmwhitebox.apis.explore(model, image).')
        return explore(model, self.source, what_if, ground_truth)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return self.classes

    @property
    def image(self) -> np.ndarray:
        """The input image, (H, W, 3) uint8 RGB; of an image of other bands or bits, what can be shown of it."""
        return self.view.image

    @property
    def view(self) -> View:
        """:attr:`image`, and a note of which channels it shows between which values; read at every access."""
        shown = self.get('shown')
        if isinstance(self.source, np.ndarray):
            return viewable(self.source, shown)
        if isinstance(self.source, bytes):
            with as_file(self.source) as path:
                return read_viewable(path, self.ori_shape, shown)
        return read_viewable(self.source, self.ori_shape, shown)

    @property
    def note(self) -> str:
        """Which channels :attr:`image` shows, and which of their values are black and white; empty of photographs."""
        return self.view.note if self.get('shown') else ''

    def _file_name(self) -> str:
        kinds = {np.ndarray: 'an array', bytes: 'an image in memory'}
        return kinds.get(type(self.source)) or str(self.source)

    def show(self) -> None:
        """Open the picture of the result in the system's viewer."""
        Image.fromarray(self.picture).show()


class SegResult(Result, SegDataSample):
    """mmseg's data sample of one image, with its parts as arrays.

    All that mmseg's ``SegDataSample`` has (``pred_sem_seg``, metainfo) is there too, ``seg_logits`` if the model
    keeps them: ``init_model(..., cfg_options={'model.test_cfg.keep_logits': True})``.
    """

    @property
    def mask(self) -> np.ndarray:
        """Predicted class index of every pixel of the original image, (H, W) int64."""
        return self.pred_sem_seg.data.squeeze(0).long().cpu().numpy()  # mmseg's is float for one channel

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, (C, H, W) float32, computed at every access: keep the array.

        Softmax of the logits, of a one-channel head its sigmoid (1, H, W).

        Raises:
            UserError: The model did not keep what they are computed from.
        """
        if 'logit_map' in self:
            return self.logit_map.probabilities().numpy()
        if 'seg_logits' not in self:
            raise UserError('This result has no probabilities, since test_cfg.keep_logits is False. Build the model '
                            "with init_model(..., cfg_options={'model.test_cfg.keep_logits': 'factors'}).")
        logits = self.seg_logits.data.float()
        return (logits.softmax(0) if len(logits) > 1 else logits).cpu().numpy()  # one channel: mmseg's is a sigmoid

    @property
    def overlay(self) -> np.ndarray:
        """The image with the predicted classes in colour over it, (H, W, 3) uint8 RGB."""
        image, mask = self.image, self.mask
        mixed = np.empty_like(image)
        for top in range(0, len(mask), BAND_ROWS):  # blending takes 50 bytes a pixel
            rows = slice(top, top + BAND_ROWS)
            mixed[rows] = blend(image[rows], mask[rows], self.palette, opacity=0.6)
        return mixed

    @property
    def picture(self) -> np.ndarray:
        """What :meth:`show` shows: the overlay."""
        return self.overlay

    def save(self, path: str | Path) -> Path:
        """Write the label map, as PNG with the palette, or the overlay, as any other kind of picture.

        Args:
            path (str | Path): ``.png`` for the labels; ``.jpg``, ``.webp``, ... for the overlay.

        Raises:
            UserError: No kind of picture has that suffix, or the place cannot be written.
        """
        path = _picture_path(path)
        if path.suffix.lower() == '.png':
            save_labels(path, self.mask, self.palette)
        else:
            Image.fromarray(self.overlay).save(path, comment=self.note)
        return path

    def to_hf(self) -> list[dict[str, Any]]:
        """What ``pipeline('image-segmentation')`` of transformers gives of a semantic segmentation.

        Returns:
            list[dict]: Of every class that was found, in the order of the classes: ``label``, its name; ``score``, the
            mean probability of that class over its region (transformers has None there), None if the result has no
            probabilities; ``mask``, a PIL image of mode 'L' with 255 in the region and 0 elsewhere.
        """
        mask, found = self.mask, []
        known = self.probabilities if 'logit_map' in self or 'seg_logits' in self else None
        for label in np.unique(mask):
            region = mask == label
            score = None
            if known is not None:
                values = known[label] if len(known) > 1 else known[0] if label else 1 - known[0]
                score = float(values[region].mean(dtype=np.float64))
            found.append(dict(score=score, label=self.class_names[label],
                              mask=Image.fromarray(region.astype(np.uint8) * 255)))
        return found

    def __repr__(self) -> str:
        labels, counts = np.unique(self.mask, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        shares = ', '.join(f'{self.class_names[labels[i]]} {counts[i] / counts.sum():.1%}' for i in order[:5])
        more = f', and {len(order) - 5} more' if len(order) > 5 else ''
        return (f'SegResult of {self._file_name()}\n'
                f'  mask: {self.mask.shape[0]} x {self.mask.shape[1]}, {len(self.class_names)} classes\n'
                f'  {shares}{more}\n' + ''.join(f'  shown: {line}\n' for line in self.note.splitlines()) +
                '  .mask .probabilities .class_names .palette .image .overlay .save(path) .show() .explore()')

    __str__ = __repr__


class ClsResult(Result, DataSample):
    """mmpretrain's data sample of one image, with its parts as arrays and names.

    All that mmpretrain's ``DataSample`` has (``pred_label``, ``pred_score``, metainfo) is there too.
    """

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, (C,) float32."""
        return self.pred_score.float().cpu().numpy()

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Names and probabilities of the k most likely classes (or of all, if there are fewer), best first."""
        scores = self.probabilities
        return [(self.class_names[i], float(scores[i])) for i in np.argsort(-scores, kind='stable')[:k]]

    def to_hf(self, top_k: int = 5) -> list[dict[str, Any]]:
        """What ``pipeline('image-classification')`` of transformers gives: ``label`` and ``score``, best first."""
        return [dict(label=label, score=score) for label, score in self.top(top_k)]

    @property
    def picture(self) -> np.ndarray:
        """What :meth:`show` shows: the image with its most likely classes."""
        return captioned(self.image, '\n'.join(f'{score:.3f} {name}' for name, score in self.top()))

    def save(self, path: str | Path) -> Path:
        """Write the image with its most likely classes, as a picture.

        Raises:
            UserError: No kind of picture has that suffix, or the place cannot be written.
        """
        path = _picture_path(path)
        Image.fromarray(self.picture).save(path)
        return path

    def __repr__(self) -> str:
        best = ', '.join(f'{name} {score:.3f}' for name, score in self.top(3))
        return (f'ClsResult of {self._file_name()}\n  {best}\n'
                '  .top(k) .probabilities .class_names .image .save(path) .show() .explore()')

    __str__ = __repr__


def _picture_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise UserError(f'{path}: its suffix is that of no kind of picture; .png and .jpg are.')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'ab'):
            return path
    except OSError as error:
        raise WriteError(f'{path} cannot be written ({error.strerror}).') from error
