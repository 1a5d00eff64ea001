"""What a measure writes: tables as JSON and CSV, figures as PNG and PDF."""
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmwhitebox.cli.predictions.tables import write_csv
from mmwhitebox.engine.work_dir import prepare_folder

DPI = 160


def save_numbers(rows: Iterable[dict], out: str | Path, name: str) -> tuple[Path, Path]:
    """Write a table as ``out/name.json`` (a list of objects) and ``out/name.csv``.

    Args:
        rows (Iterable[dict]): One dict a row; NumPy numbers are fine, nan and inf become null in the JSON.
        out (str | Path): Folder.
        name (str): File name without suffix.

    Returns:
        tuple[Path, Path]: The JSON and the CSV file.
    """
    rows = [{key: _plain(value) for key, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    json_file, csv_file = (prepare_folder(out) / f'{name}{suffix}' for suffix in ('.json', '.csv'))
    json_file.write_text(json.dumps(rows, indent=1, allow_nan=False) + '\n')
    write_csv(csv_file, columns, ([row.get(column) for column in columns] for row in rows))
    return json_file, csv_file


def _plain(value: Any) -> Any:
    """A JSON value of a number, an array or a tensor."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_figure(figure: Figure, out: str | Path, name: str) -> Path:
    """Write a figure as ``out/name.png`` and ``out/name.pdf``; returns the PNG file."""
    FigureCanvasAgg(figure)
    png = Path(out) / f'{name}.png'
    prepare_folder(png.parent)
    figure.savefig(png, dpi=DPI, bbox_inches='tight')
    figure.savefig(Path(out) / f'{name}.pdf', bbox_inches='tight')
    return png
