"""Checking all samples of all sets of a config: reading in parallel, and what is counted of them."""
import collections
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmcv.transforms import LoadAnnotations as BaseLoadAnnotations
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmwhitebox.config_parts import get, heads, listed
from mmwhitebox.errors import UserError

from .checking import NOTES, Finding, Sample, SampleChecker
from .class_names import class_name_problems
from .folder import OfFolder
from .formats.pairing import IN_TWO_SPLITS
from .image_io import IMAGE_SUFFIXES
from .layout import check_datasets, datasets_of, lists_folders
from .likeness import WORDS
from .mask_reading import steps_that_read_masks
from .training_view import NUM_BINS, TrainingView, bins_of

BIT_DEPTHS = (8, 10, 12, 14)  # what cameras and files of 16 bits hold
CHUNK = 8  # samples that a worker takes at once
CRASH = 'the process that read it died (out of memory, or a decoder that it crashes): take it out.'


@dataclass
class CheckedSet:
    """One dataset of a config, the splits that use it, and what is found in it.

    Attributes:
        splits (tuple[str, ...]): Those that use it.
        checker (SampleChecker): Reads its samples.
        findings (list[Finding]): What is wrong.
        digests (np.ndarray): (S, 2) uint64 of the decoded pixels of each sample; zeros if there are none.
        signatures (np.ndarray): (S, 2, 16) uint64, see :mod:`.likeness`.
        first_labels (np.ndarray): (S, ) int32 class of each picture, -1 without.
        empty_crops (np.ndarray): (S, 2) float32 share of the crops in which no pixel counts, as they are and twice as
            large.
        pixels (np.ndarray): (256 or more, ) int64 pixels with each label.
        images (np.ndarray): (256 or more, ) int64 samples with each label.
        areas (np.ndarray): (classes, bins) pixels of each class by the size of the connected area that they lie in, at
            the size to which the training resizes; see :func:`.training_view.bins_of`.
        small (np.ndarray): (classes, 3) of the areas with fewer pixels than a patch of the model: their number and
            pixels; and the number of all areas.
        masks (int): Masks that could be read.
        sizes (Counter): (width, height) of the images -> number.
        widest (int): Largest value of the images of more than 8 bits; 0 if there are none.
        weighed (bool): Whether the config's losses weigh the classes.
        edges (list[np.ndarray]): Those under the borders of some masks, see :mod:`.offset`.
    """
    splits: tuple[str, ...]
    checker: SampleChecker
    findings: list[Finding]
    digests: np.ndarray
    signatures: np.ndarray
    first_labels: np.ndarray
    empty_crops: np.ndarray
    pixels: np.ndarray
    images: np.ndarray
    areas: np.ndarray
    small: np.ndarray
    masks: int = 0
    sizes: collections.Counter = field(default_factory=collections.Counter)
    widest: int = 0
    weighed: bool = False
    edges: list[np.ndarray] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The splits, as they are shown: 'val, test'."""
        return ', '.join(self.splits)

    @property
    def is_segmentation(self) -> bool:
        """Whether the set has masks."""
        return self.checker.load_mask is not None

    def faults(self) -> list[Finding]:
        """Findings that are no mere notes."""
        return [finding for finding in self.findings if finding.kind not in NOTES]


def make_sets(cfg: Config, splits: Sequence[str]) -> list[CheckedSet]:
    """The datasets of a config, each once, whatever splits and wrappers use it.

    Args:
        cfg (Config): Full config.
        splits (Sequence[str]): Of 'train', 'val', 'test'.

    Raises:
        UserError: A dataset cannot be built: a folder is missing, say.
    """
    cfgs: dict[str, tuple[list[str], dict]] = {}
    for split in splits:
        for dataset in datasets_of(cfg, split):
            key = str({k: v for k, v in dataset.items() if k != 'pipeline'})
            cfgs.setdefault(key, ([], dataset))[0].append(split)
    if not cfgs:
        raise UserError(f'The config has no dataset for {", ".join(splits)}.')
    scope = cfg.get('default_scope', 'mmseg')
    sets = [_make_set(tuple(dict.fromkeys(names)), dataset, cfg, scope) for names, dataset in cfgs.values()]
    sets[0].findings.extend(Finding('class names', 'config', problem) for problem in class_name_problems(cfg, splits))
    told: set[str] = set()
    for checked in sets:
        dataset = checked.checker.dataset
        lines = [line for line in dataset.problems if line not in told and IN_TWO_SPLITS not in line] \
            if isinstance(dataset, OfFolder) else []  # what lies in two splits is found by its pixels
        told.update(lines)
        checked.findings.extend(Finding('folder', str(dataset.data_root), line) for line in lines)
    return sets


def _make_set(splits: tuple[str, ...], dataset_cfg: dict, cfg: Config, scope: str) -> CheckedSet:
    try:
        with DATASETS.switch_scope_and_registry(scope) as registry:
            dataset = registry.build({**dataset_cfg, 'pipeline': []})
            dataset.full_init()
        size = len(dataset)
    except Exception as error:  # whatever a dataset raises without its files
        check_datasets(cfg, splits)
        raise UserError(f'The dataset of {", ".join(splits)} cannot be built: {error}') from error
    if size == 0:
        check_datasets(cfg, splits)
        raise UserError(f'The dataset of {", ".join(splits)} has no samples.')
    load_image, load_mask = _loading_steps(dataset_cfg.get('pipeline', ()), dataset, scope)
    classes = dataset.metainfo.get('classes') or ()
    model_classes = _model_classes(cfg)
    loaded = getattr(load_mask, 'num_classes', None)
    num_classes = len(classes) or loaded or model_classes
    if not num_classes:
        raise UserError(f'The number of classes of {", ".join(splits)} is not known: name metainfo.classes.')
    findings = [*(_unpaired_masks(dataset) if load_mask is not None else ()), *_hidden_files(dataset)]
    if model_classes and model_classes != num_classes:
        findings.append(Finding('classes differ', type(dataset).__name__,
                                f'the model has {model_classes} classes, the dataset {num_classes}.'))
    if loaded and loaded != num_classes:
        findings.append(Finding('classes differ', type(dataset).__name__,
                                f'the step that reads masks has {loaded} classes, the dataset {num_classes}.'))
    trained = load_mask is not None and 'train' in splits
    with TRANSFORMS.switch_scope_and_registry(scope):
        stem = str(get(cfg, 'model.backbone.type')).endswith('WhiteBoxTransformer')  # TimmViT pads up to a patch
        tested = [split for split in splits if split != 'train' and stem and get(cfg, 'model.test_cfg.mode') == 'whole']
        checker = SampleChecker(dataset, load_image, load_mask, num_classes, TrainingView.of(cfg) if trained else None,
                                TrainingView.of(cfg, tested[0]) if tested and load_mask is not None else None)
    return CheckedSet(splits, checker, findings, np.zeros((size, 2), np.uint64),
                      np.zeros((size, 2, WORDS), np.uint64), np.full(size, -1, np.int32),
                      np.zeros((size, 2), np.float32), np.zeros(max(256, num_classes), np.int64),
                      np.zeros(max(256, num_classes), np.int64), np.zeros((num_classes, NUM_BINS)),
                      np.zeros((num_classes, 3)), weighed=_weighs(cfg))


def _weighs(cfg: Config) -> bool:
    """Whether a loss of the config's heads has weights of the classes."""
    losses = [loss for _, head in heads(cfg) for name in ('loss_decode', 'loss')
              for _, loss in listed(name, head.get(name))]
    return any(isinstance(loss, dict) and loss.get('class_weight') for loss in losses)


