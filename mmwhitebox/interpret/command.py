"""What the analysis commands share: arguments, the model, its input images, and what they write."""
import argparse
import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from mmwhitebox.apis import init_model
from mmwhitebox.apis.data import evaluation_split, scope_of
from mmwhitebox.apis.inference import test_pipeline
from mmwhitebox.apis.sources import named_images
from mmwhitebox.apis.viewable import read_viewable, viewable
from mmwhitebox.datasets import check_datasets
from mmwhitebox.datasets.output_names import dataset_names
from mmwhitebox.engine.launch import check_device, load_config
from mmwhitebox.errors import NotApplicableError, UserError

from .arguments import build_parser  # noqa: F401
from .capture import attention_layers
from .coding_rate import compression_layers
from .subspaces import subspace_layers

DPI = 160


class Input(NamedTuple):
    """One image, as the model takes it and as a person sees it.

    Attributes:
        name (str): Its path below the folder given, or the data set's, without suffix; unique within a run.
        tensor (Tensor): Preprocessed image, (1, 3, H, W), on the model's device.
        image (np.ndarray): The original, (h, w, 3) uint8 RGB.
        sample (BaseDataElement): Its data sample. ``img_shape`` is the size (H', W') of the image within the
            tensor, whose padding is at the right and the bottom. It has a ground truth (``gt_sem_seg``,
            ``gt_label``) if the image comes from the dataset, and none if it was given as a file.
    """

    name: str
    tensor: Tensor
    image: np.ndarray
    sample: BaseDataElement


def open_model(args: argparse.Namespace,
               config: str | None = None,
               checkpoint: str | None = None) -> BaseModel:
    """The model that a command was asked for, in evaluation mode; creates the output folder.

    Args:
        args (argparse.Namespace): From :func:`build_parser`.
        config (str, optional): Another config than ``args.config``.
        checkpoint (str, optional): Another checkpoint than ``args.checkpoint``.

    Raises:
        UserError: No such config, a checkpoint that is missing, broken or of another model, a device that
            is not there, an output folder that cannot be made.
    """
    check_device(args.device)
    make_folder(args.out)
    cfg = load_config(config or args.config, args.cfg_options, None, 'none')
    checkpoint = checkpoint or args.checkpoint
    if not Path(checkpoint).is_file():
        raise UserError(f'Checkpoint {checkpoint} does not exist.')
    return init_model(cfg, checkpoint, args.device, trust_checkpoint=args.trust_checkpoint)


