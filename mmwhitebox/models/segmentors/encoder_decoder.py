"""mmseg's EncoderDecoder with a prediction whose memory does not grow with classes times pixels."""
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor, nn

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import MODELS

from .tiles import AxisMap, LogitMap, WindowRows, label_maps, window_starts

KEEP_LOGITS = (False, 'factors', True)
LABELS = {'gt_sem_seg', 'gt_edge_map', 'gt_depth_map'}
Size = Tuple[int, int]


class Grid(NamedTuple):
    """Windows of a batch: the size of one and of its whole patches, their first rows and columns, the image's size."""
    window: Size
    covered: Size
    tops: List[int]
    lefts: List[int]
    size: Size


def patch_of(backbone: nn.Module) -> Size:
    """Patch (height, width) of an encoder that cuts images into patches; (1, 1) of any other."""
    patch = getattr(getattr(backbone, 'stem', backbone), 'patch_size', 1)
    return (patch, patch) if isinstance(patch, int) else tuple(patch)


def whole_patches(size: Sequence[int], patch: Size) -> Size:
    """The least size of whole patches that holds a size."""
    return tuple(-(-length // p) * p for length, p in zip(size, patch))


def pad_to(x: Tensor, size: Size, value: float = 0) -> Tensor:
    """x (..., H, W), padded at the bottom and the right."""
    return F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]), value=value)


