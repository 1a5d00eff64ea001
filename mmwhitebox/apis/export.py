"""Models for deployment: safetensors, ONNX and torch.export files with a model card, and reading them back.

An exported network maps normalised images to logits. What comes before it is not part of the file; the card,
in the file and beside it as FILE.json, says what it is: mean and std (of pixels 0..255), channel order, image
size, and the steps of the test pipeline. Sliding windows and test-time augmentation, which a segmentor puts around
its network, are not part of it either.
"""
import copy
import hashlib
import importlib.util
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS
from safetensors import safe_open
from safetensors.torch import save
from timm.layers import PatchEmbed
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import mmwhitebox
from mmwhitebox.checkpoints import load_weights
from mmwhitebox.config.untrusted import check_architecture, without_sources
from mmwhitebox.errors import CheckpointError, UserError
from mmwhitebox.interpret import count_flops, count_parameters
from mmwhitebox.models.segmentors.alignment import covered_size, enlarge_logits

from .data import building, scope_of
from .inference import init_model
from .inputs import local_path
from .pipeline import InferencePipeline

SUFFIXES = {'safetensors': '.safetensors', 'onnx': '.onnx', 'torch-export': '.pt2'}
TOLERANCE = 1e-4
CARD_FILE = 'model_card.json'
ONNX_OPSET = 18


class LogitsNetwork(nn.Module):
    """Normalised images to logits: what is exported of a segmentor or a classifier.

    Args:
        model (BaseModel): mmseg's ``EncoderDecoder`` or mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Class logits of every pixel, (B, C, H, W), or of the image, (B, C).

        Args:
            images (Tensor): Normalised images, (B, 3, H, W).
        """
        features = self.model.extract_feat(images)
        if not hasattr(self.model, 'decode_head'):
            return self.model.head(features)
        size = tuple(images.shape[2:])
        return enlarge_logits(self.model.decode_head(features), covered_size(self.model.backbone, size), size,
                              self.model.align_corners)