def make_folder(path: str | Path) -> Path:
    """Create a folder, unless it is there.

    Raises:
        UserError: It cannot be created.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out {path}: the folder cannot be created ({error.strerror}).') from error
    return Path(path)


def iter_inputs(model: BaseModel, args: argparse.Namespace) -> Iterator[Input]:
    """Images for the model one at a time, of any sizes, with a progress bar.

    Those of ``args.images``; if there are none, the test dataset of the config.

    Args:
        model (BaseModel): From :func:`open_model`.
        args (argparse.Namespace): From :func:`build_parser`: ``images`` and ``max_images`` are read.

    Yields:
        Input: Unpacks as (name, tensor, image, sample).

    Raises:
        UserError: Nothing is there, an image cannot be read, the dataset is not where the config says,
            ``--max-images`` is no positive number.
    """
    if args.max_images is not None and args.max_images < 1:
        raise UserError(f'--max-images {args.max_images}: give a positive number.')
    items, load = _files(model, args.images) if args.images else _dataset(model)
    if args.max_images is not None and args.max_images < len(items):
        items = [items[i * len(items) // args.max_images] for i in range(args.max_images)]
    for item in track(items, description='images', console=Console(stderr=True)):
        packed, source, name = load(item)
        if isinstance(source, (str, Path)):
            image = read_viewable(source, packed['data_samples'].ori_shape)[..., ::-1]
        else:
            image = viewable(packed['inputs'].permute(1, 2, 0).numpy())[..., ::-1]
        batch = model.data_preprocessor(
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
        yield Input(name, batch['inputs'], np.ascontiguousarray(image), packed['data_samples'])


def _files(model: BaseModel, images: Sequence[str]) -> tuple:
    """(path, name of the outputs) of each image, and a function from that to (packed input, path, name)."""
    pipeline, pairs = test_pipeline(model.cfg), named_images(images)
    return pairs, lambda pair: (pipeline(pair[0]), *pair)


def _dataset(model: BaseModel) -> tuple:
    """Indices of the test dataset, and a function index -> (packed input, path or None, name of the outputs)."""
    split = evaluation_split(model.cfg)
    if split is None:
        raise NotApplicableError('The config has no test or validation dataset: give images.')
    check_datasets(model.cfg, (split, ))
    with DATASETS.switch_scope_and_registry(scope_of(model.cfg)) as registry:
        dataset = registry.build(model.cfg[f'{split}_dataloader'].dataset)

    def load(index: int) -> tuple:
        packed = dataset[index]
        path = packed['data_samples'].metainfo.get('img_path')
        return packed, path, names.get(path, f'{index:05d}')

    names = dataset_names(dataset)
    return list(range(len(dataset))), load


def select(wanted: str | None, count: int, option: str, what: str) -> list[int]:
    """Indices that ``--layers`` or ``--heads`` name.

    Args:
        wanted (str, optional): Indices and ranges, '0-3,7'; a negative index counts from the last.
            None names all.
        count (int): How many there are.
        option (str): Name of the option, '--layers'.
        what (str): What is counted, for the message: 'attention layers'.

    Returns:
        list[int]: In rising order, each once.

    Raises:
        UserError: Not of that form, or out of range.
    """
    if wanted is None:
        return list(range(count))
    chosen = set()
    for part in wanted.split(','):
        first, dash, last = part.strip().rpartition('-')
        try:
            # '3' and '-1' have nothing before the dash, '0-3' has.
            start, stop = (int(first), int(last)) if first else (int(part), int(part))
        except ValueError:
            raise UserError(f'{option} {wanted}: give indices and ranges, e.g. 0-3,7 or -1.') from None
        if not all(-count <= index < count for index in (start, stop)):
            raise UserError(f'{option} {wanted}: there are {count} {what}, 0 to {count - 1}.')
        if start % count > stop % count:
            raise UserError(f'{option} {wanted}: the range {part.strip()} is empty.')
        chosen.update(range(start % count, stop % count + 1))
    return sorted(chosen)


def commands_for(model: nn.Module) -> list[str]:
    """Names of the analysis commands whose notion a model has."""
    attentions = attention_layers(model).values()
    notions = {
        'coding_rate': bool(compression_layers(model)),
        'rate_reduction': any(hasattr(a, 'tokens_and_representatives') for a in attentions),
        'attention_map': any(not hasattr(a, 'membership') for a in attentions),
        'membership': any(hasattr(a, 'membership') for a in attentions),
        'subspaces': bool(subspace_layers(model)),
        'perturbation': bool(attentions),
    }
    return ['complexity', *(name for name, there in notions.items() if there)]


def require(found: Any, what: str, commands: Sequence[str]) -> None:
    """Raise unless the model has what a command looks at.

    Args:
        found (Any): What was found; empty or False means nothing.
        what (str): What the command needs, to complete 'This model has no ...'.
        commands (Sequence[str]): Commands that do apply, from :func:`commands_for`.

    Raises:
        NotApplicableError: ``found`` is empty.
    """
    if not found:
        raise NotApplicableError(f'This model has no {what}. Commands that apply to it: {", ".join(commands)}.')


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
    json_file, csv_file = (make_folder(out) / f'{name}{suffix}' for suffix in ('.json', '.csv'))
    json_file.write_text(json.dumps(rows, indent=1, allow_nan=False) + '\n')
    with open(csv_file, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
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
    make_folder(png.parent)
    figure.savefig(png, dpi=DPI, bbox_inches='tight')
    figure.savefig(Path(out) / f'{name}.pdf', bbox_inches='tight')
    return png
