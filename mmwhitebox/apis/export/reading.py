"""Reading exported files back."""
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from safetensors import safe_open
from torch import Tensor
from torch.export.pt2_archive import PT2ArchiveReader

from mmwhitebox.checkpoints import load_weights
from mmwhitebox.config.untrusted import check_architecture, without_sources
from mmwhitebox.errors import CheckpointError, UserError

from ..allotment import built
from ..data import scope_of
from ..inputs import local_path
from .agreement import reason_of
from .card import CARD_FILE
from .graph import need_onnx
from .networks import LogitsNetwork


class ExportedModel:
    """An exported file, ready to run: ``model(images)`` gives its output, ``model.card`` is the model card.

    ``images`` are normalised as the card says: a float32 tensor or array, (B, 3, H, W). Logits come as a
    tensor on the CPU, (B, C, H, W) of a segmentor and (B, C) of a classifier. A file with processing takes
    pictures instead, (B, H, W, 3) uint8 RGB, and gives label maps, (B, H, W) int64, or scores, (B, C).
    """

    def __init__(self, run: Callable[[Tensor], Tensor], card: dict) -> None:
        self.run = run
        self.card = card

    def __call__(self, images: Tensor | np.ndarray) -> Tensor:
        images = torch.as_tensor(images).cpu()
        check_images(images, self.card)
        with torch.no_grad():
            return self.run(images if self.card.get('processing') else images.float())


def check_images(images: Tensor, card: dict) -> None:
    """Refuse images of a type or a shape that the file does not take, as far as its card says so.

    Raises:
        UserError: Its line says what it takes.
    """
    card = dict(processing=False, dynamic=True, size_multiple_of=[1, 1]) | card
    processing = card['processing']
    if processing and images.dtype != torch.uint8:
        raise UserError(f'The file takes pictures of uint8, these are {str(images.dtype).removeprefix("torch.")}.')
    if not (processing or images.is_floating_point()):
        raise UserError(f'The file takes normalised images, of floats: these are '
                        f'{str(images.dtype).removeprefix("torch.")}. Its card says how they are normalised.')
    channels = len(card['mean']) if 'mean' in card else 'C'
    if images.ndim != 4 or channels not in ('C', images.shape[3 if processing else 1]):
        expected = f'(B, H, W, {channels})' if processing else f'(B, {channels}, H, W)'
        raise UserError(f'The file takes images {expected}, these are {tuple(images.shape)}.')
    size = list(images.shape[1:3] if processing else images.shape[2:])
    multiple = card['size_multiple_of']
    if not card['dynamic'] and [len(images), *size] != [card['batch_size'], *card['input_size']]:
        raise UserError(f'The file takes {card["batch_size"]} images of {" x ".join(map(str, card["input_size"]))}, '
                        f'these are {len(images)} of {size[0]} x {size[1]}. With --dynamic it takes others.')
    if any(length % part for length, part in zip(size, multiple)) or 0 in images.shape:
        raise UserError(f'The file takes images whose height and width are multiples of {multiple[0]} and '
                        f'{multiple[1]}, these are {size[0]} x {size[1]}.')


def load_exported(path: str | Path, trust: bool = False) -> ExportedModel:
    """Read a file of :func:`export_model`.

    Args:
        path (str | Path): ``.safetensors``, ``.onnx`` or ``.pt2``.
        trust (bool): Needed for ``.pt2``: torch's reader of such a file can run code from it. Only for
            files from a source you trust. Defaults to False.

    Returns:
        ExportedModel: Callable, on the CPU; ``card`` is the model card.

    Raises:
        CheckpointError: The file is missing or not of this kind.
        UserError: An unknown suffix, or a ``.pt2`` without ``trust``.
    """
    path = local_path(path)
    readers = {'.safetensors': _load_safetensors, '.onnx': _load_onnx, '.pt2': _load_pt2}
    if path.suffix not in readers:
        raise UserError(f'{path}: unknown suffix. Exported files are {", ".join(readers)}.')
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist.')
    if path.suffix == '.pt2' and not trust:
        raise UserError(f'{path}: reading a .pt2 file can run code from it. If you trust its source, '
                        'read it with trust=True.')
    try:
        return readers[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # each reader has its own types
        raise CheckpointError(f'{path} cannot be read as an exported model: {reason_of(error)}') from error


def _load_onnx(path: Path) -> ExportedModel:
    need_onnx()
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry('session.force_spinning_stop', '1')  # between calls the cores are torch's
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    card = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    return ExportedModel(lambda images: torch.from_numpy(session.run(None, dict(images=images.numpy()))[0]), card)


def _load_pt2(path: Path) -> ExportedModel:
    with PT2ArchiveReader(str(path)) as archive:
        card = json.loads(archive.read_string(f'extra/{CARD_FILE}'))
    if card['format'] == 'aot':
        run = torch._inductor.aoti_load_package(str(path))
        return ExportedModel(lambda images: run(images.contiguous()), card)  # it does not look at strides
    return ExportedModel(torch.export.load(path).module(), card)


def _load_safetensors(path: Path) -> ExportedModel:
    with safe_open(path, 'pt') as file:
        card = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    if 'model_config' not in card:
        raise CheckpointError(f'{path} has no model card, so it holds weights only: give it to init_model '
                              'with the config that it belongs to.')
    config = without_sources(card['model_config'])
    check_architecture(config, scope_of(card), path)
    model = built(Config(dict(default_scope=scope_of(card), model=config)))
    load_weights(model, path)
    network = LogitsNetwork(model).eval()
    return ExportedModel(network, card)
