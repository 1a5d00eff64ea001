"""Graphs compiled ahead of time by AOTInductor."""
import io
import json
import tempfile
import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from mmwhitebox.errors import UserError

from .agreement import reason_of
from .card import CARD_FILE


def compile_package(program: ExportedProgram) -> bytes:
    """A graph as a ``.pt2`` package of machine code, for machines of this kind.

    Raises:
        UserError: It cannot be compiled here.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.pt2'
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        except Exception as error:  # of the code generator or of the C++ compiler, each with its own types
            raise UserError(f'The graph cannot be compiled here: {reason_of(error)}. It needs a C++ compiler (g++); '
                            '--format torch-export needs none.') from error
        return path.read_bytes()


def package_with_card(package: bytes, card: dict) -> bytes:
    """A package with the model card, as the extra file that ``torch.export.save`` would make of it."""
    file = io.BytesIO(package)
    with zipfile.ZipFile(file, 'a') as archive:
        root = archive.namelist()[0].partition('/')[0]
        archive.writestr(f'{root}/extra/{CARD_FILE}', json.dumps(card))
    return file.getvalue()