def enlarged_size(size: Sequence[int], least: int) -> Size:
    """(H, W) with its short side brought to ``least`` if it is below, whole pixels of the other one."""
    short = min(size)
    return tuple(size) if short >= least else tuple(length * least // short for length in size)


def padding_of(meta: dict) -> Sequence[int]:
    """Pixels that the data preprocessor added: left, right, top, bottom."""
    return meta.get('img_padding_size', meta.get('padding_size', [0] * 4))


def pair(value: object, key: str) -> Size:
    """Two positive integers, of one or two; a ValueError for anything else."""
    values = (value, value) if isinstance(value, int) else value
    if (not isinstance(values, (tuple, list)) or len(values) != 2 or isinstance(value, bool)
            or not all(isinstance(v, int) and v > 0 for v in values)):
        raise ValueError(f'test_cfg.{key}={value!r}: it must be one or two positive integers, (height, width).')
    return tuple(values)


@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """Encoder, head and bounded prediction: same arguments, training and parameters as mmseg's.

    mmseg keeps the logits of all classes at the size of the network's input and again at the size of the
    original image. Here only what the head gives for every window is kept, and only as long as it is needed;
    the label map is made of it tile by tile (:mod:`.tiles`). The labels are mmseg's.

    An encoder of patches (one with a ``patch_size``) gets images and windows that are padded to whole patches, zeros at
    the right and the bottom; the logits of h patches are enlarged to h * patch pixels and cut, in training by ignored
    labels. mmseg stretches them over the unpadded size.

    ``test_cfg`` has mmseg's keys ``mode`` ('whole', the default, or 'slide'), ``crop_size`` and ``stride``, each one
    integer or (height, width), and:

    - ``val_stride``: Stride of the validation during a training. Defaults to None, that of the test.
    - ``min_size`` (int): Images whose short side is below it are enlarged to it first (bilinear), as in the published
      evaluation, where it is the window. Defaults to None.
    - ``batch_windows`` (int): Windows that share a forward pass. Defaults to 4.
    - ``tile_size`` (int): Rows and columns of a tile. Defaults to None: so many that its logits take 4 MiB
      on a CPU and 256 MiB on a GPU.
    - ``keep_logits``: False (the default) leaves ``pred_sem_seg`` alone in a result; True adds mmseg's
      ``seg_logits``, (K, H, W) at the original size; 'factors' adds ``logit_map``, a
      :class:`~mmwhitebox.models.segmentors.tiles.LogitMap`, from which the probabilities can be had later.
      It holds the head's logits of all windows.

    A head that has its own ``predict`` or ``predict_by_feat`` (MaskFormer, SAN, ...) works too, but its
    logits are kept at the size of the windows.

    Attributes:
        on_windows (Callable, optional): Called as ``on_windows(done, total)`` after every batch of windows.
    """

    on_windows: Optional[Callable[[int, int], None]] = None
    _validating = False

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Losses of a batch, (B, 3, H, W); images of no whole patches are padded, with labels that are ignored."""
        size = whole_patches(inputs.shape[2:], patch_of(self.backbone))
        if size != tuple(inputs.shape[2:]):
            inputs = pad_to(inputs, size)
            ignored = getattr(self.decode_head, 'ignore_index', 255)
            for sample in data_samples:
                for key in LABELS & set(sample.keys()):
                    labels = sample.get(key).data
                    sample.set_data({key: PixelData(data=pad_to(labels, size, ignored))})
        return super().loss(inputs, data_samples)

    def val_step(self, data: dict) -> SampleList:
        """Segment a batch in a validation: by ``test_cfg.val_stride``, images of several sizes one by one."""
        self._validating = True
        try:
            return self.one_size_at_a_time(super().val_step, data)
        finally:
            self._validating = False

    def test_step(self, data: dict) -> SampleList:
        """Segment a batch; images of several sizes one by one."""
        return self.one_size_at_a_time(super().test_step, data)

    @staticmethod
    def one_size_at_a_time(step: Callable[[dict], SampleList], data: dict) -> SampleList:
        """Run a step on a batch, or on each image if they differ in size."""
        if len({tuple(image.shape) for image in data['inputs']}) <= 1:
            return step(data)
        return [sample for image, sample in zip(data['inputs'], data['data_samples'])
                for sample in step(dict(inputs=[image], data_samples=[sample]))]

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Segment a batch of images.

        Args:
            inputs (Tensor): Normalised images, (B, 3, H, W).
            data_samples (list[SegDataSample], optional): Their metainfo says how to get back to the original
                image. None leaves the size as it is.

        Returns:
            list[SegDataSample]: With ``pred_sem_seg`` and what ``test_cfg.keep_logits`` asks for.

        Raises:
            ValueError: ``test_cfg`` has an unknown ``mode`` or ``keep_logits``.
        """
        keep = self.test_option('keep_logits', False)
        if keep not in KEEP_LOGITS:
            raise ValueError(f'test_cfg.keep_logits={keep!r}: it is one of {KEEP_LOGITS}.')
        maps = self.logit_maps(inputs, data_samples)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in maps]
        logits = [torch.empty(m.shape, device=m.device) for m in maps] if keep is True else None
        labels = label_maps(maps, self.threshold, self.test_option('tile_size'), keep == 'factors', logits)
        for i, sample in enumerate(data_samples):
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[i])))
            if keep is True:
                sample.set_data(dict(seg_logits=PixelData(data=logits[i])))
            elif keep == 'factors':
                sample.set_data(dict(logit_map=maps[i]))
        return data_samples

    def logit_maps(self, inputs: Tensor, data_samples: OptSampleList = None) -> List[LogitMap]:
        """Logits of a batch at the original sizes, not multiplied out; windows are computed when needed.

        Args:
            inputs (Tensor): Normalised images, (B, 3, H, W).
            data_samples (list[SegDataSample], optional): See :meth:`predict`.
        """
        if data_samples is None:
            metas = [dict(img_shape=inputs.shape[2:])] * len(inputs)
        else:
            metas = [sample.metainfo for sample in data_samples]
        inputs, metas = self.enlarge(inputs, metas)
        grid = self.window_grid(inputs, metas[0])
        windows = WindowRows(self.window_rows(inputs, metas, grid))
        low = windows.shape[1], windows.shape[2] // len(grid.lefts)
        return [LogitMap(*self.axis_maps(meta, grid, low, windows.device), windows, i)
                for i, meta in enumerate(metas)]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> Tuple[int, int]:
        """Depth of a parameter and number of depths, as mmpretrain's layer-wise learning-rate decay asks for them.

        Raises:
            ConfigError: The backbone does not know its depths.
        """
        if not hasattr(self.backbone, 'get_layer_depth'):
            raise ConfigError(f'Layer-wise learning-rate decay: {type(self.backbone).__name__} has no get_layer_depth.')
        return self.backbone.get_layer_depth(param_name, f'{prefix}backbone.')

    @property
    def threshold(self) -> Optional[float]:
        """Probability from which the class of a one-channel head counts."""
        return getattr(self.decode_head, 'threshold', None)

    def test_option(self, key: str, default=None):
        """A key of ``test_cfg``, which may be missing."""
        return (self.test_cfg or {}).get(key, default)

    def enlarge(self, inputs: Tensor, metas: List[dict]) -> Tuple[Tensor, List[dict]]:
        """Bring the short side of images below ``test_cfg.min_size`` to it, without their padding."""
        least = self.test_option('min_size')
        if least is None:
            return inputs, metas
        left, right, top, bottom = padding_of(metas[0])
        picture = inputs[..., top:inputs.shape[2] - bottom, left:inputs.shape[3] - right]
        size = enlarged_size(picture.shape[2:], pair(least, 'min_size')[0])
        if size == tuple(picture.shape[2:]):
            return inputs, metas
        shape = dict(img_shape=torch.Size(size), img_padding_size=[0] * 4)
        return (F.interpolate(picture, size, mode='bilinear', align_corners=False),
                [{'ori_shape': tuple(picture.shape[2:]), **meta, **shape} for meta in metas])

    def slide_options(self) -> Tuple[Size, Size]:
        """Crop and stride of ``test_cfg``, that of the validation in a validation.

        Raises:
            ValueError: One is missing or no size, or a stride beyond the crop leaves pixels that no window sees.
        """
        key = 'val_stride' if self._validating and self.test_option('val_stride') is not None else 'stride'
        crop, stride = pair(self.test_option('crop_size'), 'crop_size'), pair(self.test_option(key), key)
        if stride[0] > crop[0] or stride[1] > crop[1]:
            raise ValueError(f'test_cfg.{key}={stride} is larger than crop_size={crop}: no window would see the pixels '
                             'between.')
        return crop, stride

    def window_grid(self, inputs: Tensor, meta: dict) -> Grid:
        """The windows of images (B, 3, H, W); the whole image is one."""
        mode, patch = self.test_option('mode', 'whole'), patch_of(self.backbone)
        if mode == 'slide':
            size = tuple(inputs.shape[2:])
            crop, stride = self.slide_options()
            window = min(crop[0], size[0]), min(crop[1], size[1])
            tops, lefts = (window_starts(*args) for args in zip(size, crop, stride))
            return Grid(window, whole_patches(window, patch), tops, lefts, size)
        if mode != 'whole':
            raise ValueError(f"test_cfg.mode={mode!r}: it is 'whole' or 'slide'.")
        if patch != (1, 1):
            size = tuple(inputs.shape[2:])
            return Grid(size, whole_patches(size, patch), [0], [0], size)
        # the size to which mmseg's heads enlarge the logits of a whole image
        fed = isinstance(meta['img_shape'], torch.Size) or 'pad_shape' not in meta
        size = tuple(meta['img_shape' if fed else 'pad_shape'][:2])
        return Grid(size, size, [0], [0], size)

    def window_rows(self, inputs: Tensor, metas: Sequence[dict], grid: Grid) -> Iterator[Tensor]:
        """Run the network on the windows, ``batch_windows`` at a time.

        Yields:
            Tensor: Logits of one row of windows side by side, (B, h, n_c w, K) float32.
        """
        places = [(top, left) for top in grid.tops for left in grid.lefts]
        step = max(self.test_option('batch_windows', 4) // len(inputs), 1)
        row: List[Tensor] = []
        for start in range(0, len(places), step):
            batch = places[start:start + step]
            if len(places) == 1 and grid.covered == grid.window:
                logits = self.window_logits(inputs, metas)
            else:
                crops = torch.cat([inputs[..., y:y + grid.window[0], x:x + grid.window[1]] for y, x in batch])
                crop_metas = [{**meta, 'img_shape': torch.Size(grid.covered)} for meta in metas] * len(batch)
                logits = self.window_logits(pad_to(crops, grid.covered), crop_metas)
            row.extend(logits.float().permute(0, 2, 3, 1).unflatten(0, (len(batch), len(inputs))))
            if self.on_windows is not None:
                self.on_windows(start + len(batch), len(places))
            while len(row) >= len(grid.lefts):
                yield torch.cat(row[:len(grid.lefts)], dim=2)
                del row[:len(grid.lefts)]

    def window_logits(self, crops: Tensor, metas: List[dict]) -> Tensor:
        """Logits as the head gives them, (N, K, h, w); of a head with its own prediction, enlarged by it."""
        head = type(self.decode_head)
        if head.predict is BaseDecodeHead.predict and head.predict_by_feat is BaseDecodeHead.predict_by_feat:
            return self._forward(crops)
        return self.encode_decode(crops, metas)

    def axis_maps(self, meta: dict, grid: Grid, low: Tuple[int, int],
                  device: torch.device) -> Tuple[AxisMap, AxisMap]:
        """How logits of h x w a window become those of the original image: rows, columns."""
        left, right, top, bottom = padding_of(meta)
        flip = meta.get('flip_direction') if meta.get('flip') else None
        if flip not in (None, 'horizontal', 'vertical'):
            raise ValueError(f'An image was flipped {flip}; only horizontal and vertical can be undone.')
        out = meta.get('ori_shape', (None, None))
        rows, columns = (
            AxisMap(low[i], grid.window[i], grid.covered[i], starts, grid.size[i], padding, flip == direction, out[i],
                    self.align_corners, device)
            for i, (starts, padding, direction) in enumerate(
                ((grid.tops, (top, bottom), 'vertical'), (grid.lefts, (left, right), 'horizontal'))))
        return rows, columns
