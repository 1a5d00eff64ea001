"""The model of a measure, and its input images."""
import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mmwhitebox.apis import init_model
from mmwhitebox.apis.data import evaluation_split, scope_of
from mmwhitebox.apis.inference import test_pipeline
from mmwhitebox.apis.sources import named_images
from mmwhitebox.config.reading import load_model_config
from mmwhitebox.datasets import check_datasets
from mmwhitebox.datasets.output_names import dataset_names
from mmwhitebox.datasets.viewable import read_viewable, viewable_input
from mmwhitebox.engine.devices import check_device
from mmwhitebox.engine.work_dir import prepare_folder
from mmwhitebox.errors import NotApplicableError, UserError
from mmwhitebox.interpret.capture import capture
from mmwhitebox.models.access import logits, preprocessed


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
        args (argparse.Namespace): Of the command.
        config (str, optional): Another config than ``args.config``.
        checkpoint (str, optional): Another checkpoint than ``args.checkpoint``.

    Raises:
        UserError: No such config, a checkpoint that is missing, broken or of another model, a device that
            is not there, an output folder that cannot be made.
    """
    check_device(args.device)
    prepare_folder(args.out)
    cfg = load_model_config(config or args.config, args.cfg_options)
    checkpoint = checkpoint or args.checkpoint
    if not Path(checkpoint).is_file():
        raise UserError(f'Checkpoint {checkpoint} does not exist.')
    return init_model(cfg, checkpoint, args.device, trust_checkpoint=args.trust_checkpoint)


def iter_inputs(model: BaseModel, args: argparse.Namespace) -> Iterator[Input]:
    """Images for the model one at a time, of any sizes, with a progress bar.

    Those of ``args.images``; if there are none, the test dataset of the config.

    Args:
        model (BaseModel): From :func:`open_model`.
        args (argparse.Namespace): Of the command: ``images`` and ``max_images`` are read.

    Yields:
        Input: Unpacks as (name, tensor, image, sample).

    Raises:
        UserError: Nothing is there, an image cannot be read, the dataset is not where the config says.
    """
    items, load = _files(model, args.images) if args.images else _dataset(model)
    if args.max_images is not None and args.max_images < len(items):
        items = [items[i * len(items) // args.max_images] for i in range(args.max_images)]
    shown = model.dataset_meta.get('shown')
    for item in track(items, description='images', console=Console(stderr=True)):
        packed, source, name = load(item)
        if isinstance(source, (str, Path)):
            image = read_viewable(source, packed['data_samples'].ori_shape, shown).image
        else:
            image = viewable_input(packed['inputs'].numpy(), shown).image
        tensor = preprocessed(model, [packed['inputs']], [packed['data_samples']])['inputs']
        yield Input(name, tensor, np.ascontiguousarray(image), packed['data_samples'])


def run_on_inputs(model: BaseModel, args: argparse.Namespace, readings: Any) -> None:
    """Run the model on the images of :func:`iter_inputs`; ``readings.update`` takes what ``readings.modules`` did."""
    for item in iter_inputs(model, args):
        with capture(readings.modules) as calls:
            logits(model, item.tensor)
        readings.update(calls)


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
