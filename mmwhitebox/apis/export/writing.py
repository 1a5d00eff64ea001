"""Writing a trained model as a file for deployment, after comparing it with the model."""
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from safetensors.torch import save

from mmwhitebox.errors import UserError
from mmwhitebox.models.optimization import optimize

from ..inference import init_model
from .agreement import TOLERANCE, measure_agreement
from .aot import compile_package, package_with_card
from .card import CARD_FILE, metadata, model_card
from .graph import DEFAULT_OPSET, OPSETS, check_onnx, need_onnx, to_onnx, trace
from .networks import LogitsNetwork, Size, default_size, in_precision
from .processing import ProcessingNetwork
from .reading import load_exported

SUFFIXES = {'safetensors': '.safetensors', 'onnx': '.onnx', 'torch-export': '.pt2', 'aot': '.pt2'}


def export_model(config: str | Path | Config,
                 checkpoint: str | Path,
                 out: str | Path,
                 file_format: str,
                 size: Size | None = None,
                 dynamic: bool = False,
                 batch: int | None = None,
                 trust_checkpoint: bool = False,
                 processing: bool = False,
                 opset: int | None = None,
                 dtype: str = 'float32',
                 optimized: bool = True) -> dict:
    """Write a trained model as a file for deployment, with its card, after comparing it with the model.

    ======================  =========================================================================
    'safetensors'           the weights; the config in the card rebuilds the model. Any image size.
    'onnx'                  the graph; checked by ONNX's checker and compared with onnxruntime
    'torch-export'          the graph, for ``torch.export.load``
    'aot'                   the graph, compiled for this kind of machine: ``torch._inductor.aoti_load_package``
    ======================  =========================================================================

    Args:
        config (str | Path | Config): Config of a segmentor or a classifier.
        checkpoint (str | Path): Checkpoint of that config.
        out (str | Path): Output file, ``.safetensors``, ``.onnx`` or ``.pt2`` as the format is.
        file_format (str): See above.
        size (tuple[int, int], optional): Image size (H, W), a multiple of the patch unless ``processing``. Defaults
            to the config's crop or the size of its position table.
        dynamic (bool): Batch, height and width of the graph's images are free: any multiple of the patch, from two
            patches on; with ``processing`` any size above one patch. Defaults to False.
        batch (int, optional): Images in a batch of a graph that is not dynamic. Defaults to 1.
        trust_checkpoint (bool): Unpickle whatever the checkpoint holds, which can run code. Defaults to False.
        processing (bool): The graph takes pictures, (B, H, W, 3) uint8 RGB, and gives label maps (B, H, W) or
            scores (B, C), see :class:`ProcessingNetwork`. Defaults to False.
        opset (int, optional): Version of ONNX's operators, 18 to 25. Defaults to 18.
        dtype (str): Of the weights, 'float32', 'float16' or 'bfloat16'; images and logits stay float32, and what
            the model computes in float32 whatever its type is. Defaults to 'float32'.
        optimized (bool): A graph is that of the equal network of :func:`~mmwhitebox.models.optimization.optimize`.
            Defaults to True.

    Returns:
        dict: The model card, also written to ``OUT.json``.

    Raises:
        UserError: Unknown format or suffix, wrong size, no such graph, or the file does not agree with the
            model. Nothing is written then.
        CheckpointError: The checkpoint is missing, broken, or of another model.
    """
    out, checkpoint = Path(out), Path(checkpoint)
    check_request(out, file_format, dynamic, batch, processing, opset, dtype)
    model = init_model(config, str(checkpoint), device='cpu', trust_checkpoint=trust_checkpoint)
    network = (ProcessingNetwork if processing else LogitsNetwork)(model)
    height, width = size or default_size(model.cfg)
    size = height, width
    dynamic = dynamic or file_format == 'safetensors'
    sizes = network.sizes_to_compare(size, dynamic)
    cases = list(zip((1, 3), sizes)) if dynamic else [(batch or 1, size)]
    if file_format == 'onnx':
        opset = opset or DEFAULT_OPSET
    card = model_card(network, checkpoint, size, format=file_format, dtype=dtype, dynamic=dynamic,
                      batch_size=None if dynamic else batch or 1, **(dict(opset=opset) if opset else {}))
    graph = file_format != 'safetensors'
    source = optimize(model) if graph and optimized else model
    exported = type(network)(source if dtype == 'float32' else in_precision(source, dtype))
    if not graph:
        write = weights_writer(exported.model)
    else:
        program = trace(exported, network.random_images(2 if dynamic else batch or 1, sizes[-1]), dynamic)
        write = graph_writer(program, file_format, network.output, opset)
    with draft_of(out) as draft:
        write(draft, card)
        if opset:
            check_onnx(draft, opset)
        card['agreement'] = measure_agreement(network, load_exported(draft, trust=True), cases, dtype)
        write(draft, card)
        keep(draft, out, card)
    return card


