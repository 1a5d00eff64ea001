"""A look at the images and masks of a folder: sizes, channels, values, and what is wrong."""
import collections
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmwhitebox.errors import ImageReadError, joined

from ..stored_images import read_stored
from .findings import MASK_KINDS, Findings
from .pairs import Pairs, noted
from .values import Counts, is_smeared, is_sparse, main_values, read_mask

JPEG_ADVICE = 'JPEG masks are not exact'
MOST_SHOWN = 12


class Moments:
    """Mean and squared deviations of each channel, by number of channels, in float64."""

    def __init__(self) -> None:
        self.sums = {}

    def add(self, array: np.ndarray) -> None:
        """Add an image (H, W, C)."""
        flat = array.reshape(-1, array.shape[2])
        if array.dtype == np.uint8:  # fast: a table of 256 counts
            counts = np.stack([np.bincount(channel, minlength=256) for channel in flat.T])
            levels = np.arange(256.)
            mean = counts @ levels / len(flat)
            squares = (counts * (levels - mean[:, None])**2).sum(1)
        else:
            wide = flat.astype(np.float64)
            mean = wide.mean(0)
            squares = ((wide - mean)**2).sum(0)
        number, old, gathered = self.sums.get(array.shape[2], (0, mean, 0.))
        total = number + len(flat)
        self.sums[array.shape[2]] = (  # by Chan: sums of squares would lose what a large mean hides
            total, old + (mean - old) * (len(flat) / total),
            gathered + squares + (mean - old)**2 * (number * len(flat) / total))

    def of(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation; empty if no image had so many channels."""
        if channels not in self.sums:
            return (), ()
        number, mean, squares = self.sums[channels]
        return tuple(mean.tolist()), tuple(np.sqrt(squares / number).tolist())


def look(pairs: Pairs, limit: int | None = None, progress: Callable[[int, int], None] | None = None,
         channels: int | None = None, channel_axis: str | None = None, replace_nan: float | None = None) -> Findings:
    """Read images and masks and say what they are.

    Masks are those of 'masks' and 'binary'; of polygons look at what :func:`rasterize` returns.

    Args:
        pairs (Pairs): Samples.
        limit (int, optional): Most samples to read, spread evenly over all. Defaults to None: all.
        progress (Callable, optional): Called with (done, all) after each sample. Defaults to None.
        channels (int, optional): An alpha channel counts where it makes so many. Defaults to None: it does not.
        channel_axis, replace_nan (optional): As :class:`mmwhitebox.datasets.LoadImage` takes them.

    Returns:
        Findings: See there. Files that cannot be read are in it, none raises.

    Raises:
        ValueError: ``limit`` is less than 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f'limit={limit!r} must be 1 or more.')
    number = len(pairs.samples)
    picked = np.unique(np.linspace(0, number - 1, min(number, limit or number)).round().astype(int)).tolist()
    looker = _Looker(pairs, channels, channel_axis, replace_nan)
    for done, index in enumerate(picked, 1):
        looker.add(index)
        if progress:
            progress(done, len(picked))
    return looker.findings()