class ExportedModel:
    """An exported file, ready to run: ``model(images)`` gives logits, ``model.card`` the model card.

    ``images`` are normalised as the card says: a float32 tensor or array, (B, 3, H, W). Logits come as a
    tensor on the CPU, (B, C, H, W) of a segmentor and (B, C) of a classifier.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], card: dict) -> None:
        self.run = run
        self.card = card

    def __call__(self, images: Tensor | np.ndarray) -> Tensor:
        with torch.no_grad():
            return self.run(torch.as_tensor(images, dtype=torch.float32))


def default_size(cfg: Config) -> tuple[int, int]:
    """Image size (H, W) a config is made for: its crop, its position table, or 224."""
    size = cfg.model.get('data_preprocessor', {}).get('size') or cfg.model.backbone.get('img_size') or 224
    return (size, size) if isinstance(size, int) else tuple(size)


def patch_size(backbone: nn.Module) -> tuple[int, int]:
    """Patch (height, width) of an encoder; (1, 1) of one without patches."""
    patch = getattr(backbone, 'patch_size', 1)
    return (patch, patch) if isinstance(patch, int) else tuple(patch)


def check_sizes(size: tuple[int, int], patch: tuple[int, int], dynamic: bool) -> list[tuple[int, int]]:
    """Sizes to compare on: the size and, of a dynamic graph, another one; one of them is not square.

    Raises:
        UserError: The size is no multiple of the patch, or too small.
    """
    (h, w), (ph, pw) = size, patch
    least = 2 if dynamic else 1
    if h % ph or w % pw:
        raise UserError(f'The image size {h} x {w} is not a multiple of the patch ({ph} x {pw}). Give --size '
                        f'{max(round(h / ph), least) * ph} {max(round(w / pw), least) * pw}, for example.')
    if h < least * ph or w < least * pw:
        raise UserError(f'The image size {h} x {w} is too small: the least is {least * ph} x {least * pw}.')
    return [(h, w), (max(h - ph, 2 * ph), w + 2 * pw)] if dynamic else [(h, w)]


def normalization(preprocessor: nn.Module, channels: int = 3) -> dict:
    """``mean``, ``std`` and ``channel_order`` of the images that a data preprocessor gives to the network."""
    swaps = getattr(preprocessor, '_channel_conversion', False) or getattr(preprocessor, 'to_rgb', False)
    mean, std = ([float(f'{v:.7g}') for v in getattr(preprocessor, key, torch.full((channels, ), default)).flatten()]
                 for key, default in (('mean', 0.), ('std', 1.)))
    return dict(mean=mean, std=std, channel_order='of the files' if channels != 3 else 'RGB' if swaps else 'BGR')


def pixel_range(pipeline: InferencePipeline | None) -> str:
    """In words: what pixels the loading step of a test pipeline gives."""
    value_range = getattr(pipeline and pipeline.loader, 'value_range', None)
    if value_range is not None:
        return f'(value - {value_range[0]}) * 255 / ({value_range[1]} - {value_range[0]}) of the values of files'
    if pipeline is None or pipeline.reads_bytes:
        return 'from 0 to 255'
    return 'as the first step of "pipeline" gives them'


def plain_steps(model: BaseModel) -> list[dict] | None:
    """The steps of the test pipeline that are not of annotations, as plain values; None if the config has none."""
    if model.test_pipeline is None:
        return None
    named = json.dumps(model.test_pipeline.steps, default=lambda value: getattr(value, '__name__', str(value)))
    return json.loads(named)


def model_name(cfg: Config) -> str:
    """Encoder and head in words, e.g. 'WhiteBoxTransformer cbt-small + LinearClsHead'."""
    backbone = cfg.model.backbone
    kind = backbone.get('model_name') or backbone.get('arch')
    head = cfg.model.get('decode_head') or cfg.model.head
    names = [part.type.rpartition('.')[2] for part in (backbone, head)]
    if isinstance(kind, str):
        names[0] += f' {kind}'
    return ' + '.join(names)


def model_card(model: BaseModel, checkpoint: Path, file_format: str, size: tuple[int, int],
               dynamic: bool, batch: int) -> dict:
    """All that a user of the file has to know, as plain values; ``agreement`` comes when it is measured."""
    cfg = model.cfg
    channels = cfg.model.backbone.get('in_channels', 3)
    image = torch.empty(1, channels, *size, device='meta')
    is_segmentor = hasattr(model, 'decode_head')
    with open(checkpoint, 'rb') as file:
        sha256 = hashlib.file_digest(file, 'sha256').hexdigest()
    return dict(
        model=model_name(cfg),
        config=Path(cfg.filename).stem if cfg.filename else None,
        task='segmentation' if is_segmentor else 'classification',
        **json.loads(json.dumps(model.dataset_meta)),  # classes, palette, what is shown
        **normalization(model.data_preprocessor, channels),
        input='images: float32 (B, C, H, W), (pixel - mean) / std with pixels ' + pixel_range(model.test_pipeline),
        pipeline=plain_steps(model),
        output='logits: float32 ' + ('(B, classes, H, W)' if is_segmentor else '(B, classes)'),
        input_size=list(size),
        batch_size=batch,
        dynamic=dynamic,
        size_multiple_of=list(patch_size(model.backbone)),
        parameters=count_parameters(model),
        flops=count_flops(LogitsNetwork(copy.deepcopy(model)).to('meta'), image),
        format=file_format,
        mmwhitebox=mmwhitebox.__version__,
        torch=torch.__version__,
        source_checkpoint=checkpoint.name,
        source_sha256=sha256,
        default_scope=scope_of(cfg),
        model_config=cfg.model.to_dict())


def reason_of(error: BaseException) -> str:
    """The line of an error that says the most, short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def measure_agreement(reference: Callable, candidate: Callable, batch: int, channels: int,
                      sizes: Sequence[tuple[int, int]]) -> dict:
    """Compare two networks on random images, one batch per size.

    Returns:
        dict: ``max_abs_difference`` and ``relative`` (to the largest absolute logit), each the largest of
        all sizes, and ``sizes``.

    Raises:
        UserError: They differ by more than :data:`TOLERANCE`, relative, or the candidate fails on a size.
    """
    generator = torch.Generator().manual_seed(0)
    worst = dict(max_abs_difference=0., relative=0., sizes=[list(size) for size in sizes])
    for size in sizes:
        where = f'on images of {size[0]} x {size[1]}'
        images = torch.randn(batch, channels, *size, generator=generator)
        with torch.no_grad():
            expected = reference(images)
        try:
            logits = candidate(images)
        except Exception as error:  # of torch or of onnxruntime, each with its own types
            raise UserError(f'The exported graph does not run {where}: {reason_of(error)}') from error
        if logits.shape != expected.shape:
            raise UserError(f'The exported graph gives logits of shape {tuple(logits.shape)} {where}, the '
                            f'model gives {tuple(expected.shape)}. The file was not kept.')
        difference = (logits - expected).abs().max().item()
        relative = difference / max(expected.abs().max().item(), 1e-12)
        if not relative <= TOLERANCE:  # nor if it is NaN
            raise UserError(f'The exported graph differs from the model by {difference:.2e} {where}, '
                            f'{relative:.2e} of the largest logit; {TOLERANCE:g} is allowed. The file was '
                            'not kept.')
        worst['max_abs_difference'] = max(worst['max_abs_difference'], difference)
        worst['relative'] = max(worst['relative'], relative)
    return worst


