"""Inference on images: segmentation and classification, with checked weights and ready results."""
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.visualization import Visualizer
from mmseg.apis import MMSegInferencer
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwhitebox.checkpoints import load_weights
from mmwhitebox.config.names import config_file
from mmwhitebox.config.own_data import fill_own_data
from mmwhitebox.datasets import LoadImage
from mmwhitebox.engine.devices import autocast_dtype, check_device
from mmwhitebox.errors import ImageReadError, ImageSizeError, UserError
from mmwhitebox.models.access import adopt_teacher
from mmwhitebox.registry import INFERENCERS

from .ahead import map_ahead
from .allotment import built
from .data import building, describe_data, pipeline_of
from .inputs import SINGLE, ImageType, images_of, local_path, prepared
from .pipeline import InferencePipeline
from .result import ClsResult, SegResult
from .sources import list_images

Result = SegResult | ClsResult


def test_pipeline(cfg: Config) -> InferencePipeline:
    """The pipeline that testing runs, without annotations; it takes a path or an array.

    Raises:
        UserError: The config has no such pipeline.
    """
    steps = pipeline_of(cfg)
    if not steps:
        raise UserError(f'{cfg.filename or "The config"} has neither a test_dataloader nor a val_dataloader nor a '
                        'test_pipeline, so it does not say how images are prepared: set test_pipeline.')
    with building(cfg):
        return InferencePipeline(copy.deepcopy(steps))


def init_model(config: str | Path | Config,
               checkpoint: str | None = None,
               device: str | None = None,
               cfg_options: dict | None = None,
               trust_checkpoint: bool = False,
               precision: str = 'fp32') -> BaseModel:
    """Build a segmentor or a classifier in evaluation mode, with weights.

    Args:
        config (str | Path | Config): Config file, a name of :func:`list_models`, or a config.
        checkpoint (str, optional): Checkpoint of that config; every key and shape must fit. None leaves
            the model as initialised.
        device (str, optional): 'cpu', 'cuda:0', ... Defaults to a GPU if there is one.
        cfg_options (dict, optional): Overrides of config keys, e.g. ``{'model.test_cfg.mode': 'whole'}``.
        trust_checkpoint (bool): Unpickle whatever the file holds, which can run code. Defaults to False.
        precision (str): 'bf16' and 'fp16' (GPU only) run the network under autocast when this module's
            functions use the model; weights and results stay float32. Defaults to 'fp32'.

    Returns:
        BaseModel: The model, with ``cfg``, ``dataset_meta`` (class names and, of a segmentor, the palette),
        ``checkpoint`` (as given) and ``checkpoint_meta`` (its ``meta``). mmpretrain's ``inference_model`` and
        ``ImageClassificationInferencer`` take the classifier as it is. A segmentor keeps what
        :attr:`SegResult.probabilities` needs, unless ``test_cfg.keep_logits`` says otherwise.

    Raises:
        CheckpointError: The checkpoint is missing, broken, or of another model.
        UserError: There is no such device, or no such precision on it.
    """
    check_device(device, 'device')
    device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    dtype = autocast_dtype(precision, torch.device(device).type)
    cfg = copy.deepcopy(config) if isinstance(config, Config) else Config.fromfile(config_file(config))
    cfg.merge_from_dict(cfg_options or {})
    fill_own_data(cfg)
    if 'train_cfg' in cfg.model:
        cfg.model.train_cfg = None
    if 'decode_head' in cfg.model:
        if cfg.model.get('test_cfg') is None:
            cfg.model.test_cfg = ConfigDict(mode='whole')
        cfg.model.test_cfg.setdefault('keep_logits', 'factors')
    model = built(cfg)
    meta = load_weights(model, checkpoint, trust_checkpoint) if checkpoint else {}
    adopt_teacher(model)
    model.dataset_meta = describe_data(cfg, meta).meta
    model.cfg = cfg
    model.checkpoint, model.checkpoint_meta = checkpoint, meta
    model.test_pipeline = test_pipeline(cfg) if pipeline_of(cfg) else None
    model._config, model._dataset_meta = cfg, model.dataset_meta  # mmpretrain's names for them
    if 'head' in cfg.model:
        model._metainfo = SimpleNamespace(results=[SimpleNamespace(task='Image Classification')])
    model.inference_dtype = dtype
    model.to(device).eval()
    return model


