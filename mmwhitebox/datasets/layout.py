"""What can be known about a dataset's files before anything is built."""
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import list_dir_or_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset as ClsDataset
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

from mmwhitebox.config_parts import SPLITS
from mmwhitebox.errors import DatasetLayoutError, joined

from .broken_samples import refuse_skipping
from .class_names import class_name_problems
from .folder import OfFolder

MAX_NAMED = 5
WHERE = '\nWhere the data lies is data_root in the config.'


def check_datasets(cfg: Config, splits: tuple = SPLITS) -> None:
    """Check that every dataset of a config has its folders, images and annotations.

    Segmentation datasets and mmpretrain's datasets of image files are checked; those that come as one
    archive (CIFAR, SVHN) check themselves.

    Args:
        cfg (Config): Full config with ``{split}_dataloader``.
        splits (tuple[str]): Splits to check. Defaults to all three.

    Raises:
        DatasetLayoutError: A folder or file is missing or empty, images have no annotation, or the class
            folders are not those of the classes (see :mod:`.class_names`); all that is wrong in one message.
        ConfigError: A pipeline of validation or test would skip broken samples.
    """
    refuse_skipping(cfg, splits)
    checked = set()
    problems = class_name_problems(cfg, splits)
    told = '\n'.join(problems)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope', 'mmseg')) as registry:
        for split in splits:
            loader = cfg.get(f'{split}_dataloader')
            for dataset in leaf_datasets(loader.dataset) if loader else ():
                key = str({k: v for k, v in dataset.items() if k != 'pipeline'})
                if key not in checked:
                    checked.add(key)
                    cls = dataset['type']
                    try:
                        cls = registry.get(cls) if isinstance(cls, str) else cls
                        _check_dataset(cls, dataset, told, split != 'test')
                    except DatasetLayoutError as error:
                        problems.append(str(error))
    if problems:
        raise DatasetLayoutError('\n'.join(problems))


def leaf_datasets(dataset: dict) -> Iterator[dict]:
    """The datasets inside wrappers (RepeatDataset, ConcatDataset, ...)."""
    inner, several = dataset.get('dataset'), dataset.get('datasets')
    if isinstance(inner, dict):
        yield from leaf_datasets(inner)
    elif isinstance(several, (list, tuple)):
        for item in several:
            if isinstance(item, dict):
                yield from leaf_datasets(item)
    else:  # also one that has an argument of such a name
        yield dataset


def _check_dataset(cls: type, cfg: dict, told: str, needs_labels: bool) -> None:
    known = isinstance(cls, type) and issubclass(cls, (BaseSegDataset, ClsDataset))
    if not known or cfg.get('backend_args'):
        return
    dataset = cls(**{k: v for k, v in cfg.items() if k not in ('type', 'pipeline', 'lazy_init')}, lazy_init=True)
    if isinstance(dataset, OfFolder):
        count = dataset.check_files()
        print_log(f'{cls.__name__}: {count} samples for {dataset.split} in {dataset.data_root}', 'current')
    elif isinstance(dataset, BaseSegDataset):
        if lists_folders(dataset):
            _check_segmentation(dataset, needs_labels)
    elif _is_remote(*dataset.data_prefix.values(), dataset.ann_file):
        return
    elif dataset.ann_file:
        _check_listed(dataset)
    elif isinstance(dataset, CustomDataset) and dataset.with_label:
        _check_class_folders(dataset, told)


def lists_folders(dataset: BaseSegDataset) -> bool:
    """Whether the samples of a data set are the files of its folders on a local disk, as mmseg lists them."""
    own = type(dataset).load_data_list is not BaseSegDataset.load_data_list
    prefix = dataset.data_prefix
    return not (own or dataset.ann_file or dataset.backend_args or not isinstance(prefix.get('img_path'), str)
                or _is_remote(*prefix.values()))


