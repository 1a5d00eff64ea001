"""Names of classes: what a config says they are, what the folders of an image folder make of them.

mmpretrain numbers the folders of a ``CustomDataset`` (``ImageNet`` without annotation file, ...) in the order of their
names, whatever ``classes`` says, and separately for every split.
"""
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset as ClsDataset
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

from mmwhitebox.config_parts import SPLITS, Part, datasets, get
from mmwhitebox.errors import joined


def class_name_problems(cfg: Config, splits: Sequence[str] = SPLITS) -> list[str]:
    """What is wrong with the classes of a config's data sets, a line each.

    Args:
        cfg (Config): Full config.
        splits (Sequence[str]): Splits to look at. Defaults to all three.

    Returns:
        list[str]: ``classes`` that are one text instead of a list of names; hidden folders that count as a class; names
            in another order than the folders; splits whose folders give one class two labels.
    """
    problems: list[str] = []
    first: tuple[Part, Path, list[str]] | None = None
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        for part in (part for split in splits for part in datasets(cfg, split)):
            problems.extend(_plain_text(part))
            problems.extend(_twice(part))
            found = class_folders(part)
            if found is None:
                continue
            root, folders = found
            hidden = [name for name in folders if name.startswith('.')]
            folders = [name for name in folders if name not in hidden]
            if hidden:
                problems.append(f'{part.name}: {joined(hidden)} in {root} would count as a class: delete it '
                                f'(rm -r {root / hidden[0]}).')
            problems.extend(_other_order(part, root, folders))
            if first is None:
                first = part, root, folders
            else:
                problems.extend(_other_labels(*first, part, root, folders))
    return list(dict.fromkeys(problems))


def _twice(part: Part) -> Iterator[str]:
    """A name that stands for two labels."""
    names = [str(name) for name in known_classes(part) or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and _named(part):
        yield f'{part.name}: {joined(twice)} is the name of several classes in metainfo.classes: name each once.'


def known_classes(part: Part) -> list[str] | None:
    """Names of the classes of a data set, as far as they can be known before it is built.

    They are those of the config, or else of the class (``METAINFO``), or else the class folders. A class that is not of
    the stack is asked itself, without its files.

    Args:
        part (Part): The data set.
    """
    if part.cls is None or not issubclass(part.cls, BaseDataset):
        return None
    if not part.known:
        dataset = lazily_built(part)
        names = dataset.metainfo.get('classes') if dataset is not None else None
    else:
        names = _named(part) or getattr(part.cls, 'METAINFO', {}).get('classes')
        if isinstance(names, str):
            names = Path(names).read_text().splitlines() if Path(names).is_file() else None
    if names is None and (found := class_folders(part)) is not None:
        names = [name for name in found[1] if not name.startswith('.')]
    return list(names) if names and not isinstance(names, str) else None


def class_folders(part: Part) -> tuple[Path, list[str]] | None:
    """The folder of a data set whose classes are folders, and their names in the order of the labels.

    Args:
        part (Part): The data set.

    Returns:
        tuple | None: None for other data sets, and where there is no such folder on a local disk.
    """
    if part.cls is None or not issubclass(part.cls, CustomDataset) or \
            part.cls._find_samples is not CustomDataset._find_samples:
        return None
    dataset = lazily_built(part)
    if dataset is None or dataset.ann_file or not dataset.with_label or not Path(dataset.img_prefix).is_dir():
        return None
    root = Path(dataset.img_prefix)
    return root, sorted(path.name for path in root.iterdir() if path.is_dir())


def lazily_built(part: Part) -> BaseDataset | None:
    """The data set without its samples and pipeline; None if it cannot be had without its files."""
    if not issubclass(part.cls, (BaseSegDataset, ClsDataset)):
        return None
    arguments = {key: value for key, value in part.cfg.items() if key not in ('type', 'pipeline', 'lazy_init')}
    try:
        return part.cls(**arguments, lazy_init=True)
    except Exception:  # whatever a data set raises without its files
        return None


def _named(part: Part) -> Any:
    """Classes named in the config."""
    return get(part.cfg, 'metainfo.classes') or part.cfg.get('classes')


def _plain_text(part: Part) -> list[str]:
    for key, names in (('metainfo.classes', get(part.cfg, 'metainfo.classes')),
                       ('classes', part.cfg.get('classes'))):
        if isinstance(names, str) and not Path(names).expanduser().is_file() and '://' not in names:
            return [f'{part.path}.{key}={names!r} is one text, and no file of names; each of its {len(names)} letters '
                    f'would be a class. A single class needs a comma: ({names!r}, ).']
    return []


def _other_order(part: Part, root: Path, folders: list[str]) -> list[str]:
    """Classes whose names are those of folders, at other places."""
    names = _named(part)
    if not names or isinstance(names, str):
        return []
    names = [str(name) for name in names]
    missing = _missing(names, folders)
    if missing and len(folders) < len(names) and len(missing) < len(names):
        return [f'{part.name}: {root} has no folder for the class {joined(missing)}, so the labels of the others would '
                'shift: add it, empty if there are no pictures.']
    if len(names) == len(folders) and _displaced(names, folders):
        return [f'{part.name}: the labels follow the names of the folders in {root} ({joined(folders)}), not the order '
                f'of classes ({joined(names)}): write classes in the order of the folders.']
    return []


def _other_labels(first: Part, first_root: Path, first_folders: list[str], part: Part, root: Path,
                  folders: list[str]) -> list[str]:
    """A class that has another label in this split than in the first."""
    if not _displaced(first_folders, folders):
        return []
    missing, extra = _missing(first_folders, folders), _missing(folders, first_folders)
    what = '; '.join([f'{root} lacks {joined(missing)}'] * bool(missing)
                     + [f'{first_root} lacks {joined(extra)}'] * bool(extra)) or 'their folders differ in order'
    return [f'{part.name}: a class would have another label than in {first.path}: {what}. Add the folders that are '
            'missing, empty if there are no pictures.']


def _displaced(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether a name is in both lists, at different places."""
    places = {name.casefold(): i for i, name in enumerate(first)}
    return any(places.get(name.casefold(), i) != i for i, name in enumerate(second))


def _missing(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    folded = {name.casefold() for name in there}
    return [name for name in wanted if name.casefold() not in folded]