@contextmanager
def plain_operators(network: nn.Module) -> Iterator[None]:
    """A context in which the network runs nothing that a file of a graph cannot hold.

    torch's fast path of ``nn.MultiheadAttention`` is one fused operator. timm rounds the number of patches up
    with a division of floats; images of whole patches need no rounding.
    """
    padding = [m for m in network.modules() if isinstance(m, PatchEmbed) and m.dynamic_img_pad]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for embedding in padding:
            embedding.dynamic_img_pad = False
        yield
    finally:
        for embedding in padding:
            embedding.dynamic_img_pad = True
        torch.backends.mha.set_fastpath_enabled(fast_path)


def trace(network: LogitsNetwork, batch: int, channels: int, size: tuple[int, int], patch: tuple[int, int],
          dynamic: bool) -> ExportedProgram:
    """The graph of a network by ``torch.export``; dynamic, for all sizes from two patches on.

    Raises:
        UserError: The network has no such graph.
    """
    shapes = None
    if dynamic:
        shapes = dict(images={axis: p * Dim(name, min=2) if p > 1 else Dim(name, min=2)
                              for axis, p, name in zip((2, 3), patch, ('rows', 'columns'))})
    try:
        with torch.no_grad(), plain_operators(network):
            return torch.export.export(
                network, (torch.zeros(batch, channels, *size), ), dynamic_shapes=shapes, strict=False)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        way_out = ' Without --dynamic it may have one.' if dynamic else ''
        raise UserError(f'The model has no graph for {"any" if dynamic else "this"} image size: '
                        f'{reason_of(error)}.{way_out}') from error


def to_onnx(program: ExportedProgram) -> 'torch.onnx.ONNXProgram':
    """Translate a graph to ONNX: input ``images``, output ``logits``.

    Raises:
        UserError: ONNX has no operator for a part of it, which is named.
    """
    try:
        onnx_program = torch.onnx.export(
            program, dynamo=True, opset_version=ONNX_OPSET, input_names=['images'], output_names=['logits'],
            verbose=False)
    except torch.onnx.OnnxExporterError as error:
        missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
        reason = f'ONNX has no operator for {missing.group(1)}' if missing else reason_of(error)
        raise UserError(f'The model cannot be written as ONNX: {reason}. --format torch-export may hold '
                        'it.') from error
    assert onnx_program is not None  # torch gives None only of programs that it was told to write itself
    for value in (*onnx_program.model.graph.inputs, *onnx_program.model.graph.outputs):
        for axis, name in ((2, 'height'), (3, 'width')):
            if len(value.shape) == 4 and not isinstance(value.shape[axis], int):
                value.shape[axis] = name
    return onnx_program


def need_onnx() -> None:
    """Raise a UserError unless the packages of the extra ``export`` are installed."""
    needed = ('onnx', 'onnxscript', 'onnxruntime')
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'--format onnx needs {", ".join(missing)}: pip install "mmwhitebox[export]"')


def metadata(card: dict) -> dict:
    """A card as strings for the metadata of a file: every value is JSON."""
    return {key: json.dumps(value) for key, value in card.items()}


