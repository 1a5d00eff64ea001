"""mmseg's EncoderDecoder with aligned logits and a prediction whose memory does not grow with classes times pixels."""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList, add_prefix
from torch import Tensor, nn

from mmwhitebox.errors import ConfigError
from mmwhitebox.models.regularization import Regularized
from mmwhitebox.registry import MODELS

from .alignment import Size, covered_size, head_loss
from .logit_map import AxisMap, LogitMap, WindowRows, enlarged_size, label_maps, window_starts
from .options import check_test_cfg, window_size

NO_PADDING = (0, 0, 0, 0)


class Grid(NamedTuple):
    """Windows of a batch: the size of one, their first rows and columns, the size that they cover."""
    window: Size
    tops: list[int]
    lefts: list[int]
    size: Size


def padding_of(meta: dict) -> tuple[int, int, int, int]:
    """Pixels that were added to an image before it was given to the network: left, right, top, bottom."""
    return tuple(meta.get('img_padding_size', meta.get('padding_size', NO_PADDING)))


def groups_of_one_size(images: Sequence[Tensor]) -> list[list[int]]:
    """Indices of the images of each size, in the order of their first one."""
    groups: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(image.shape, []).append(i)
    return list(groups.values())


@MODELS.register_module()
class EncoderDecoder(Regularized, MMSegEncoderDecoder):
    """Encoder, head and bounded prediction: arguments and parameters as mmseg's, and ``regularizers``, losses on what
    is inside, see :class:`mmwhitebox.models.regularization.Regularized`.

    mmseg keeps the logits of all classes at the size of the network's input and again at the size of the
    original image. Here only what the head gives for every window is kept, and only as long as it is needed;
    the label map is made of it tile by tile (:mod:`.logit_map`). The labels are mmseg's, apart from those of an image
    that is no whole number of patches (:mod:`.alignment`). The images of a batch may differ in size at test time.

    ``test_cfg`` has mmseg's keys ``mode`` ('whole', the default, or 'slide'), ``crop_size`` and ``stride`` (a height
    and a width, or one integer for both), and:

    - ``enlarge`` (bool): An image whose height or width is below ``crop_size`` is enlarged until it is not, the
      aspect kept, in all modes, as the published Segmenter, DEPICT and CBT code does before it cuts windows. Padding
      by the data preprocessor is taken away first. Defaults to False: it is predicted at its own size.
    - ``val`` (dict): Keys that replace the others in validation while a model is trained (``val_step``), e.g.
      ``dict(stride=(512, 512))``. Defaults to None.
    - ``batch_windows`` (int): Windows that share a forward pass. Defaults to 4.
    - ``tile_size`` (int): Rows and columns of a tile. Defaults to None: so many that its logits take 4 MiB
      on a CPU and 256 MiB on a GPU.
    - ``keep_logits``: False (the default) leaves ``pred_sem_seg`` alone in a result; True adds mmseg's
      ``seg_logits``, (K, H, W) at the original size; 'factors' adds ``logit_map``, a
      :class:`~mmwhitebox.models.segmentors.logit_map.LogitMap`, from which the probabilities can be had later.
      It holds the head's logits of all windows.

    A head that has its own ``predict`` or ``predict_by_feat`` (MaskFormer, SAN, ...) works too, but its
    logits are kept at the size of the windows. The label map is (1, H, W) int64, of a one-channel head too, where
    mmseg's is float.

    Attributes:
        on_windows (Callable, optional): Called as ``on_windows(done, total)`` after every batch of windows.

    Raises:
        ConfigError: ``test_cfg`` is incomplete or contradictory, see :func:`check_test_cfg`; a mask head of a single
            class.
    """

    on_windows: Callable[[int, int], None] | None = None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        check_test_cfg(self.test_cfg or {})
        if hasattr(self.decode_head, 'mask_norm') and (self.num_classes == 1 or self.out_channels != self.num_classes):
            raise ConfigError(
                f'model.decode_head: {type(self.decode_head).__name__} normalises its masks over the classes, so it '
                'has one output per class and at least two. Set num_classes=2 without out_channels, or take '
                "type='FCNHead', num_classes=2, out_channels=1.")

    def _decode_head_forward_train(self, inputs: list[Tensor], data_samples: SampleList) -> dict:
        loss = head_loss(self.decode_head, inputs, data_samples, self.train_cfg, self.backbone)
        return add_prefix(loss, 'decode')

    def _auxiliary_head_forward_train(self, inputs: list[Tensor], data_samples: SampleList) -> dict:
        several = isinstance(self.auxiliary_head, nn.ModuleList)
        heads = self.auxiliary_head if several else [self.auxiliary_head]
        losses = {}
        for i, head in enumerate(heads):
            loss = head_loss(head, inputs, data_samples, self.train_cfg, self.backbone)
            losses.update(add_prefix(loss, f'aux_{i}' if several else 'aux'))
        return losses

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at the size of the images, (B, K, H, W), as the head predicts them."""
        covered = torch.Size(covered_size(self.backbone, inputs.shape[2:]))
        metas = [{**meta, 'img_shape': covered, 'pad_shape': covered} for meta in batch_img_metas]
        return super().encode_decode(inputs, metas)[..., :inputs.shape[2], :inputs.shape[3]]

    def test_step(self, data: dict) -> SampleList:
        """Predict a batch as a data loader gives it; images of one size share a forward pass.

        Args:
            data (dict): ``inputs``, a list of images (3, H, W) of any sizes, and ``data_samples``.

        Returns:
            list[SegDataSample]: In the order of the images, see :meth:`predict`.
        """
        if not isinstance(data, dict) or len(groups := groups_of_one_size(data['inputs'])) < 2:
            return super().test_step(data)
        found: dict[int, SegDataSample] = {}
        for group in groups:
            part = {key: [values[i] for i in group] for key, values in data.items() if values is not None}
            found.update(zip(group, super().test_step(part)))
        return [found[i] for i in range(len(found))]

    def val_step(self, data: dict) -> SampleList:
        """Like :meth:`test_step`, with the keys of ``test_cfg.val`` in the place of the others."""
        with self.replaced_options(self.test_option('val') or {}):
            return self.test_step(data)

    @contextmanager
    def replaced_options(self, options: dict) -> Iterator[None]:
        """A context in which keys of ``test_cfg`` have other values."""
        before = self.test_cfg
        self.test_cfg = type(before)(before, **options) if options else before
        try:
            yield
        finally:
            self.test_cfg = before

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Segment a batch of images.

        Args:
            inputs (Tensor): Normalised images, (B, 3, H, W).
            data_samples (list[SegDataSample], optional): Their metainfo says how to get back to the original
                image. None leaves the size as it is.

        Returns:
            list[SegDataSample]: With ``pred_sem_seg`` and what ``test_cfg.keep_logits`` asks for.
        """
        maps = self.logit_maps(inputs, data_samples)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in maps]
        keep = self.test_option('keep_logits', False)
        logits = [torch.empty(m.shape, device=m.device) for m in maps] if keep is True else None
        labels = label_maps(maps, self.threshold, self.test_option('tile_size'), keep == 'factors', logits)
        for i, sample in enumerate(data_samples):
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[i])))
            if keep is True:
                sample.set_data(dict(seg_logits=PixelData(data=logits[i])))
            elif keep == 'factors':
                sample.set_data(dict(logit_map=maps[i]))
        return data_samples

    def logit_maps(self, inputs: Tensor, data_samples: OptSampleList = None) -> list[LogitMap]:
        """Logits of a batch at the original sizes, not multiplied out; windows are computed when needed.

        Args:
            inputs (Tensor): Normalised images, (B, 3, H, W).
            data_samples (list[SegDataSample], optional): See :meth:`predict`.

        Raises:
            ConfigError: See :func:`check_test_cfg`.
            ValueError: ``test_cfg.enlarge`` with images of several sizes, padded to one.
        """
        check_test_cfg(self.test_cfg or {})  # it may have been changed since
        metas = [{}] * len(inputs) if data_samples is None else [sample.metainfo for sample in data_samples]
        if self.test_option('enlarge', False):
            inputs, metas = self.enlarge(inputs, metas)
        grid = self.window_grid(tuple(inputs.shape[2:]))
        windows = WindowRows(self.window_rows(inputs, metas, grid))
        low = windows.shape[1], windows.shape[2] // len(grid.lefts)
        return [LogitMap(*self.axis_maps(meta, grid, low, windows.device), windows, i)
                for i, meta in enumerate(metas)]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of depths, as mmpretrain's layer-wise learning-rate decay asks for them.

        Raises:
            ConfigError: The backbone does not know its depths.
        """
        if not hasattr(self.backbone, 'get_layer_depth'):
            raise ConfigError(f'Layer-wise learning-rate decay: {type(self.backbone).__name__} has no get_layer_depth.')
        return self.backbone.get_layer_depth(param_name, f'{prefix}backbone.')

    @property
    def threshold(self) -> float | None:
        """Probability from which the class of a one-channel head counts."""
        return getattr(self.decode_head, 'threshold', None)

    def test_option(self, key: str, default=None):
        """A key of ``test_cfg``, which may be missing."""
        return (self.test_cfg or {}).get(key, default)

    def enlarge(self, inputs: Tensor, metas: Sequence[dict]) -> tuple[Tensor, list[dict]]:
        """The images without padding, large enough for a window; and what is known of them then."""
        left, right, top, bottom = padding = padding_of(metas[0])
        if any(padding_of(meta) != padding for meta in metas):
            raise ValueError('test_cfg.enlarge: the images of a batch have several sizes. Give them to test_step, or '
                             'one by one.')
        inputs = inputs[..., top:inputs.shape[2] - bottom, left:inputs.shape[3] - right]
        size = tuple(inputs.shape[2:])
        metas = [{**meta, 'img_padding_size': NO_PADDING, 'ori_shape': meta.get('ori_shape', size)} for meta in metas]
        enlarged = enlarged_size(size, window_size(self.test_cfg, 'crop_size'))
        return inputs if enlarged == size else F.interpolate(inputs, enlarged, mode='bilinear'), metas

    def window_grid(self, size: Size) -> Grid:
        """The windows of images of a size (H, W); the whole image is one."""
        if self.test_option('mode', 'whole') == 'whole':
            return Grid(size, [0], [0], size)
        crop, stride = (window_size(self.test_cfg, key) for key in ('crop_size', 'stride'))
        window = min(crop[0], size[0]), min(crop[1], size[1])
        tops, lefts = (window_starts(*args) for args in zip(size, crop, stride))
        return Grid(window, tops, lefts, size)

    def window_rows(self, inputs: Tensor, metas: Sequence[dict], grid: Grid) -> Iterator[Tensor]:
        """Run the network on the windows, ``batch_windows`` at a time.

        Yields:
            Tensor: Logits of one row of windows side by side, (B, h, n_c w, K) float32.
        """
        places = [(top, left) for top in grid.tops for left in grid.lefts]
        step = max(self.test_option('batch_windows', 4) // len(inputs), 1)
        row: list[Tensor] = []
        for start in range(0, len(places), step):
            batch = places[start:start + step]
            crops = [inputs[..., y:y + grid.window[0], x:x + grid.window[1]] for y, x in batch]
            images = torch.cat(crops) if len(crops) > 1 else crops[0]
            logits = self.window_logits(images, list(metas) * len(batch))
            row.extend(logits.float().permute(0, 2, 3, 1).unflatten(0, (len(batch), len(inputs))))
            if self.on_windows is not None:
                self.on_windows(start + len(batch), len(places))
            while len(row) >= len(grid.lefts):
                yield torch.cat(row[:len(grid.lefts)], dim=2)
                del row[:len(grid.lefts)]

    @property
    def predicts_itself(self) -> bool:
        """Whether the head has its own way from its outputs to logits of every pixel."""
        head = type(self.decode_head)
        return not (head.predict is BaseDecodeHead.predict and head.predict_by_feat is BaseDecodeHead.predict_by_feat)

    def window_logits(self, crops: Tensor, metas: list[dict]) -> Tensor:
        """Logits as the head gives them, (N, K, h, w); of a head with its own prediction, enlarged by it."""
        return self.encode_decode(crops, metas) if self.predicts_itself else self._forward(crops)

    def axis_maps(self, meta: dict, grid: Grid, low: Size, device: torch.device) -> tuple[AxisMap, AxisMap]:
        """How logits of h x w a window become those of the original image: rows, columns."""
        left, right, top, bottom = padding_of(meta)
        flip = meta.get('flip_direction') if meta.get('flip') else None
        if flip not in (None, 'horizontal', 'vertical'):
            raise ValueError(f'An image was flipped {flip}; only horizontal and vertical can be undone.')
        out = meta.get('ori_shape', (None, None))
        covered = grid.window if self.predicts_itself else covered_size(self.backbone, grid.window)
        rows, columns = (
            AxisMap(low[i], covered[i], grid.window[i], starts, grid.size[i], padding, flip == direction, out[i],
                    self.align_corners, device)
            for i, (starts, padding, direction) in enumerate(
                ((grid.tops, (top, bottom), 'vertical'), (grid.lefts, (left, right), 'horizontal'))))
        return rows, columns
