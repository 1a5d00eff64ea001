"""Graphs of a network, by torch.export, and their translation to ONNX."""
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.layers import PatchEmbed
from torch import nn
from torch.export import Dim, ExportedProgram

from mmwhitebox.errors import UserError

from .agreement import reason_of
from .networks import LogitsNetwork

ONNX_OPSET = 18


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
