"""The model card of an exported file: all that a user of the file has to know, as plain values."""
import copy
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

import mmwhitebox
from mmwhitebox.checkpoints.download import sha256_of
from mmwhitebox.interpret import count_flops, count_parameters

from ..data import scope_of
from ..pipeline import InferencePipeline
from .networks import LogitsNetwork, Size, in_channels, patch_size
from .processing import ProcessingNetwork, takes_rgb

CARD_FILE = 'model_card.json'
"""The card within an archive."""
AFTER = dict(
    labels='labels have the size of the images after "before"; mmwhitebox infer enlarges the logits instead, '
    'bilinearly, to the size before it',
    scores='nothing')


def normalization(preprocessor: nn.Module, channels: int = 3) -> dict:
    """``mean``, ``std`` and ``channel_order`` of the images that a data preprocessor gives to the network."""
    values = (getattr(preprocessor, key, torch.tensor(default)) for key, default in (('mean', 0.), ('std', 1.)))
    mean, std = ([float(f'{v:.7g}') for v in value.flatten().expand(channels)] for value in values)
    order = 'of the files' if channels != 3 else 'RGB' if takes_rgb(preprocessor) else 'BGR'
    return dict(mean=mean, std=std, channel_order=order)


def pixel_range(pipeline: InferencePipeline | None) -> str:
    """In words: what pixels the loading step of a test pipeline gives."""
    value_range = getattr(pipeline and pipeline.loader, 'value_range', None)
    if value_range is not None:
        return f'(value - {value_range[0]}) * 255 / ({value_range[1]} - {value_range[0]}) of the values of files'
    if pipeline is None or pipeline.reads_bytes:
        return 'from 0 to 255'
    return 'as the first step of "pipeline" gives them'


def model_name(cfg: Config) -> str:
    """Encoder and head in words, e.g. 'WhiteBoxTransformer cbt-small + LinearClsHead'."""
    backbone = cfg.model.backbone
    kind = backbone.get('model_name') or backbone.get('arch')
    head = cfg.model.get('decode_head') or cfg.model.head
    names = [part.type.rpartition('.')[2] for part in (backbone, head)]
    if isinstance(kind, str):
        names[0] += f' {kind}'
    return ' + '.join(names)


def model_card(network: LogitsNetwork | ProcessingNetwork, checkpoint: Path, size: Size,
               **described: Any) -> dict:
    """All that a user of the file has to know, as plain values; ``agreement`` comes when it is measured.

    Args:
        network (LogitsNetwork | ProcessingNetwork): In float32.
        checkpoint (Path): Its checkpoint.
        size (tuple[int, int]): Size of the images that the FLOPs are counted for.
        described (Any): More entries: format, dtype, opset, ...
    """
    model = network.model
    cfg = model.cfg
    image = torch.empty(1, in_channels(model), *size, device='meta')
    return dict(
        model=model_name(cfg),
        config=Path(cfg.filename).stem if cfg.filename else None,
        task='segmentation' if hasattr(model, 'decode_head') else 'classification',
        **json.loads(json.dumps(model.dataset_meta)),  # classes, palette, what is shown
        **normalization(model.data_preprocessor, in_channels(model)),
        **interface(network),
        input_size=list(size),
        size_multiple_of=list(patch_size(model.backbone)) if network.output == 'logits' else [1, 1],
        parameters=count_parameters(model),
        flops=count_flops(LogitsNetwork(copy.deepcopy(model)).to('meta'), image),
        mmwhitebox=mmwhitebox.__version__,
        torch=torch.__version__,
        source_checkpoint=checkpoint.name,
        source_sha256=sha256_of(checkpoint),
        default_scope=scope_of(cfg),
        model_config=cfg.model.to_dict(),
        **described)


def interface(network: LogitsNetwork | ProcessingNetwork) -> dict:
    """What goes in and what comes out, in words, and the steps of the test pipeline."""
    model = network.model
    pipeline = model.test_pipeline and json.loads(json.dumps(
        model.test_pipeline.steps, default=lambda value: getattr(value, '__name__', str(value))))
    if isinstance(network, ProcessingNetwork):
        order = 'RGB' if network.channels == 3 else 'of the files'
        outputs = dict(labels='labels: int64 (B, H, W)', scores='scores: float32 (B, classes), softmax')
        return dict(
            input=f'images: uint8 (B, H, W, {network.channels}), pixels from 0 to 255, channels {order}',
            output=outputs[network.output],
            processing=True,
            before=pipeline[1:-1],
            pipeline=pipeline,
            inference='each image as a whole',
            after=AFTER[network.output])
    return dict(
        input='images: float32 (B, C, H, W), (pixel - mean) / std with pixels ' + pixel_range(model.test_pipeline),
        padding='zeros at the right and the bottom up to size_multiple_of, whose logits are cut off',
        output='logits: float32 ' + ('(B, classes, H, W)' if hasattr(model, 'decode_head') else '(B, classes)'),
        processing=False,
        pipeline=pipeline)


def metadata(card: dict) -> dict:
    """A card as strings for the metadata of a file: every value is JSON."""
    return {key: json.dumps(value) for key, value in card.items()}
