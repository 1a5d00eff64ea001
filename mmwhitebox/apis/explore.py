"""Everything that the layers of a model say about one image: maps, tokens, rates and answer, in one forward pass."""
import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

import mmwhitebox
from mmwhitebox.errors import ImageReadError, ImageSizeError, UserError
from mmwhitebox.interpret.attention_map import scaled_dot_products
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.patch_maps import patch_grid, patch_size, seen_image
from mmwhitebox.interpret.what_if import disturbed
from mmwhitebox.models.access import logits, preprocessed
from mmwhitebox.models.segmentors import EncoderDecoder
from mmwhitebox.models.segmentors.alignment import covered_size

from .array_container import ArrayBook
from .exploration import Exploration
from .explored_layer import Watch, describe_layers
from .inference import network_precision, test_pipeline
from .inputs import ImageType, prepared
from .model_facts import describe_model, task_of

FORMAT = 1
TOP = 5


class Seen(NamedTuple):
    """An image as the model gets it.

    Attributes:
        name (str): Of its file.
        key (str): The same for the same file, or an equal array.
        tensor (Tensor): Normalised, (1, C, H, W), on the model's device, padded at the right and the bottom.
        size (tuple[int, int]): Height and width of the image within the tensor.
        original (tuple[int, int]): Height and width of its file.
        sample (BaseDataElement): Its data sample.
    """

    name: str
    key: str
    tensor: Tensor
    size: tuple[int, int]
    original: tuple[int, int]
    sample: BaseDataElement


def explore(model: BaseModel, image: ImageType, what_if: Sequence[Mapping] = (),
            ground_truth: np.ndarray | None = None, rgb: bool = False,
            description: Mapping | None = None) -> Exploration:
    """Look at what every layer of a model does to an image, disturbed or not.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`; its encoder is one of this package.
        image (str | Path | np.ndarray | PIL.Image | bytes): As of :func:`mmwhitebox.apis.inference_model`.
        what_if (Sequence[Mapping]): Disturbances that are applied together, e.g. ``[dict(kind='skip', layer=3)]``, see
            :mod:`mmwhitebox.interpret.what_if`. Defaults to none. The model is afterwards what it was.
        ground_truth (np.ndarray, optional): Class index of every pixel of the image's file, (H, W); 255 is none.
            Defaults to None.
        rgb (bool): An array is in RGB order. Defaults to False: BGR, as OpenCV reads it.
        description (Mapping, optional): What is told of the model, see :func:`.model_facts.describe_model`; of one from
            :func:`mmwhitebox.apis.optimize`, that of the model it was made of. Defaults to None: of ``model``.

    Returns:
        Exploration: Header and arrays.

    Raises:
        UserError: The image cannot be read or is too small, a disturbance is of no such form or its layer does not have
            it, the encoder has no patch grid, the ground truth is not of the image's size.
    """
    patch = patch_size(model)
    if model.training:
        raise UserError('explore: the model is in training mode; call model.eval() first.')
    seen = _see(model, image, rgb)
    truth = None if ground_truth is None else _labels(ground_truth, seen)
    image_size = tuple(seen.tensor.shape[-2:])
    hw_shape = patch_grid(model, image_size)
    book, watch = ArrayBook(), Watch(model)
    view = seen_image(model, seen.tensor[..., :seen.size[0], :seen.size[1]], _meta(model).get('shown'))
    picture = dict(name=seen.name, key=seen.key, width=seen.size[1], height=seen.size[0],
                   original=list(seen.original[::-1]), note=view.note,
                   pixels=book.add('image', np.ascontiguousarray(view.image)))
    with torch.inference_mode(), network_precision(model), disturbed(model, what_if, image_size) as applied:
        with scaled_dot_products(watch.timm_attentions) as watch.products, capture(watch.modules) as watch.calls:
            prediction = _predict(model, seen, book)
        skipped = {item['layer'] for item in applied if item['kind'] == 'skip'}
        layers = describe_layers(watch, hw_shape, skipped, book)
    header = dict(
        format=FORMAT, version=f'mmwhitebox {mmwhitebox.__version__}',
        model=copy.deepcopy(dict(description or describe_model(model))), image=picture,
        grid=list(hw_shape), patch=list(patch), prediction=prediction,
        ground_truth=None if truth is None else book.add('ground_truth', truth),
        layers=layers, what_if=applied, notes=_notes(model, book))
    return Exploration(header, book.arrays, book.group_axes)


def _meta(model: BaseModel) -> dict:
    return getattr(model, 'dataset_meta', None) or {}


