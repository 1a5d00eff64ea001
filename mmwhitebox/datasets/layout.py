"""What can be known about a dataset's files before anything is built."""
from pathlib import Path
from typing import Iterator

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmwhitebox.errors import DatasetLayoutError

MAX_NAMED = 5


def check_seg_datasets(cfg: Config, splits: tuple = ('train', 'val', 'test')) -> None:
    """Check that every segmentation dataset of a config has its folders, images and annotations.

    Args:
        cfg (Config): Full config with ``{split}_dataloader``.
        splits (tuple[str]): Splits to check. Defaults to all three.

    Raises:
        DatasetLayoutError: A folder is missing or empty, or images have no annotation.
    """
    checked = set()
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in _leaf_datasets(loader.dataset) if loader else ():
            key = (str(dataset.get('data_root')), str(dataset.get('data_prefix')))
            if key not in checked:
                checked.add(key)
                _check_dataset(dataset)


def _leaf_datasets(dataset: dict) -> Iterator[dict]:
    """The datasets inside wrappers (RepeatDataset, ConcatDataset, ...)."""
    if 'dataset' in dataset:
        yield from _leaf_datasets(dataset['dataset'])
    elif 'datasets' in dataset:
        for item in dataset['datasets']:
            yield from _leaf_datasets(item)
    else:
        yield dataset


def _check_dataset(cfg: dict) -> None:
    cls = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if not (isinstance(cls, type) and issubclass(cls, BaseSegDataset)) or cfg.get('backend_args'):
        return
    dataset = cls(**{k: v for k, v in cfg.items() if k not in ('type', 'pipeline')}, lazy_init=True)
    if dataset.ann_file:
        return
    images = Path(dataset.data_prefix['img_path'])
    annotations = Path(dataset.data_prefix['seg_map_path'])
    layout = (f'\nExpected layout of {cls.__name__}:\n  {images}/*{dataset.img_suffix}\n  {annotations}/*'
              f'{dataset.seg_map_suffix}   (same names)\nWhere the data lies is data_root in the config.')
    for folder in (images, annotations):
        if not folder.is_dir():
            raise DatasetLayoutError(f'The folder {folder} does not exist.{layout}')
    names = {p.relative_to(images).as_posix().removesuffix(dataset.img_suffix)
             for p in images.rglob(f'*{dataset.img_suffix}')}
    if not names:
        raise DatasetLayoutError(f'The folder {images} holds no *{dataset.img_suffix}.{layout}')
    labels = {p.relative_to(annotations).as_posix().removesuffix(dataset.seg_map_suffix)
              for p in annotations.rglob(f'*{dataset.seg_map_suffix}')}
    missing = sorted(names - labels)
    if missing:
        some = ', '.join(f'{name}{dataset.img_suffix}' for name in missing[:MAX_NAMED])
        more = ', ...' if len(missing) > MAX_NAMED else ''
        raise DatasetLayoutError(
            f'{len(missing)} of {len(names)} images in {images} have no annotation: {some}{more}{layout}')
    print_log(f'{cls.__name__}: {len(names)} images with annotations in {images}', logger='current')