def network_precision(model: BaseModel) -> AbstractContextManager:
    """The context in which a model of :func:`init_model` runs: autocast, if its precision is not fp32."""
    dtype = getattr(model, 'inference_dtype', torch.float32)
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype)


def iter_inference(
        model: BaseModel,
        images: Iterable[ImageType],
        batch_size: int = 1,
        on_error: Callable[[ImageType, Exception], None] | None = None,
        rgb: bool = False,
        workers: int = 0
) -> Iterator[tuple[ImageType, Result]]:
    """Segment or classify images one batch at a time; only one batch is in memory, and what ``workers`` read ahead.

    Args:
        model (BaseModel): From :func:`init_model`.
        images (Iterable): Paths, arrays, PIL images or bytes of image files. An array is (H, W, C) in BGR order,
            of the type and the channels that the config's pipeline gives to the model: uint8 and 3, unless it says
            otherwise. With ``own_data.channels`` it holds the values of files, of other than 3 channels in their
            order.
        batch_size (int): Consecutive images of one size (as the model gets them) share a forward pass.
            Defaults to 1.
        on_error (Callable, optional): Called with an unreadable image and its error, which is then
            skipped. None raises the error.
        rgb (bool): Arrays are in RGB order, with four channels in RGBA order. Defaults to False.
        workers (int): Threads that read and prepare the next images meanwhile, a few at a time. Defaults to 0, none.

    Yields:
        tuple[image, SegResult | ClsResult]: In the order of the input.

    Raises:
        UserError: What is given is no image or a single one, the model takes another number of channels, or
            ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise UserError(f'batch_size={batch_size}: give a positive number.')
    images = images_of(images)
    channels = model.cfg.model.backbone.get('in_channels', 3)
    pipeline = getattr(model, 'test_pipeline', None) or test_pipeline(model.cfg)
    if rgb and isinstance(pipeline.loader, LoadImage) and pipeline.loader.channels not in (None, 3):
        raise UserError(f'rgb=True is for images of three channels; this model takes {channels}, in the order of the '
                        'files.')
    waiting: list[tuple[ImageType, Path | np.ndarray | bytes, dict]] = []

    def flush() -> Iterator[tuple]:
        if waiting:
            data = dict(inputs=[item['inputs'] for *_, item in waiting],
                        data_samples=[item['data_samples'] for *_, item in waiting])
            try:
                with torch.inference_mode(), network_precision(model):
                    samples = model.test_step(data)
            except ImageSizeError as error:
                for image, source, _ in waiting:
                    named = source if isinstance(source, (str, Path)) else 'An image'
                    trouble = ImageReadError(f'{named}: too small or too narrow for the model ({error})')
                    if on_error is None:
                        raise trouble from error
                    on_error(image, trouble)
                waiting.clear()
                return
            except (RuntimeError, AssertionError, ValueError) as error:
                given, taken = len(data['inputs'][0]), channels
                if given == taken:
                    raise
                raise UserError(f"{given} channels come out of the config's test pipeline, the model takes {taken}: "
                                'the image is of another kind than those it was trained on, or the loading step '
                                '(color_type) makes it so.') from error
            for (image, source, _), sample in zip(waiting, samples):
                cls = SegResult if isinstance(sample, SegDataSample) else ClsResult
                yield image, cls.from_sample(sample, source, model.dataset_meta, model)
            waiting.clear()

    def load(image: ImageType) -> tuple | ImageReadError:
        try:
            source = prepared(image, rgb)
            return source, pipeline(source)
        except ImageReadError as error:
            return error

    for image, loaded in map_ahead(load, images, workers, ahead=batch_size + workers):
        if isinstance(loaded, ImageReadError):
            if on_error is None:
                raise loaded
            on_error(image, loaded)
            continue
        source, item = loaded
        if waiting and item['inputs'].shape != waiting[0][-1]['inputs'].shape:
            yield from flush()
        waiting.append((image, source, item))
        if len(waiting) == batch_size:
            yield from flush()
    yield from flush()


def inference_model(model: BaseModel,
                    img: ImageType | Sequence[ImageType],
                    batch_size: int = 1,
                    rgb: bool = False) -> Result | list[Result]:
    """Segment or classify an image, a list of images, a folder, or what a glob matches.

    Args:
        model (BaseModel): From :func:`init_model`.
        img (str | Path | np.ndarray | PIL.Image | bytes | Sequence): An image as :func:`iter_inference` takes it, a
            list of those, a folder of images, or a glob. Tensors and URLs are refused.
        batch_size (int): Consecutive images of one size share a forward pass. Defaults to 1.
        rgb (bool): Arrays are in RGB order; without it they are BGR, as OpenCV reads them. Defaults to False.

    Returns:
        SegResult | ClsResult | list: One result for one image, else a list.
    """
    single = isinstance(img, (*SINGLE, Tensor, dict)) or not isinstance(img, Iterable)
    if isinstance(img, (str, Path)):
        path = local_path(img)
        if path.is_dir() or (not path.is_file() and any(sign in str(img) for sign in '*?[')):
            img, single = list_images(img), False
    results = [result for _, result in iter_inference(model, [img] if single else img, batch_size, rgb=rgb)]
    return results[0] if single else results


@INFERENCERS.register_module()
class WhiteBoxSegInferencer(MMSegInferencer):
    """mmseg's inferencer: same arguments, exact weights, images of any mode, mixed sizes in a batch.

    With ``return_datasamples=True`` the results are :class:`SegResult`. ``model`` is a config file, a
    config, or a name of :func:`mmwhitebox.apis.list_models`.
    """

    def __init__(self, model: str | Path | Config, weights: str | None = None, **kwargs) -> None:
        cfg = model if isinstance(model, Config) else Config.fromfile(config_file(model))
        fill_own_data(cfg)
        super().__init__(cfg, weights, **kwargs)

    def _init_model(self, cfg: Config, weights: str | None, device: str = 'cpu') -> BaseModel:
        return init_model(Config(cfg) if not isinstance(cfg, Config) else cfg, weights, device)

    def _init_pipeline(self, cfg: Config) -> InferencePipeline:
        return test_pipeline(cfg)

    def _init_visualizer(self, cfg: Config) -> Visualizer | None:
        """A visualizer of its own name: a training in the same process would take over one named as in its config."""
        cfg.get('visualizer', {}).pop('name', None)
        return super()._init_visualizer(cfg)

    def _inputs_to_list(self, inputs) -> list:
        if isinstance(inputs, (str, Path)):
            return [str(path) for path in list_images(inputs)]
        inputs = [prepared(image) for image in ([inputs] if isinstance(inputs, SINGLE) else images_of(inputs))]
        return [str(image) if isinstance(image, Path) else image for image in inputs]

    def visualize(self, inputs: list, preds: list[SegResult], **kwargs) -> list[np.ndarray] | None:
        """mmseg's pictures; it takes arrays to be RGB, and no files in memory."""
        shown = [image if isinstance(image, str) else result.image for image, result in zip(inputs, preds)]
        return super().visualize(shown, preds, **kwargs)

    def preprocess(self, inputs: list, batch_size: int = 1, **kwargs) -> Iterator[list[tuple]]:
        """Batches of (image, prepared input)."""
        for start in range(0, len(inputs), batch_size):
            yield inputs[start:start + batch_size]

    def forward(self, inputs: list, **kwargs) -> list[Result]:
        """Segment one batch of images."""
        return [result for _, result in iter_inference(self.model, inputs, len(inputs))]