@contextmanager
def draft_of(out: Path) -> Iterator[Path]:
    """A context with a path, in a folder of its own beside ``out``, for a file that :func:`keep` may put there.

    Raises:
        UserError: It cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.export_', dir=out.parent) as folder:
            yield Path(folder) / out.name
    except UserError:
        raise
    except OSError as error:
        raise UserError(f'{out} cannot be written ({error.strerror or error}).') from error


def keep(draft: Path, out: Path, card: dict) -> None:
    """Put a draft and its card in their places."""
    card_draft = Path(f'{draft}.json')
    card_draft.write_text(json.dumps(card, indent=1) + '\n')
    draft.replace(out)
    card_draft.replace(f'{out}.json')


def check_request(out: Path, file_format: str, dynamic: bool, batch: int | None, processing: bool,
                  opset: int | None, dtype: str) -> None:
    """Refuse what is asked for, before the model is built, if there is no such thing.

    Raises:
        UserError: There is not.
    """
    if file_format not in SUFFIXES:
        raise UserError(f'Unknown format {file_format!r}. Formats: {", ".join(SUFFIXES)}.')
    if out.suffix != SUFFIXES[file_format]:
        raise UserError(f'{out}: a file of format {file_format} is called *{SUFFIXES[file_format]}.')
    for path in (out, Path(f'{out}.json')):
        if path.is_dir():
            raise UserError(f'{path} is a folder, so no file of that name can be written.')
    if dtype not in TOLERANCE:
        raise UserError(f'Unknown type {dtype!r} of the weights. Types: {", ".join(TOLERANCE)}.')
    if batch is not None and batch < 1:
        raise UserError(f'The batch size must be positive, got {batch}.')
    if batch is not None and dynamic:
        raise UserError('A dynamic graph takes any batch: leave --batch out.')
    if processing and file_format == 'safetensors':
        raise UserError('A file of safetensors holds weights, no graph that processing could be part of: leave '
                        '--with-processing out.')
    if opset is not None and file_format != 'onnx':
        raise UserError(f'--opset is of ONNX, not of --format {file_format}.')
    if opset is not None and opset not in OPSETS:
        raise UserError(f'--opset {opset} cannot be written: give {OPSETS[0]} to {OPSETS[-1]}.')
    if file_format != 'onnx':
        return
    if dtype == 'bfloat16':
        raise UserError('onnxruntime has no operators of bfloat16 for a CPU, so the file could not be compared with '
                        'the model: take --dtype float16, or --format torch-export or aot.')
    need_onnx()


def weights_writer(model: torch.nn.Module) -> Callable[[Path, dict], object]:
    """How the weights of a model are written with a card."""
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    return lambda path, card: path.write_bytes(save(weights, metadata(card)))


def graph_writer(program: torch.export.ExportedProgram, file_format: str, output: str,
                 opset: int | None) -> Callable[[Path, dict], object]:
    """How a graph is written with a card."""
    if file_format == 'torch-export':
        def write_program(path: Path, card: dict) -> None:
            memory = io.BytesIO()  # torch's own writer ends the process where a disk is full
            torch.export.save(program, memory, extra_files={CARD_FILE: json.dumps(card)})
            path.write_bytes(memory.getbuffer())

        return write_program
    if file_format == 'aot':
        package = compile_package(program)
        return lambda path, card: path.write_bytes(package_with_card(package, card))
    onnx_program = to_onnx(program, output, opset)

    def write(path: Path, card: dict) -> None:
        onnx_program.model.metadata_props.update(metadata(card))
        onnx_program.save(path, external_data=False)

    return write
