"""The model card of an exported file: all that a user of the file has to know, as plain values."""
import copy
import hashlib
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

import mmwhitebox
from mmwhitebox.interpret import count_flops, count_parameters

from ..data import scope_of
from ..pipeline import InferencePipeline
from .networks import LogitsNetwork, patch_size


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


def metadata(card: dict) -> dict:
    """A card as strings for the metadata of a file: every value is JSON."""
    return {key: json.dumps(value) for key, value in card.items()}
