r"""Class maps of large images without their logits: tiles of one linear map.

From the logits of a head to those of the original image, mmseg enlarges every window to its own size (here: to the
size that its patches cover, and cuts it, see :mod:`.alignment`), adds the windows up, divides by the number that
cover a pixel, removes the padding, undoes the flip and resizes. All of it is linear and does the same to every
column and to every row. With the windows' logits L side by side in one array (n_r windows of h rows, n_c windows of
w columns), the logits of class k at the original size are

    S_k = A L_k B^T        L_k (n_r h, n_c w)    A (H, n_r h)    B (W, n_c w)    S_k (H, W)

A and B are what those steps make of the identity, so they hold the very weights of mmseg's resize. A row of A has
only a few entries that are not zero. A tile of S is therefore a small product of a few rows of L,

    S[rows, columns] = A[rows] L B[columns]^T

and its arg-max over k is written to the label map before the next tile is computed.
"""
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwhitebox.ops.precision import no_autocast

CPU_TILE_BYTES = 2**22  # stays in the cache
GPU_TILE_BYTES = 2**28


def rounds_products(device: torch.device) -> bool:
    """Whether torch's settings let products of float32 matrices be rounded inside, to TF32 or bfloat16."""
    if device.type not in ('cpu', 'cuda'):
        return False
    backend = torch.backends.mkldnn.matmul if device.type == 'cpu' else torch.backends.cuda.matmul
    if hasattr(backend, 'fp32_precision'):
        return backend.fp32_precision not in ('none', 'ieee')
    return torch.get_float32_matmul_precision() != 'highest'  # torch < 2.9 has one switch for all


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a b in full precision, under autocast too.

    The settings are the process's, and other threads compute with them: they stay, and where they allow less than
    float32 the product is one of float64.
    """
    with no_autocast(a):
        if a.dtype == torch.float32 and rounds_products(a.device):
            return (a.double() @ b.double()).float()
        return a @ b


def resize(x: Tensor, size: int, align_corners: bool) -> Tensor:
    """Linear interpolation along the last dimension: (n, in) -> (n, size)."""
    return F.interpolate(x[None], size, mode='linear', align_corners=align_corners)[0]


def enlarged_size(size: tuple[int, int], window: tuple[int, int]) -> tuple[int, int]:
    """Size of an image enlarged until the window fits into it, the aspect kept, truncated to whole pixels."""
    (h, w), (rows, columns) = size, window
    if h >= rows and w >= columns:
        return size
    if rows * w >= columns * h:  # the rows lack more than the columns
        return rows, max(int(w / h * rows), columns)
    return max(int(h / w * columns), rows), columns


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of mmseg's windows along one dimension; the last window ends with the image."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride + crop, length) - crop, 0) for i in range(count)]


class AxisMap:
    """A or B of the module's equation: from the logits of all windows along one dimension to the image's.

    Args:
        low (int): Logits of one window along this dimension (h or w).
        covered (int): Pixels from its start that they cover.
        window (int): Pixels of the window, at most ``covered``.
        starts (Sequence[int]): First pixel of every window.
        length (int): Pixels of the image that the network gets.
        padding (tuple[int, int]): Those of them before and after the picture.
        flip (bool): The picture was mirrored along this dimension.
        size (int, optional): Pixels of the original image; None does not resize.
        align_corners (bool): Of both resizes.
        device (torch.device): Where the matrix goes.

    Attributes:
        matrix (Tensor): (size, len(starts) * low) float32.
    """

    def __init__(self, low: int, covered: int, window: int, starts: Sequence[int], length: int,
                 padding: tuple[int, int], flip: bool, size: int | None, align_corners: bool,
                 device: torch.device) -> None:
        enlarged = resize(torch.eye(low), covered, align_corners)[:, :window]
        placed = torch.zeros(len(starts), low, length)
        count = torch.zeros(length)
        for i, start in enumerate(starts):
            placed[i, :, start:start + window] = enlarged
            count[start:start + window] += 1
        weights = (placed.flatten(0, 1) / count)[:, padding[0]:length - padding[1]]
        if flip:
            weights = weights.flip(1)
        if size is not None:
            weights = resize(weights, size, align_corners)
        weights = weights.T.contiguous()
        present = (weights != 0).int()
        self._first = present.argmax(1).tolist()
        self._last = (weights.shape[1] - 1 - present.flip(1).argmax(1)).tolist()
        self.matrix = weights.to(device)

    def __len__(self) -> int:
        return len(self.matrix)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The range of logits that the pixels ``start`` to ``end`` depend on."""
        return min(self._first[start:end]), max(self._last[start:end]) + 1