def _see(model: BaseModel, image: ImageType, rgb: bool) -> Seen:
    source = prepared(image, rgb)
    packed = (getattr(model, 'test_pipeline', None) or test_pipeline(model.cfg))(source)
    taken = model.cfg.model.backbone.get('in_channels', 3)
    if len(packed['inputs']) != taken:
        raise UserError(f"{len(packed['inputs'])} channels come out of the config's test pipeline, the model takes "
                        f'{taken}: the image is of another kind than those it was trained on, or the loading step '
                        '(color_type) makes it so.')
    sample, size = packed['data_samples'], tuple(packed['inputs'].shape[-2:])
    tensor = preprocessed(model, [packed['inputs']], [sample])['inputs']
    if isinstance(model, EncoderDecoder) and model.test_option('enlarge', False):
        tensor = model.enlarge(tensor, [sample.metainfo])[0]
        size = tuple(tensor.shape[-2:])
    return Seen(*_name(source), tensor, size, tuple(sample.metainfo.get('ori_shape', size))[:2], sample)


def _name(source: Path | np.ndarray | bytes) -> tuple[str, str]:
    """Name of an image, and what tells it from others of that name."""
    content = str(source.resolve()).encode() if isinstance(source, Path) else \
        source.tobytes() if isinstance(source, np.ndarray) else source
    return source.name if isinstance(source, Path) else 'image', hashlib.sha256(content).hexdigest()[:16]


def _predict(model: BaseModel, seen: Seen, book: ArrayBook) -> dict | None:
    """Run the model once; what it answers, as JSON can say it."""
    try:
        answer = dict(segmentation=_segment, classification=_classify, features=_encode)[task_of(model)]
        return answer(model, seen, book)
    except ImageSizeError as error:
        raise ImageReadError(f'{seen.name}: too small or too narrow for the model ({error})') from error


def _segment(model: BaseModel, seen: Seen, book: ArrayBook) -> dict:
    size, head = tuple(seen.tensor.shape[-2:]), model.decode_head
    if isinstance(head, nn.ModuleList) or getattr(model, 'predicts_itself', False):
        found, covered = model.encode_decode(seen.tensor, [{**seen.sample.metainfo, 'img_shape': size}]), size
    else:
        found, covered = head(model.extract_feat(seen.tensor)), covered_size(model.backbone, size)
    one = dict(threshold=float(getattr(head, 'threshold', None) or 0.5)) if found.shape[1] == 1 else {}
    return dict(kind='segmentation', logits=book.add('logits', found[0], 1), covers=list(covered),
                align_corners=bool(model.align_corners), **one)


def _classify(model: BaseModel, seen: Seen, book: ArrayBook) -> dict:
    sample = model.head.predict(model.extract_feat(seen.tensor), [seen.sample.new()])[0]
    scores = sample.pred_score.float().cpu()
    best = scores.topk(min(TOP, len(scores)))
    names = [str(label) for label in _meta(model).get('classes') or range(len(scores))]
    return dict(kind='classification', probabilities=book.add('probabilities', scores),
                top=[[names[i], score] for i, score in zip(best.indices.tolist(), best.values.tolist())
                     if math.isfinite(score)])


def _encode(model: BaseModel, seen: Seen, book: ArrayBook) -> None:
    """A model that has learned no classes: of a masked autoencoder its decoder runs, too."""
    if hasattr(model, 'predict_pixels'):
        logits(model, seen.tensor)
    else:
        model.extract_feat(seen.tensor)


def _labels(ground_truth: np.ndarray, seen: Seen) -> np.ndarray:
    """Labels at the size at which the model saw the image, every pixel the nearest one: (h, w)."""
    if not isinstance(ground_truth, np.ndarray):
        raise UserError(f'ground_truth is an array of class indices, not {type(ground_truth).__name__}.')
    labels = ground_truth
    if labels.dtype.kind not in 'uib' or labels.shape != seen.original:
        raise UserError(f'ground_truth is an array of class indices, {seen.original[0]} x {seen.original[1]} as the '
                        f'image, not {" x ".join(map(str, labels.shape))} of {labels.dtype}.')
    rows, columns = (((2 * np.arange(out) + 1) * full // (2 * out)) for out, full in zip(seen.size, labels.shape))
    return labels[rows[:, None], columns].astype(np.uint8 if labels.max(initial=0) <= 255 else np.int32)


def _notes(model: BaseModel, book: ArrayBook) -> list[str]:
    notes = []
    if (getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide':
        notes.append('The picture was seen in one piece; when this model is tested, it sees windows of it.')
    if not all(np.isfinite(array).all() for array in book.arrays.values()):
        notes.append('Some values are infinite or no numbers: broken weights, or too strong a disturbance.')
    return notes