def export_model(config: str | Path | Config,
                 checkpoint: str | Path,
                 out: str | Path,
                 file_format: str,
                 size: tuple[int, int] | None = None,
                 dynamic: bool = False,
                 batch: int = 1,
                 trust_checkpoint: bool = False) -> dict:
    """Write a trained model as a file for deployment, with its card, after comparing it with the model.

    ======================  =========================================================================
    'safetensors'           the weights; the config in the card rebuilds the model. Any image size.
    'onnx'                  the graph, opset 18; compared with onnxruntime
    'torch-export'          the graph, for ``torch.export.load``
    ======================  =========================================================================

    Args:
        config (str | Path | Config): Config of a segmentor or a classifier.
        checkpoint (str | Path): Checkpoint of that config.
        out (str | Path): Output file, ``.safetensors``, ``.onnx`` or ``.pt2`` as the format is.
        file_format (str): See above.
        size (tuple[int, int], optional): Image size (H, W), a multiple of the patch. Defaults to the
            config's crop or the size of its position table.
        dynamic (bool): Height and width of the graph's images are free: any multiple of the patch, from two
            patches on. Defaults to False.
        batch (int): Images in a batch, which is fixed in a graph. Defaults to 1.
        trust_checkpoint (bool): Unpickle whatever the checkpoint holds, which can run code. Defaults to False.

    Returns:
        dict: The model card, also written to ``OUT.json``.

    Raises:
        UserError: Unknown format or suffix, wrong size, no such graph, or the file does not agree with the
            model. Nothing is written then.
        CheckpointError: The checkpoint is missing, broken, or of another model.
    """
    out, checkpoint = Path(out), Path(checkpoint)
    if file_format not in SUFFIXES:
        raise UserError(f'Unknown format {file_format!r}. Formats: {", ".join(SUFFIXES)}.')
    if out.suffix != SUFFIXES[file_format]:
        raise UserError(f'{out}: a file of format {file_format} is called *{SUFFIXES[file_format]}.')
    if batch < 1:
        raise UserError(f'The batch size must be positive, got {batch}.')
    if file_format == 'onnx':
        need_onnx()
    model = init_model(config, str(checkpoint), device='cpu', trust_checkpoint=trust_checkpoint)
    size, patch = size or default_size(model.cfg), patch_size(model.backbone)
    dynamic = dynamic or file_format == 'safetensors'
    sizes = check_sizes(size, patch, dynamic)
    channels = model.cfg.model.backbone.get('in_channels', 3)
    network = LogitsNetwork(model)
    card = model_card(model, checkpoint, file_format, size, dynamic, batch)
    if file_format != 'safetensors':
        program = trace(network, batch, channels, sizes[-1], patch, dynamic)
    if file_format == 'onnx':
        onnx_program = to_onnx(program)

    def write(path: Path) -> None:
        if file_format == 'safetensors':
            path.write_bytes(save({k: v.clone() for k, v in model.state_dict().items()}, metadata(card)))
        elif file_format == 'onnx':
            onnx_program.model.metadata_props.update(metadata(card))
            onnx_program.save(path, external_data=False)
        else:
            torch.export.save(program, path, extra_files={CARD_FILE: json.dumps(card)})

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.export_', dir=out.parent) as folder:
            draft = Path(folder) / out.name
            write(draft)
            card['agreement'] = measure_agreement(
                network, load_exported(draft, trust=True), batch, channels, sizes)
            write(draft)
            card_draft = Path(f'{draft}.json')
            card_draft.write_text(json.dumps(card, indent=1) + '\n')
            draft.replace(out)
            card_draft.replace(f'{out}.json')
    except OSError as error:
        raise UserError(f'{out} cannot be written ({error.strerror or error}).') from error
    return card


def load_exported(path: str | Path, trust: bool = False) -> ExportedModel:
    """Read a file of :func:`export_model`.

    Args:
        path (str | Path): ``.safetensors``, ``.onnx`` or ``.pt2``.
        trust (bool): Needed for ``.pt2``: torch's reader of such a file can run code from it. Only for
            files from a source you trust. Defaults to False.

    Returns:
        ExportedModel: Callable, normalised images to logits, on the CPU; ``card`` is the model card.

    Raises:
        CheckpointError: The file is missing or not of this kind.
        UserError: An unknown suffix, or a ``.pt2`` without ``trust``.
    """
    path = local_path(path)
    readers = {'.safetensors': _load_safetensors, '.onnx': _load_onnx, '.pt2': _load_torch_export}
    if path.suffix not in readers:
        raise UserError(f'{path}: unknown suffix. Exported files are {", ".join(readers)}.')
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist.')
    if path.suffix == '.pt2' and not trust:
        raise UserError(f'{path}: reading a torch.export file can run code from it. If you trust its source, '
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
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    card = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    return ExportedModel(
        lambda images: torch.from_numpy(session.run(['logits'], dict(images=images.cpu().numpy()))[0]),
        card)


def _load_torch_export(path: Path) -> ExportedModel:
    extra = {CARD_FILE: ''}
    module = torch.export.load(path, extra_files=extra).module()
    return ExportedModel(lambda images: module(images.cpu()), json.loads(extra[CARD_FILE]))


def _load_safetensors(path: Path) -> ExportedModel:
    with safe_open(path, 'pt') as file:
        card = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    if 'model_config' not in card:
        raise CheckpointError(f'{path} has no model card, so it holds weights only: give it to init_model '
                              'with the config that it belongs to.')
    config = without_sources(card['model_config'])
    check_architecture(config, scope_of(card), path)
    with building(card):
        model = revert_sync_batchnorm(MODELS.build(Config(config)))
    load_weights(model, path)
    network = LogitsNetwork(model).eval()
    return ExportedModel(lambda images: network(images.cpu()), card)