class WindowRows:
    """The logits L of a batch, one row of windows after another, computed when they are first asked for.

    Args:
        rows (Iterator[Tensor]): Rows of windows from top to bottom, each (B, h, n_c w, K) in float32.
    """

    def __init__(self, rows: Iterator[Tensor]) -> None:
        self._rows = rows
        self._held = {0: next(rows)}
        self._computed = 1
        self.height = self._held[0].shape[1]

    @property
    def shape(self) -> torch.Size:
        """(B, h, n_c w, K), of one row of windows."""
        return self._held[max(self._held)].shape

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self._held[max(self._held)].device

    def span(self, start: int, end: int, image: int) -> Tensor:
        """Rows ``start`` to ``end`` of L of one image, (end - start, n_c w, K)."""
        first, last = start // self.height, (end - 1) // self.height
        while self._computed <= last:
            self._held[self._computed] = next(self._rows)
            self._computed += 1
        parts = [self._held[i][image] for i in range(first, last + 1)]
        rows = torch.cat(parts) if len(parts) > 1 else parts[0]
        return rows[start - first * self.height:end - first * self.height]

    def forget(self, before: int) -> None:
        """Free the rows of windows above row ``before`` of them."""
        for i in [i for i in self._held if i < min(before, self._computed - 1)]:
            del self._held[i]

    def finish(self) -> None:
        """Compute what is left; afterwards the images and the network are no longer held."""
        for row in self._rows:
            self._held[self._computed] = row
            self._computed += 1
        self._rows = iter(())


class LogitMap:
    """The logits of one image at its original size, (K, H, W), as their factors A, L and B.

    Args:
        rows (AxisMap): A.
        columns (AxisMap): B.
        windows (WindowRows): L of the batch.
        image (int): Index of the image in the batch.
    """

    def __init__(self, rows: AxisMap, columns: AxisMap, windows: WindowRows, image: int) -> None:
        self.rows, self.columns = rows, columns
        self.windows, self.image = windows, image

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self.windows.shape[-1], len(self.rows), len(self.columns)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.windows.device

    def __repr__(self) -> str:
        return f'LogitMap{self.shape}'

    def tiles(self, top: int, bottom: int, width: int) -> Iterator[tuple[int, int, Tensor]]:
        """Logits of the image's rows ``top`` to ``bottom``, ``width`` columns at a time.

        Yields:
            tuple[int, int, Tensor]: First column, last column + 1, logits (rows, columns, K).
        """
        start, end = self.rows.span(top, bottom)
        low = self.windows.span(start, end, self.image)
        band = product(self.rows.matrix[top:bottom, start:end], low.flatten(1)).unflatten(1, low.shape[1:])
        for left in range(0, len(self.columns), width):
            right = min(left + width, len(self.columns))
            start, end = self.columns.span(left, right)
            yield left, right, product(self.columns.matrix[left:right, start:end], band[:, start:end])

    def probabilities(self) -> Tensor:
        """Probabilities of all classes (of the one class there is), (K, H, W) float32 on the CPU."""
        out = torch.empty(self.shape)
        height, width = tile_shape(self)
        for top in range(0, len(self.rows), height):
            bottom = min(top + height, len(self.rows))
            for left, right, tile in self.tiles(top, bottom, width):
                out[:, top:bottom, left:right] = probability(tile).permute(2, 0, 1)
        return out


def probability(logits: Tensor) -> Tensor:
    """Softmax over the classes (last dimension), or the sigmoid of a single one."""
    return logits.softmax(-1) if logits.shape[-1] > 1 else logits.sigmoid()


