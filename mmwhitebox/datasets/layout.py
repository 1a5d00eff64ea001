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
            for dataset in datasets_of(cfg, split):
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
        raise DatasetLayoutError('\n'.join(dict.fromkeys(problems)))


def datasets_of(cfg: Config, split: str) -> Iterator[dict]:
    """The datasets of a split, inside wrappers; none without a loader."""
    loader = cfg.get(f'{split}_dataloader')
    yield from leaf_datasets(loader.dataset) if loader else ()


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
    dataset = _lazily_built(cls, {k: v for k, v in cfg.items() if k not in ('type', 'pipeline', 'lazy_init')})
    if isinstance(dataset, OfFolder):
        count = dataset.check_files()
        print_log(f'{cls.__name__}: {count} samples for {dataset.split} in {dataset.data_root}', 'current')
    elif isinstance(dataset, BaseSegDataset):
        if _lists_files(dataset):
            _check_segmentation(dataset, needs_labels)
    elif _is_remote(*dataset.data_prefix.values(), dataset.ann_file):
        return
    elif dataset.ann_file:
        _check_listed(dataset)
    elif isinstance(dataset, CustomDataset) and dataset.with_label:
        _check_class_folders(dataset, told)


def _lazily_built(cls: type, arguments: dict) -> BaseSegDataset | ClsDataset:
    """The data set without its samples. Several of mmseg's assert, without a word, that their files are there."""
    try:
        return cls(**arguments, lazy_init=True)
    except AssertionError:
        places = [arguments.get('ann_file'), *(arguments.get('data_prefix') or {}).values()]
        paths = [Path(arguments.get('data_root') or '', place) for place in places if isinstance(place, str)]
        missing = [str(path) for path in paths if not path.exists()]
        if not missing:
            raise
        verb = 'does' if len(missing) == 1 else 'do'
        raise DatasetLayoutError(f'{cls.__name__}: {joined(missing)} {verb} not exist.{WHERE}') from None


def lists_folders(dataset: BaseSegDataset) -> bool:
    """Whether the samples of a data set are the files of its folders on a local disk, as mmseg lists them."""
    return not dataset.ann_file and _lists_files(dataset)


def _lists_files(dataset: BaseSegDataset) -> bool:
    """Whether the samples are files on a local disk, those of the folders or of the names in ``ann_file``."""
    own = type(dataset).load_data_list is not BaseSegDataset.load_data_list
    prefix = dataset.data_prefix
    return not (own or dataset.backend_args or not isinstance(prefix.get('img_path'), str)
                or _is_remote(dataset.ann_file, *prefix.values()))


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
    if dataset.ann_file and not Path(dataset.ann_file).is_dir():
        _check_names(dataset, images, annotations, layout)
        return
    names = _stems(images, dataset.img_suffix)
    if not names:
        raise DatasetLayoutError(f'The folder {images} holds no *{dataset.img_suffix}.{layout}')
    missing = sorted(names - _stems(annotations, dataset.seg_map_suffix))
    if missing and dataset._indices is None:  # a subset may be of those that have one
        raise DatasetLayoutError(
            f'{len(missing)} of {len(names)} images in {images} have no annotation: '
            f'{joined([f"{name}{dataset.img_suffix}" for name in missing], MAX_NAMED)}{layout}')
    print_log(f'{name}: {len(names)} images with annotations in {images}', logger='current')


def _check_names(dataset: BaseSegDataset, images: Path, annotations: Path, layout: str) -> None:
    """Images and annotations of the names in a list."""
    listed = Path(dataset.ann_file)
    if not listed.is_file():
        raise DatasetLayoutError(f'The list of images {listed} does not exist.{layout}')
    names = [line.strip() for line in listed.read_text(encoding='utf-8').splitlines()]
    if not any(names):
        raise DatasetLayoutError(f'The list of images {listed} is empty.{layout}')
    for kind, folder, suffix in (('image', images, dataset.img_suffix),
                                 ('annotation', annotations, dataset.seg_map_suffix)):
        missing = [f'{name}{suffix}' for name in names if not (folder / f'{name}{suffix}').is_file()]
        if missing and dataset._indices is None:  # a subset may be of those that have one
            raise DatasetLayoutError(f'{len(missing)} of the {len(names)} names in {listed} have no {kind} in '
                                     f'{folder}: {joined(missing, MAX_NAMED)}{layout}')
    print_log(f'{type(dataset).__name__}: {len(names)} images with annotations, listed in {listed}', logger='current')


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