def _is_remote(*places: object) -> bool:
    """Whether one of several paths has a scheme (s3://, http://), of which mmengine makes a backend."""
    return any('://' in str(place) for place in places)


def _stems(folder: Path, suffix: str) -> set:
    """Names without suffix of the files that mmseg lists: links are followed, names that begin with a dot left out."""
    names = list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True)
    return {name.removesuffix(suffix) for name in names}


def _check_segmentation(dataset: BaseSegDataset, needs_labels: bool) -> None:
    images = Path(dataset.data_prefix['img_path'])
    name = type(dataset).__name__
    if not dataset.data_prefix.get('seg_map_path'):
        if needs_labels:
            raise DatasetLayoutError(f'{name}: its data_prefix has no seg_map_path, the folder of the label maps.')
        if not images.is_dir() or not _stems(images, dataset.img_suffix):
            raise DatasetLayoutError(f'The folder {images} holds no *{dataset.img_suffix}.{WHERE}')
        print_log(f'{name}: images without annotations in {images}', logger='current')
        return
    annotations = Path(dataset.data_prefix['seg_map_path'])
    layout = (f'\nExpected layout of {name}:\n  {images}/*{dataset.img_suffix}\n  {annotations}/*'
              f'{dataset.seg_map_suffix}   (same names){WHERE}')
    for folder in (images, annotations):
        if not folder.is_dir():
            raise DatasetLayoutError(f'The folder {folder} does not exist.{layout}')
    names = _stems(images, dataset.img_suffix)
    if not names:
        raise DatasetLayoutError(f'The folder {images} holds no *{dataset.img_suffix}.{layout}')
    missing = sorted(names - _stems(annotations, dataset.seg_map_suffix))
    if missing and dataset._indices is None:  # a subset may be of those that have one
        raise DatasetLayoutError(
            f'{len(missing)} of {len(names)} images in {images} have no annotation: '
            f'{joined([f"{name}{dataset.img_suffix}" for name in missing], MAX_NAMED)}{layout}')
    print_log(f'{name}: {len(names)} images with annotations in {images}', logger='current')


def _check_listed(dataset: ClsDataset) -> None:
    """Images of a folder, listed with their classes in a file."""
    name = type(dataset).__name__
    layout = (f'\nExpected layout of {name}:\n  {dataset.img_prefix}/...   (images)\n  {dataset.ann_file}'
              f'   (their classes){WHERE}')
    for path in (Path(dataset.img_prefix), Path(dataset.ann_file)):
        if not path.exists():
            raise DatasetLayoutError(f'{path} does not exist.{layout}')


def _check_class_folders(dataset: CustomDataset, told: str) -> None:
    """A folder for each class; the first image found is enough, a full listing is left to the dataset.

    What is told of the names in the folder already is not told again.
    """
    root = Path(dataset.img_prefix)
    name = type(dataset).__name__
    layout = (f'\nExpected layout of {name}:\n  {root}/CLASS/*{{{",".join(sorted(dataset.extensions))}}}   '
              f'(one folder for each class){WHERE}')
    if not root.is_dir():
        raise DatasetLayoutError(f'The folder {root} does not exist.{layout}')
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if not folders:
        raise DatasetLayoutError(f'The folder {root} holds no class folders.{layout}')
    if dataset.CLASSES is not None and len(folders) != len(dataset.CLASSES) and str(root) not in told:
        raise DatasetLayoutError(
            f'The folder {root} holds {len(folders)} class folders ({joined([p.name for p in folders], MAX_NAMED)}), '
            f'the dataset has {len(dataset.CLASSES)} classes.{layout}')
    if not any(dataset.is_valid_file(path.name) for folder in folders
               for path in map(Path, list_dir_or_file(folder, list_dir=False, recursive=True))):
        raise DatasetLayoutError(f'The class folders in {root} hold no images.{layout}')
    print_log(f'{name}: {len(folders)} class folders in {root}', logger='current')