def tile_shape(logits: LogitMap, tile_size: int | None = None) -> tuple[int, int]:
    """Rows and columns of a tile: as given, or as many as keep its logits within the budget of the device."""
    if tile_size is None:
        num_bytes = CPU_TILE_BYTES if logits.device.type == 'cpu' else GPU_TILE_BYTES
        tile_size = max(int((num_bytes / 4 / logits.shape[0])**0.5) // 16 * 16, 16)
    return min(tile_size, len(logits.rows)), min(tile_size, len(logits.columns))


def stream_bands(maps: Sequence[LogitMap], height: int, keep: bool) -> Iterator[tuple[int, int, int]]:
    """Bands of all images of a batch, in the order in which their windows become available.

    Yields:
        tuple[int, int, int]: Image, first row, last row + 1. Windows that no later band needs are freed,
        unless they are to be kept.
    """
    windows = maps[0].windows
    bands = []
    for image, logits in enumerate(maps):
        for top in range(0, len(logits.rows), height):
            bottom = min(top + height, len(logits.rows))
            start, end = logits.rows.span(top, bottom)
            bands.append(((end - 1) // windows.height, start // windows.height, image, top, bottom))
    bands.sort()
    needed = list(accumulate((first for _, first, *_ in reversed(bands)), min))[::-1]
    for (_, _, image, top, bottom), first in zip(bands, needed):
        if not keep:
            windows.forget(first)
        yield image, top, bottom
    if keep:
        windows.finish()


def classify(values: Tensor, threshold: float) -> Tensor:
    """Label of every pixel: the class with the largest value, or whether the one probability is enough.

    Args:
        values (Tensor): (rows, columns, K) logits or probabilities; probabilities for K = 1.
        threshold (float): For K = 1.

    Returns:
        Tensor: (rows, columns) int64.
    """
    return values.argmax(-1) if values.shape[-1] > 1 else (values[..., 0] > threshold).long()


def empty_labels(logits: LogitMap) -> Tensor:
    """A label map to be filled, (1, H, W) int64."""
    return torch.empty(1, *logits.shape[1:], dtype=torch.int64, device=logits.device)


def label_maps(maps: Sequence[LogitMap], threshold: float, tile_size: int | None = None, keep: bool = False,
               logits: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Label maps of a batch, tile by tile.

    Args:
        maps (Sequence[LogitMap]): Logits of every image; they share their windows.
        threshold (float): Probability from which the class of a one-channel head counts.
        tile_size (int, optional): Rows and columns of a tile. Defaults to None: :func:`tile_shape`.
        keep (bool): The maps can be used again afterwards. Defaults to False.
        logits (Sequence[Tensor], optional): (K, H, W) of every image, filled with all logits (mmseg's
            ``seg_logits``, which are probabilities for K = 1). Defaults to None.

    Returns:
        list[Tensor]: (1, H, W) each, see :func:`classify`.
    """
    labels = [empty_labels(m) for m in maps]
    shapes = [tile_shape(m, tile_size) for m in maps]
    for image, top, bottom in stream_bands(maps, min(height for height, _ in shapes), keep):
        for left, right, tile in maps[image].tiles(top, bottom, shapes[image][1]):
            if tile.shape[-1] == 1:
                tile = tile.sigmoid()
            labels[image][0, top:bottom, left:right] = classify(tile, threshold)
            if logits is not None:
                logits[image][:, top:bottom, left:right] = tile.permute(2, 0, 1)
    return labels


def merged_label_map(maps: Sequence[LogitMap], threshold: float, tile_size: int | None = None) -> Tensor:
    """Label map (1, H, W) of the mean probability over several views of one image, tile by tile."""
    labels = empty_labels(maps[0])
    height, width = tile_shape(maps[0], tile_size)
    for top in range(0, len(maps[0].rows), height):
        bottom = min(top + height, len(maps[0].rows))
        for views in zip(*(m.tiles(top, bottom, width) for m in maps)):
            left, right, _ = views[0]
            mean = sum(probability(tile) for _, _, tile in views) / len(views)
            labels[0, top:bottom, left:right] = classify(mean, threshold)
    return labels