def _model_classes(cfg: Config) -> int | None:
    model = cfg.get('model') or {}
    heads = model.get('decode_head') or model.get('head') or {}
    return heads.get('num_classes') if isinstance(heads, dict) else None


def _loading_steps(pipeline: Sequence[dict], dataset, scope: str) -> tuple:
    """The steps of a pipeline that read the image and the mask."""
    load_image = load_mask = None
    with TRANSFORMS.switch_scope_and_registry(scope) as registry:
        steps = []
        for step in pipeline:
            steps.append(registry.build(dict(step)) if isinstance(step, dict) else step)
            if isinstance(steps[-1], BaseLoadAnnotations):
                load_mask = steps[-1]
            elif load_image is None:
                load_image = steps[-1]
            if load_image and (load_mask or not isinstance(dataset, BaseSegDataset)):
                break  # what follows is not asked for, and may need packages that are not there
    if isinstance(dataset, BaseSegDataset):
        reading = [] if load_mask else steps_that_read_masks(steps, dataset)
        load_mask = load_mask or (reading[-1] if reading else LoadAnnotations())
    return load_image, load_mask


def _hidden_files(dataset) -> Iterator[Finding]:
    """Images whose names begin with a dot (macOS writes ._NAME beside NAME), which no data set lists."""
    prefix = dataset.data_prefix if isinstance(dataset.data_prefix, dict) else {}
    folder = Path(prefix.get('img_path') or '')
    if folder == Path() or not folder.is_dir():
        return
    found = sorted(path for path in folder.rglob('.*') if path.suffix.lower() in IMAGE_SUFFIXES)
    if found:
        yield Finding('hidden file', str(found[0]), f'{len(found)} file(s) whose names begin with a dot in {folder} '
                      'are no images of the data set; macOS writes such. Delete them to be rid of this note.')


def _unpaired_masks(dataset) -> Iterator[Finding]:
    """Masks in the folder of a set that no image has."""
    if not lists_folders(dataset) or not dataset.data_prefix.get('seg_map_path'):
        return
    folder, images = Path(dataset.data_prefix['seg_map_path']), Path(dataset.data_prefix['img_path'])
    for mask in sorted(folder.rglob(f'*{dataset.seg_map_suffix}')):
        if mask.name.startswith('.'):
            continue
        stem = mask.relative_to(folder).as_posix().removesuffix(dataset.seg_map_suffix)
        if not (images / f'{stem}{dataset.img_suffix}').exists():
            yield Finding('unpaired mask', str(mask), f'no image {stem}{dataset.img_suffix} in {images}.')


