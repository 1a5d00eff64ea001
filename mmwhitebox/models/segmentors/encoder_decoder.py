"""mmseg's EncoderDecoder with a prediction whose memory does not grow with classes times pixels."""
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import MODELS

from .tiles import AxisMap, LogitMap, WindowRows, label_maps, window_starts

KEEP_LOGITS = (False, 'factors', True)


class Grid(NamedTuple):
    """Windows of a batch: the size of one, their first rows and columns, the size that they cover."""
    window: Tuple[int, int]
    tops: List[int]
    lefts: List[int]
    size: Tuple[int, int]


@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """Encoder, head and bounded prediction: same arguments, training and parameters as mmseg's.

    mmseg keeps the logits of all classes at the size of the network's input and again at the size of the
    original image. Here only what the head gives for every window is kept, and only as long as it is needed;
    the label map is made of it tile by tile (:mod:`.tiles`). The labels are mmseg's.

    ``test_cfg`` has mmseg's keys ``mode`` ('whole', the default, or 'slide'), ``crop_size`` and ``stride``, and:

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

    def window_grid(self, inputs: Tensor, meta: dict) -> Grid:
        """The windows of images (B, 3, H, W); the whole image is one."""
        mode = self.test_option('mode', 'whole')
        if mode == 'slide':
            size = tuple(inputs.shape[2:])
            crop, stride = self.test_cfg['crop_size'], self.test_cfg['stride']
            window = min(crop[0], size[0]), min(crop[1], size[1])
            tops, lefts = (window_starts(*args) for args in zip(size, crop, stride))
            return Grid(window, tops, lefts, size)
        if mode != 'whole':
            raise ValueError(f"test_cfg.mode={mode!r}: it is 'whole' or 'slide'.")
        # the size to which mmseg's heads enlarge the logits of a whole image
        fed = isinstance(meta['img_shape'], torch.Size) or 'pad_shape' not in meta
        size = tuple(meta['img_shape' if fed else 'pad_shape'][:2])
        return Grid(size, [0], [0], size)

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
            if len(places) == 1:
                logits = self.window_logits(inputs, metas)
            else:
                crops = [inputs[..., y:y + grid.window[0], x:x + grid.window[1]] for y, x in batch]
                crop_metas = [{**meta, 'img_shape': torch.Size(grid.window)} for meta in metas] * len(batch)
                logits = self.window_logits(torch.cat(crops), crop_metas)
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
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        flip = meta.get('flip_direction') if meta.get('flip') else None
        if flip not in (None, 'horizontal', 'vertical'):
            raise ValueError(f'An image was flipped {flip}; only horizontal and vertical can be undone.')
        out = meta.get('ori_shape', (None, None))
        rows, columns = (
            AxisMap(low[i], grid.window[i], starts, grid.size[i], padding, flip == direction, out[i],
                    self.align_corners, device)
            for i, (starts, padding, direction) in enumerate(
                ((grid.tops, (top, bottom), 'vertical'), (grid.lefts, (left, right), 'horizontal'))))
        return rows, columns
