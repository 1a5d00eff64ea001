"""Graphs of a network, by torch.export, and their translation to ONNX."""
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn
from torch.export import ExportedProgram

from mmwhitebox.errors import UserError

from .agreement import reason_of
from .networks import LogitsNetwork
from .processing import ProcessingNetwork
from .solve import solve_by_products

DEFAULT_OPSET = 18
OPSETS = range(18, 26)
"""Versions of ONNX's operators that torch can write, each of them."""


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


def trace(network: LogitsNetwork | ProcessingNetwork, images: Tensor, dynamic: bool) -> ExportedProgram:
    """The graph of a network by ``torch.export``, for the shape of some images or for any.

    With processing, sizes are rounded up inside. torch cannot prove all that it has to know of them: it asserts it
    when the graph runs.

    Raises:
        UserError: The network has no such graph.
    """
    try:
        with torch.no_grad(), plain_operators(network):
            return torch.export.export(
                network, (images, ), dynamic_shapes=dict(images=network.free_dimensions()) if dynamic else None,
                strict=False, prefer_deferred_runtime_asserts_over_guards=isinstance(network, ProcessingNetwork))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        way_out = ' Without --dynamic it may have one.' if dynamic else ''
        raise UserError(f'The model has no graph for {"any" if dynamic else "this"} image size: '
                        f'{reason_of(error)}.{way_out}') from error


def to_onnx(program: ExportedProgram, output: str, opset: int = DEFAULT_OPSET) -> 'torch.onnx.ONNXProgram':
    """Translate a graph to ONNX: its input is ``images``.

    Args:
        program (ExportedProgram): From :func:`trace`.
        output (str): Name of its output.
        opset (int): Version of ONNX's operators, one of :data:`OPSETS`. Defaults to 18.

    Raises:
        UserError: ONNX has no operator for a part of it, which is named.
    """
    program = program.run_decompositions({torch.ops.aten.linalg_solve_ex.default: solve_by_products})
    try:
        onnx_program = torch.onnx.export(
            program, dynamo=True, opset_version=opset, input_names=['images'], output_names=[output], verbose=False)
    except torch.onnx.OnnxExporterError as error:
        missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
        reason = f'ONNX has no operator for {missing.group(1)}' if missing else reason_of(error)
        raise UserError(f'The model cannot be written as ONNX: {reason}. --format torch-export may hold '
                        'it.') from error
    assert onnx_program is not None  # torch gives None only of programs that it was told to write itself
    pictures = ('batch', 'height', 'width')
    of_logits = ('batch', 'channels', 'height', 'width')
    names = dict(images=of_logits if output == 'logits' else pictures, logits=of_logits, labels=pictures,
                 scores=pictures)
    for value in (*onnx_program.model.graph.inputs, *onnx_program.model.graph.outputs):
        for axis, name in zip(range(len(value.shape)), names[value.name]):
            if not isinstance(value.shape[axis], int):
                value.shape[axis] = name
    return onnx_program


def check_onnx(path: Path, opset: int) -> None:
    """Check a file by ONNX's own checker, and that its operators are of one version of ONNX's, and no others.

    Raises:
        UserError: It is not so.
    """
    import onnx
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f'The ONNX file is not valid: {reason_of(error)}. The file was not kept.') from error
    model = onnx.load(path, load_external_data=False)
    versions = {entry.domain or 'ai.onnx': entry.version for entry in model.opset_import}
    if versions != {'ai.onnx': opset}:
        found = ', '.join(f'{domain} {version}' for domain, version in versions.items())
        raise UserError(f'The ONNX file needs operators of {found}, not of ai.onnx {opset} alone. The file was not '
                        'kept.')


def need_onnx() -> None:
    """Raise a UserError unless the packages of the extra ``export`` are installed."""
    needed = ('onnx', 'onnxscript', 'onnxruntime')
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'--format onnx needs {", ".join(missing)}: pip install "mmwhitebox[export]"')