_checker: SampleChecker | None = None  # of a worker process


def _start_worker(checker: SampleChecker) -> None:
    global _checker
    _checker = checker


def _check_chunk(indices: Sequence[int]) -> list[Sample]:
    return [_checker.check(index) for index in indices]


def read_samples(checker: SampleChecker, workers: int) -> Iterator[tuple[int, Sample]]:
    """Check all samples, in order. A sample whose reader dies becomes a finding, and the others go on.

    Args:
        checker (SampleChecker): The set.
        workers (int): Processes; 0 reads in this one.

    Yields:
        tuple[int, Sample]: Index and result; results wait for no more than a few chunks a worker.
    """
    if not workers:
        yield from ((index, checker.check(index)) for index in range(len(checker)))
        return
    chunks = (range(i, min(i + CHUNK, len(checker))) for i in range(0, len(checker), CHUNK))
    waiting: collections.deque[tuple[range, Future | None]] = collections.deque()
    pool = _pool(checker, workers)
    try:
        while True:
            while len(waiting) < 3 * workers and (chunk := next(chunks, None)) is not None:
                waiting.append((chunk, _submit(pool, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                if future is None:
                    raise BrokenProcessPool
                samples = future.result()
            except BrokenProcessPool:
                samples = [_check_alone(checker, index) for index in chunk]
                pool.shutdown()
                pool = _pool(checker, workers)
                waiting = collections.deque((rest, _submit(pool, rest)) for rest, _ in waiting)
            yield from zip(chunk, samples)
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(checker: SampleChecker, workers: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else None)
    return ProcessPoolExecutor(workers, context, _start_worker, (checker, ))


def _submit(pool: ProcessPoolExecutor, chunk: range) -> Future | None:
    """None when the pool is broken already."""
    try:
        return pool.submit(_check_chunk, chunk)
    except BrokenProcessPool:
        return None


def _check_alone(checker: SampleChecker, index: int) -> Sample:
    """Check one sample in a process of its own."""
    with _pool(checker, 1) as pool:
        try:
            return pool.submit(_check_chunk, [index]).result()[0]
        except BrokenProcessPool:
            return Sample([Finding('crash', checker.name(index), CRASH)])


def check_set(checked: CheckedSet, workers: int, progress: Callable[[int], None] = lambda count: None) -> None:
    """Read every sample of a set, and note and count what is found.

    Args:
        checked (CheckedSet): From :func:`make_sets`; its counts and findings are filled.
        workers (int): Processes; 0 reads in this one.
        progress (Callable): Called with the number of samples done since the last call.
    """
    for index, sample in read_samples(checked.checker, workers):
        checked.findings.extend(finding._replace(sample=index) for finding in sample.findings)
        checked.widest = max(checked.widest, sample.widest)
        checked.empty_crops[index] = sample.empty_crops
        if sample.digest:
            checked.digests[index] = np.frombuffer(sample.digest, np.uint64)
            checked.signatures[index] = sample.signature
            checked.sizes[sample.size] += 1
        if sample.labels:
            checked.first_labels[index] = sample.labels[0]
            valid = [label for label in sample.labels if 0 <= label < len(checked.images)]
            np.add.at(checked.images, valid, 1)
        if sample.pixels is not None:
            checked.pixels[:] += sample.pixels
            checked.images[:] += sample.pixels > 0
            checked.masks += 1
        if sample.edges is not None:
            checked.edges.append(sample.edges)
        if sample.areas is not None:
            classes, sizes = sample.areas
            is_small = sizes < checked.checker.view.patch ** 2
            np.add.at(checked.areas, (classes, bins_of(sizes)), sizes)
            np.add.at(checked.small, classes, np.stack([is_small, is_small * sizes, np.ones_like(sizes)], 1))
        progress(1)


def class_names(checked: CheckedSet) -> list[str]:
    """Names of the classes; numbers where the dataset names none."""
    names = list(checked.checker.dataset.metainfo.get('classes') or ())
    return [str(names[i]) if i < len(names) else str(i) for i in range(checked.checker.num_classes)]


def class_table(checked: CheckedSet) -> list[dict]:
    """Name, number of images and, of masks, pixels and their share among those that count, for each class."""
    names = class_names(checked)
    pixels = checked.pixels[:len(names)]
    total = max(1, int(pixels.sum() if checked.is_segmentation else checked.images[:len(names)].sum()))
    rows = []
    for index, name in enumerate(names):
        row = dict(index=index, name=name, images=int(checked.images[index]))
        if checked.is_segmentation:
            row['pixels'] = int(pixels[index]) if index < len(pixels) else 0
        rows.append({**row, 'share': row.get('pixels', row['images']) / total})
    return rows
