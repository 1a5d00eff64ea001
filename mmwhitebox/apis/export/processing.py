"""Pictures to labels: the network together with what comes before and after it."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Generator, Tensor, nn
from torch.export import Dim

from mmwhitebox.errors import UserError
from mmwhitebox.models.embeddings import ConvStem

from ..inference import iter_inference
from ..pipeline import InferencePipeline, name_of
from .networks import LogitsNetwork, Size, in_channels, patch_size


class ProcessingNetwork(nn.Module):
    """Pictures to label maps, or to the scores of the classes.

    What the data preprocessor does at test time is part of it: order of the channels, mean and std, padding. So are
    padding to whole patches, which is cut off again, and softmax or the largest class. Any height and width will do.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.

    Raises:
        UserError: The test pipeline reads something else than pixels from 0 to 255.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        pipeline = model.test_pipeline
        if pipeline is None or not pipeline.reads_bytes:
            reads = getattr(pipeline and pipeline.loader, 'value_range', None)
            first = 'is missing' if pipeline is None else (
                f'starts with {name_of(pipeline.loader)}' + (f' of values in {tuple(reads)}' if reads else ''))
            raise UserError('--with-processing needs a test pipeline that reads pixels from 0 to 255, and that of this '
                            f'config {first}. Without it the card says how images are normalised.')
        self.network = LogitsNetwork(model)
        preprocessor = model.data_preprocessor
        self.channels = in_channels(model)
        self.swaps = self.channels == 3 and not takes_rgb(preprocessor)
        self.least, self.divisor, self.fill = padding_at_test_time(preprocessor)
        self.patch = patch_size(model.backbone)
        rounds_up = any(isinstance(part, ConvStem) for part in model.backbone.modules())
        self.multiple = (1, 1) if rounds_up else self.patch
        self.output = 'labels' if hasattr(model, 'decode_head') else 'scores'
        if hasattr(preprocessor, 'mean'):
            self.register_buffer('mean', preprocessor.mean.clone(), persistent=False)
            self.register_buffer('std', preprocessor.std.clone(), persistent=False)

    @property
    def model(self) -> BaseModel:
        """The model inside."""
        return self.network.model

    def forward(self, images: Tensor) -> Tensor:
        """Label of every pixel, (B, H, W) int64, or the scores of the classes, (B, C).

        Args:
            images (Tensor): Pictures, (B, H, W, 3) uint8 in RGB order; of other than three channels as in the files.
        """
        height, width = images.shape[1:3]
        rows, columns = (self.padded(length, axis) for axis, length in enumerate((height, width)))
        x = images.permute(0, 3, 1, 2).contiguous()
        x = x.flip(1) if self.swaps else x
        # A gather in the place of torch's pad: it is known of its size that it is a whole number of patches.
        x = x[:, :, torch.arange(rows).clamp(max=height - 1)][..., torch.arange(columns).clamp(max=width - 1)].float()
        if hasattr(self, 'mean'):
            x = (x - self.mean) / self.std
        x = torch.where(within(x, height, width), x, self.fill)
        if self.fill:  # zeros beyond it
            x = torch.where(within(x, self.wanted(height, 0), self.wanted(width, 1)), x, 0.)
        logits = self.network(x)
        if self.output == 'scores':
            return logits.softmax(1)
        threshold = self.model.decode_head.threshold
        labels = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0].sigmoid() > threshold).long()
        return labels[:, torch.arange(height)][:, :, torch.arange(width)]

    def wanted(self, length: int, axis: int) -> int:
        """Rows or columns after the padding of the data preprocessor."""
        least: Any = torch.sym_max(length, self.least[axis]) if self.least[axis] else length
        return (least + self.divisor - 1) // self.divisor * self.divisor

    def padded(self, length: int, axis: int) -> int:
        """Rows or columns after all padding: whole patches, unless the encoder rounds up by itself."""
        multiple, wanted = self.multiple[axis], self.wanted(length, axis)
        return wanted if self.divisor % multiple == 0 else (wanted + multiple - 1) // multiple * multiple

    def random_images(self, batch: int, size: Size, generator: Generator | None = None) -> Tensor:
        """Images to trace and to compare with: blots of all colours."""
        blots = torch.rand(batch, self.channels, 5, 5, generator=generator)
        blots = F.interpolate(blots, size, mode='bicubic').clamp(0, 1)
        return (blots * 255).round().byte().permute(0, 2, 3, 1).contiguous()  # in memory as pictures are: aot keeps it

    def free_dimensions(self) -> dict[int, Dim]:
        """The dimensions of the images that a dynamic graph leaves open: any batch, more than a patch."""
        return {0: Dim('batch', min=1), **{axis: Dim(name, min=patch + 1) for axis, patch, name in
                                           zip((1, 2), self.patch, ('height', 'width'))}}

    def sizes_to_compare(self, size: Size, dynamic: bool) -> list[Size]:
        """The size and, of a dynamic graph, another one, neither square nor a whole number of patches.

        Raises:
            UserError: The size is too small.
        """
        least = [patch + dynamic for patch in self.patch]
        if size[0] < least[0] or size[1] < least[1]:
            raise UserError(f'The image size {size[0]} x {size[1]} is too small: the least is {least[0]} x {least[1]}.')
        other = max(size[0] - self.patch[0] // 2 - 1, least[0]), size[1] + self.patch[1] + self.patch[1] // 3 + 1
        return [size, other] if dynamic else [size]

    def inferred(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What :func:`mmwhitebox.apis.iter_inference` says of the pictures, each as a whole.

        Returns:
            tuple[Tensor, Tensor]: As of :meth:`forward`; and what decides it, logits (B, C, H, W) or the scores.
        """
        pictures = [np.ascontiguousarray(image) for image in images.numpy()]
        rgb = self.channels == 3
        with whole_images(self.model):
            results = [result for _, result in iter_inference(self.model, pictures, len(pictures), rgb=rgb)]
        if self.output == 'scores':
            scores = torch.stack([result.pred_score for result in results])
            return scores, scores
        logits = torch.stack([result.seg_logits.data for result in results])
        if logits.shape[1] == 1:  # the probability of the class, and what it has to reach
            logits = torch.cat([torch.full_like(logits, self.model.decode_head.threshold), logits], 1)
        return torch.stack([result.pred_sem_seg.data[0].long() for result in results]), logits


@contextmanager
def whole_images(model: BaseModel) -> Iterator[None]:
    """A context in which a model's inference does what a graph with processing does: no resizing, no windows."""
    pipeline, test_cfg = model.test_pipeline, getattr(model, 'test_cfg', None)
    if pipeline is not None:
        model.test_pipeline = InferencePipeline([pipeline.transforms[0], pipeline.transforms[-1]])
    if hasattr(model, 'decode_head'):
        model.test_cfg = type(test_cfg)(test_cfg, mode='whole', enlarge=False, keep_logits=True)
    try:
        yield
    finally:
        model.test_pipeline, model.test_cfg = pipeline, test_cfg


def takes_rgb(preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor turns the BGR of files into RGB; the network gets BGR of one that does not."""
    return bool(getattr(preprocessor, '_channel_conversion', False) or getattr(preprocessor, 'to_rgb', False))


def padding_at_test_time(preprocessor: Any) -> tuple[Sequence[int], int, float]:
    """How a data preprocessor pads at test time: to a least height and width, to a multiple, with a value."""
    if hasattr(preprocessor, 'pad_size_divisor') and not hasattr(preprocessor, 'seg_pad_val'):
        return (0, 0), preprocessor.pad_size_divisor, float(preprocessor.pad_value)
    options: Mapping = getattr(preprocessor, 'test_cfg', None) or {}
    return options.get('size') or (0, 0), options.get('size_divisor') or 1, float(getattr(preprocessor, 'pad_val', 0))


def within(x: Tensor, height: int, width: int) -> Tensor:
    """Which pixels of images (B, C, H, W) lie in their first rows and columns, (H, W)."""
    return (torch.arange(x.shape[2]) < height)[:, None] & (torch.arange(x.shape[3]) < width)
