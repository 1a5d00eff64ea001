"""Everything that the layers of a model say about one image: its maps, tokens, rates and answer, in one forward pass."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

import mmwhitebox
from mmwhitebox.interpret.attention_map import has_representatives, keyword_arguments, representative_footprints
from mmwhitebox.interpret.capture import Call, attention_layers, capture
from mmwhitebox.interpret.coding_rate import QUANTITIES, STAGES, CompressionLayer, compression_layers, layer_rates
from mmwhitebox.interpret.map_factors import map_factors
from mmwhitebox.interpret.membership import has_gate, has_membership
from mmwhitebox.interpret.patch_maps import patch_grid, patch_size, seen_image
from mmwhitebox.interpret.token_pca import token_colours
from mmwhitebox.interpret.what_if import disturbed, possible
from mmwhitebox.models.access import logits
from mmwhitebox.models.backbones import TimmViT
from mmwhitebox.models.segmentors import EncoderDecoder
from mmwhitebox.models.segmentors.alignment import covered_size

from .array_container import pack, quantize
from .inference import network_precision, test_pipeline
from .inputs import ImageType, prepared
from .model_facts import model_facts

FORMAT = 1
TOP = 5
IGNORED = 255


class Exploration:
    """What :func:`explore` found.

    Attributes:
        header (dict): What JSON can say: the model, the image, its prediction, the layers and their rates, with the names
            of arrays.
        arrays (dict[str, np.ndarray]): Name -> array, float32 or uint8.
    """

    def __init__(self, header: dict, arrays: dict[str, np.ndarray], group_axes: dict[str, int]) -> None:
        self.header = header
        self.arrays = arrays
        self._group_axes = group_axes

    def to_bytes(self, bits: int = 16) -> bytes:
        """Header and arrays as one block, see :mod:`.array_container`.

        Args:
            bits (int): Of an element: 8, 16, or 32, which quantises nothing. Defaults to 16.
        """
        arrays = {name: quantize(array, bits, self._group_axes.get(name, 0))
                  if bits < 32 and array.dtype == np.float32 and np.isfinite(array).all() else array
                  for name, array in self.arrays.items()}
        return pack(self.header, arrays)


class Seen(NamedTuple):
    """An image as the model gets it.

    Attributes:
        name (str): Of its file.
        tensor (Tensor): Normalised, (1, C, H, W), on the model's device, padded at the right and the bottom.
        size (tuple[int, int]): Height and width of the image within the tensor.
        original (tuple[int, int]): Height and width of its file.
        sample (BaseDataElement): Its data sample.
    """

    name: str
    tensor: Tensor
    size: tuple[int, int]
    original: tuple[int, int]
    sample: BaseDataElement


def explore(model: BaseModel, image: ImageType, what_if: Sequence[Mapping] = (),
            ground_truth: np.ndarray | None = None, rgb: bool = False) -> Exploration:
    """Look at what every layer of a model does to an image, disturbed or not.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`; its encoder is one of this package.
        image (str | Path | np.ndarray | PIL.Image | bytes): As of :func:`mmwhitebox.apis.inference_model`.
        what_if (Sequence[Mapping]): Disturbances that are applied together, see :mod:`mmwhitebox.interpret.what_if`.
            Defaults to none. The model is afterwards what it was.
        ground_truth (np.ndarray, optional): Class index of every pixel of the image's file, (H, W); 255 is none.
            Defaults to None.
        rgb (bool): An array is in RGB order. Defaults to False: BGR, as OpenCV reads it.

    Returns:
        Exploration: Header and arrays.

    Raises:
        UserError: The image cannot be read, a disturbance is of no such form or its layer does not have it, the encoder
            has no patch grid, the ground truth is not of the image's size.
    """
    seen = _see(model, image, rgb)
    image_size = tuple(seen.tensor.shape[-2:])
    hw_shape = patch_grid(model, image_size)
    attentions = attention_layers(model)
    compressing = {layer.name: layer for layer in compression_layers(model)}
    modules = {name: module for layer in compressing.values() for name, module in layer.modules.items()}
    modules |= {f'{name}/layer': model.get_submodule(name.rpartition('.')[0]) for name in attentions}
    book = _Book()
    with torch.inference_mode(), network_precision(model), disturbed(model, what_if, image_size) as applied, \
            capture({**attentions, **modules}) as calls, keyword_arguments(attentions) as kwargs:
        prediction = _predict(model, seen, book)
        skipped = {item['layer'] for item in applied if item['kind'] == 'skip'}
        layers = [_layer(model, number, name, calls, kwargs[name], hw_shape, compressing.get(name), number in skipped, book)
                  for number, name in enumerate(attentions) if name in calls]
    view = seen_image(model, seen.tensor[..., :seen.size[0], :seen.size[1]], model.dataset_meta.get('shown'))
    header = dict(
        format=FORMAT, version=f'mmwhitebox {mmwhitebox.__version__}',
        model=dict(name=_model_name(model), task=_task(model), classes=list(model.dataset_meta['classes']),
                   palette=model.dataset_meta.get('palette'), facts=model_facts(model, image_size)),
        image=dict(name=seen.name, width=seen.size[1], height=seen.size[0], original=[seen.original[1], seen.original[0]],
                   note=view.note, pixels=book.add('image', np.ascontiguousarray(view.image))),
        grid=list(hw_shape), patch=list(patch_size(model)), prediction=prediction,
        ground_truth=None if ground_truth is None else book.add('ground_truth', _labels(ground_truth, seen)),
        layers=layers, what_if=applied, notes=_notes(model))
    return Exploration(header, book.arrays, book.group_axes)


class _Book:
    """The arrays of an exploration, and how many leading axes of each have a scale of their own."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.group_axes: dict[str, int] = {}

    def add(self, name: str, array: Tensor | np.ndarray, group_axes: int = 0) -> str:
        if isinstance(array, Tensor):
            array = array.detach().float().cpu().numpy()
        self.arrays[name] = array
        if group_axes:
            self.group_axes[name] = group_axes
        return name


def _see(model: BaseModel, image: ImageType, rgb: bool) -> Seen:
    source = prepared(image, rgb)
    pipeline = getattr(model, 'test_pipeline', None) or test_pipeline(model.cfg)
    packed = pipeline(source)
    batch = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
    sample, tensor = packed['data_samples'], batch['inputs']
    size = tuple(packed['inputs'].shape[-2:])
    if isinstance(model, EncoderDecoder) and model.test_option('enlarge', False):
        tensor, metas = model.enlarge(tensor, [sample.metainfo])
        size = tuple(tensor.shape[-2:])
    name = source.name if isinstance(source, Path) else 'image'
    return Seen(name, tensor, size, tuple(sample.metainfo.get('ori_shape', size))[:2], sample)


def _task(model: BaseModel) -> str:
    if hasattr(model, 'decode_head'):
        return 'segmentation'
    return 'features' if getattr(model, 'head', None) is None or hasattr(model, 'predict_pixels') else 'classification'


def _model_name(model: BaseModel) -> str:
    return Path(model.cfg.filename).stem if getattr(model.cfg, 'filename', None) else type(model).__name__


def _predict(model: BaseModel, seen: Seen, book: _Book) -> dict | None:
    task = _task(model)
    if task == 'features':
        logits(model, seen.tensor) if hasattr(model, 'predict_pixels') else model.extract_feat(seen.tensor)
        return None
    if task == 'classification':
        features = model.extract_feat(seen.tensor)
        scores = model.head.predict(features, [seen.sample.new()])[0].pred_score.float().cpu()
        best = scores.topk(min(TOP, len(scores)))
        classes = list(model.dataset_meta['classes'])
        return dict(kind='classification', probabilities=book.add('probabilities', scores),
                    top=[[classes[i], p] for i, p in zip(best.indices.tolist(), best.values.tolist())])
    size = tuple(seen.tensor.shape[-2:])
    head, covered = model.decode_head, covered_size(model.backbone, size)
    if isinstance(head, nn.ModuleList) or getattr(model, 'predicts_itself', False):
        found, covered = model.encode_decode(seen.tensor, [seen.sample.metainfo]), size
    else:
        found = head(model.extract_feat(seen.tensor))
    threshold = getattr(model.decode_head, 'threshold', None)
    return dict(kind='segmentation', logits=book.add('logits', found[0], 1), covers=list(covered),
                align_corners=bool(model.align_corners), **({} if found.shape[1] > 1 else dict(threshold=threshold)))


def _layer(model: nn.Module, number: int, name: str, calls: dict[str, Call], kwargs: dict, hw_shape: tuple[int, int],
           compressing: CompressionLayer | None, skipped: bool, book: _Book) -> dict:
    attention, call, whole = model.get_submodule(name), calls[name], calls[f'{name}/layer']
    num_patches = hw_shape[0] * hw_shape[1]
    tokens = whole.output
    if isinstance(call.args[1] if len(call.args) > 1 else None, Tensor):  # queries alone leave it, patches pass by
        tokens = torch.cat([tokens, whole.args[1]], 1)
    num_extra = tokens.shape[1] - num_patches
    key = f'layer{number}.'
    return dict(
        number=number, name=name, part='encoder' if name.startswith('backbone') else 'decoder',
        attention=_label(attention), heads=attention.num_heads,
        head_dims=getattr(attention, 'head_dims', getattr(attention, 'head_dim', None)),
        extra=_extra_names(model, name, num_extra),
        maps={} if skipped else _maps(attention, call, kwargs, key, book),
        tokens=book.add(f'{key}tokens', tokens[0], 1),
        pca=book.add(f'{key}pca', token_colours(tokens[0, num_extra:])),
        rates=None if compressing is None else _rates(compressing, calls, skipped),
        what_if=possible(attention))


def _maps(attention: nn.Module, call: Call, kwargs: dict, key: str, book: _Book) -> dict:
    maps: dict[str, Any] = {}
    factors = map_factors(attention, call.args, kwargs)
    if factors is not None:
        names = dict(gram=('a', 'a'), softmax=('q', 'k'), product=('b', 'a'), matrix=('rows', 'rows'))[factors.form]
        axes = dict(gram=(2, 2), softmax=(1, 1), product=(1, 2), matrix=(1, 1))[factors.form]
        left = book.add(f'{key}{names[0]}', factors.left, axes[0])
        right = left if factors.right is factors.left else book.add(f'{key}{names[1]}', factors.right, axes[1])
        maps['attention'] = dict(form=factors.form, **{names[0]: left, names[1]: right})
        if factors.form == 'softmax':
            maps['attention']['scale'] = factors.scale
        if not getattr(attention, 'updates_all_tokens', True):
            maps['attention']['queries'] = 'extra'
    if has_representatives(attention):
        if factors.form == 'product' and not attention.contraction or factors.form == 'gram':
            footprints = maps['attention']['a']
        else:
            footprints = book.add(f'{key}footprints', representative_footprints(attention, call.args)[0], 2)
        learned = getattr(attention, 'representatives', None) is not None
        maps['representatives'] = dict(a=footprints, pool=None if learned else attention.pool_size)
    if has_membership(attention):
        maps['membership'] = book.add(f'{key}membership', attention.membership(*call.args)[0], 1)
    if has_gate(attention):
        maps['gate'] = book.add(f'{key}gate', attention.gate(*call.args)[0], 1)
    return maps


def _rates(layer: CompressionLayer, calls: dict[str, Call], skipped: bool) -> dict:
    found = layer_rates(layer, calls)
    if skipped:  # what it would have done inside does not leave it
        found = {stage: {key: value for key, value in found['input'].items()} for stage in found}
    rates: dict[str, dict] = {}
    for quantity in QUANTITIES:
        rates[quantity] = {stage: found[stage][quantity].item() if quantity in found.get(stage, {}) else None
                           for stage in STAGES}
    return rates


def _label(attention: nn.Module) -> str:
    names = {'AgentAttention': 'Agent', 'ReLULinearAttention': 'ReLULinear', 'SpectralAttention': 'Spectral',
             'ChannelAttention': 'Channel', 'LinearAttention': 'Spectral', 'AdaptedAgent': 'Agent',
             'AdaptedReLULinear': 'ReLULinear'}
    name = type(attention).__name__
    return names.get(name, name)


def _extra_names(model: nn.Module, name: str, count: int) -> list[str]:
    if name.startswith('decode_head'):
        classes = list(model.dataset_meta['classes'])
        return classes if len(classes) == count else [f'class {i}' for i in range(count)]
    names = []
    if isinstance(model.backbone, TimmViT):
        vit = model.backbone.vit
        names = [label for key, label in (('cls_token', 'class token'), ('dist_token', 'distillation token'))
                 if getattr(vit, key, None) is not None]
    elif count:
        names = ['class token']
    return (names + [f'register {i + 1}' for i in range(count - len(names))])[:count]


def _labels(ground_truth: np.ndarray, seen: Seen) -> np.ndarray:
    """Labels at the size at which the model saw the image, the nearest of every pixel."""
    rows, columns = (((2 * np.arange(out) + 1) * full // (2 * out)) for out, full in zip(seen.size, ground_truth.shape))
    return ground_truth[rows[:, None], columns].astype(np.uint8)


def _notes(model: BaseModel) -> list[str]:
    notes = []
    test_cfg = getattr(model, 'test_cfg', None) or {}
    if test_cfg.get('mode') == 'slide':
        notes.append('The picture was seen in one piece; testing this model cuts it into windows.')
    return notes