class _Looker:
    """Gathers what the samples hold."""

    def __init__(self, pairs: Pairs, wanted: int | None, channel_axis: str | None, replace_nan: float | None) -> None:
        self.pairs = pairs
        self.wanted, self.channel_axis, self.replace_nan = wanted, channel_axis, replace_nan
        self.measured = 'train' if pairs.of('train') else None
        self.has_masks = pairs.kind in ('masks', 'binary')
        self.found = Findings()
        self.sizes, self.channels, self.bits, self.types = (collections.Counter() for _ in range(4))
        self.moments = Moments()
        self.counts = collections.defaultdict(Counts)
        self.files = collections.defaultdict(list)  # what is noted of masks -> files
        self.odd_images = collections.defaultdict(list)
        self.mask_sizes = []

    def add(self, index: int) -> None:
        sample = self.pairs.samples[index]
        array = self._image(sample.image)
        found, size = self.found, None if array is None else (array.shape[1], array.shape[0])
        faults = len(found.unreadable) + len(found.mismatched)
        if self.has_masks:
            for path in sample.annotation:
                self._mask(path, size, sample.image)
        if array is not None and len(found.unreadable) + len(found.mismatched) == faults and \
                self.measured in (None, sample.split):
            self.moments.add(array)
            found.measured += 1

    def _image(self, path: Path) -> np.ndarray | None:
        try:
            stored = read_stored(path, self.channel_axis)
            array = stored.taken(self.wanted)
            if not array.size:
                raise ImageReadError(f'{path}: no pixels.')
        except ImageReadError as error:
            self.found.unreadable.append(path)
            self.found.reasons.append(str(error))
            return None
        bits = 8 * array.dtype.itemsize
        self.found.images += 1
        self.sizes[array.shape[1], array.shape[0]] += 1
        self.channels[array.shape[2]] += 1
        self.bits[bits] += 1
        self.types[array.dtype.name] += 1
        self.found.kinds.setdefault((array.shape[2], array.dtype.name), []).append(path)
        self.odd_images[array.shape[2], bits].append(path)
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            self.found.not_finite.append(path)
            array = np.where(np.isfinite(array), array, array.dtype.type(self.replace_nan or 0))
        low, high = array.min().item(), array.max().item()
        found = self.found
        found.smallest, found.largest = (low, high) if found.images == 1 else (
            min(found.smallest, low), max(found.largest, high))
        if stored.alpha and array.shape[2] != stored.array.shape[2]:
            found.alpha.append(path)
        return array

    def _mask(self, path: Path, size: tuple[int, int] | None, image: Path) -> None:
        try:
            mask = read_mask(path)
            if not mask.labels.size:
                raise ImageReadError(f'{path}: no pixels.')
        except ImageReadError as error:
            self.found.unreadable.append(path)
            self.found.reasons.append(str(error))
            return
        self.found.masks += 1
        if size and mask.labels.shape != size[::-1]:
            self.found.mismatched.append(image)
            self.mask_sizes.append((mask.labels.shape[1], mask.labels.shape[0], *size))
        values = self.counts[mask.kind].add(mask.labels)
        self.found.read.append(path)
        self.found.palette.update(mask.palette)
        self.files[mask.kind].append(path)
        if mask.jpeg:
            self.files['jpeg'].append(path)
        if mask.note:
            self.files[f'mask {mask.note}'].append(path)
        if len(values) == 1:
            self.files['uniform', values[0]].append(path)

    def findings(self) -> Findings:
        found = self.found
        found.sizes, found.channels, found.bit_depths, found.types = (
            dict(counter.most_common()) for counter in (self.sizes, self.channels, self.bits, self.types))
        if found.channels:
            found.mean, found.std = self.moments.of(next(iter(found.channels)))
        if self.counts:
            self._values()
        found.problems += self._problems()
        return found

    def _values(self) -> None:
        found = self.found
        # grey masks among colours are those of one class, black say
        kind = max(self.counts, key=lambda kind: (self.counts[kind].masks, kind))
        if kind == 'grey' and 'rgb' in self.counts and self.files['mask channels']:
            kind = 'rgb'
        counts = self.counts[kind]
        if kind == 'rgb' and 'grey' in self.counts:
            self._join_grey(counts)
        found.values = counts.values(kind == 'rgb')
        found.kind = kind if kind != 'grey' else None
        smeared = kind != 'float' and (is_smeared(found.values) or counts.overfull)
        if kind != 'float' and (smeared or (self.files['jpeg'] and len(main_values(found.values)) < len(found.values))):
            found.exact, found.nearest = False, main_values(found.values)
        if found.kind is None:
            values = [value.value for value in found.values]
            found.kind = 'sparse' if is_sparse(values if found.exact else found.nearest) else 'index'
        if found.kind in ('index', 'palette') and found.exact and found.values:
            found.starts_at_one = min(value.value for value in found.values) == 1

    def _join_grey(self, counts: Counts) -> None:
        """Masks of three equal channels hold grey colours."""
        grey = self.counts.pop('grey')
        for value, pixels in grey.pixels.items():
            if 0 <= value < 256:
                counts.pixels[value * 0x010101] += pixels
                counts.files[value * 0x010101] += grey.files[value]
        counts.total += grey.total
        counts.masks += grey.masks
        self.files['grey'] = [path for path in self.files['grey'] if path not in set(self.files['mask channels'])]

    def _problems(self) -> list[str]:
        found, root, lines = self.found, self.pairs.root, []

        def told(what: str, paths: list, do: str) -> None:
            lines.extend(noted(what, paths, do, root))

        told('files that cannot be read', found.unreadable, 'copy or save them again, or take them out.')
        told('images with values that are no numbers (NaN, infinity)', found.not_finite, 'replace them.'
             if self.replace_nan is None else f'{self.replace_nan} is read there.')
        if found.mismatched:
            width, height, *size = self.mask_sizes[0]
            told(f'images whose mask has another size, such as {width} x {height} pixels for {size[0]} x {size[1]}',
                 found.mismatched, 'save both in one size, masks with nearest neighbour.'
                 + (' The sides are swapped: see EXIF orientation.' if (height, width) == tuple(size) else ''))
        told('images with an alpha channel', found.alpha, 'it is left out, what is transparent shows its colour; save '
             'them without it if that matters. --channels counts it, if it is another band.')
        if len(self.odd_images) > 1:
            usual = max(self.odd_images, key=lambda key: len(self.odd_images[key]))
            for key, paths in self.odd_images.items():
                if key != usual:
                    told(f'images of {key[0]} channels and {key[1]} bits, others have {usual[0]} and {usual[1]}', paths,
                         'grey and 8 bit beside RGB are converted when they are read; save them alike if they are '
                         'other sensors.')
        if self.counts:
            self._mask_problems(told)
        return lines

    def _mask_problems(self, told: Callable) -> None:
        found, files = self.found, self.files
        if found.nearest:
            jpeg = files['jpeg']
            every = jpeg or [sample.annotation[0] for sample in self.pairs.samples if sample.annotation]
            shown = joined(found.nearest, MOST_SHOWN)
            told('masks whose values are smeared', every, (f'{JPEG_ADVICE}; ' if jpeg else 'they look resized '
                 'smoothly, or saved as JPEG once; ') + f'the nearest of {shown} is meant for each pixel: '
                 'export them as PNG'
                 + ('; if colours are missing here, name all in a file class_dict.csv (name,r,g,b).'
                    if found.kind == 'rgb' else ', or read them with the nearest value.'))
        elif found.exact and files['jpeg']:
            told('masks saved as JPEG', files['jpeg'], f'{JPEG_ADVICE}, though these are; save masks as PNG.')
        kinds = {kind: files[kind] for kind in ('grey', 'palette', 'rgb', 'float') if files[kind]}
        usual = max(kinds, key=lambda kind: len(kinds[kind]), default=None)
        for kind, paths in kinds.items():
            if kind != usual:
                told(f'masks of another kind ({kind}) than the others ({usual})', paths, 'save all alike.')
        if found.kind == 'float':
            told(MASK_KINDS['float'], files['float'], 'masks hold whole numbers; these may be probabilities, or were '
                 'resized smoothly.')
        told('masks with an alpha channel', files['mask alpha'], 'it is left out.')
        if found.kind != 'rgb':
            told('masks of three channels that repeat one', files['mask channels'], 'the first is taken.')
        if found.starts_at_one:
            told(f'masks of which none holds 0, values {found.values[0].value} to {found.values[-1].value}',
                 files['grey'] or files['palette'], 'if the classes are counted from 1, subtract 1 '
                 '(mapping={1: ..., 2: ...}), else 0 is a class that never occurs.')
        for (_, value), paths in [(key, paths) for key, paths in files.items() if key[0] == 'uniform']:
            named = f'#{int(value):06x}' if found.kind == 'rgb' and value > 255 else value
            told(f'masks that hold nothing but {named}' + (', empty perhaps' if value == 0 else ''), paths,
                 'keep them if the images show nothing else.' if value == 0 else 'see that they are right.')
