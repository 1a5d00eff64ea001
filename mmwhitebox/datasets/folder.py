"""Images of one's own: a folder is read as it lies, see :mod:`.formats` for what is understood."""
import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mmpretrain.datasets import BaseDataset as ClsDataset
from mmseg.datasets import BaseSegDataset

from mmwhitebox.config_parts import SPLITS
from mmwhitebox.errors import ConfigError, DatasetLayoutError, joined
from mmwhitebox.registry import DATASETS

from .formats import CLASSIFICATION, KINDS, POLYGONS, Pairs, Sample, find_pairs, rasterize, split
from .formats.walking import tree
from .image_io import IMAGE_SUFFIXES


class OfFolder:
    """Mixed into a data set: its samples are those that :func:`.formats.find_pairs` finds.

    Args:
        data_root (str): The folder. Nothing in it is changed.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        kind (str, optional): Which annotations to take, of :data:`.formats.KINDS`, where the folder has several kinds.
        val_share (float): Share of the samples that becomes 'val' where the folder has no such split. Defaults to 0.2.
        seed (int): Of that division. Defaults to 0.
        group_prefix (str | int, optional): Images whose names begin alike stay on one side of it: a number of
            characters, or a text that ends the beginning. Defaults to None: each image by itself.
        left_out (Sequence[str]): Images that are no samples, by their paths from the folder: broken ones, say.
        cache (str, optional): Folder for the masks that are drawn of polygons and of several files per image.
        **kwargs: Arguments of the stack's data set.

    Raises:
        DatasetLayoutError: The folder is not there, holds other annotations than the data set is for, or no sample of
            the split.
        ConfigError: Another ``split``, or no ``cache`` where one is needed.
    """
    wants_masks = True

    def __init__(self, data_root: str, split: str = 'train', val_share: float = 0.2, seed: int = 0,
                 group_prefix: str | int | None = None, cache: str | None = None,
                 kind: str | None = None, left_out: Sequence[str] = (), **kwargs) -> None:
        if split not in SPLITS:
            raise ConfigError(f'{type(self).__name__}: split={split!r} must be one of {joined(SPLITS)}.')
        self.split, self.cache, self.kind = split, cache, kind
        self.left_out = tuple(left_out)
        self.problems: list[str] = []  # of the folder, once its samples are found
        self.division = dict(val_share=val_share, seed=seed, group_prefix=group_prefix)
        super().__init__(data_root=data_root, **kwargs)

    def _join_prefix(self) -> None:
        """Outputs are named by the paths of the images below the folder."""
        self.data_prefix = dict(img_path=str(Path(self.data_root).expanduser()))

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        """As in the stack, ``shown`` as a plain dict: checkpoints hold no other."""
        loaded = super()._load_metainfo(metainfo)
        return {**loaded, 'shown': dict(loaded['shown'])} if 'shown' in loaded else loaded

    def find_samples(self) -> list[Sample]:
        """The samples of the split, with a mask each if the data set wants masks."""
        root = Path(self.data_root).expanduser()
        if not root.is_dir():
            raise DatasetLayoutError(f'The folder {root} does not exist. Where the data lies is own_data.root in the '
                                     'config.')
        pairs = divided(root, self.kind, tuple(self.division.items()), stamp(root))
        if (pairs.kind not in CLASSIFICATION) is not self.wants_masks:
            raise DatasetLayoutError(f'{root} holds {KINDS[pairs.kind]}: that is for '
                                     + ('classification (mmwhitebox new --task cls).' if self.wants_masks else
                                        'segmentation (mmwhitebox new --task seg).'))
        left_out = {root / name for name in self.left_out}
        samples = [sample for sample in pairs.of(self.split) if sample.image not in left_out]
        if not samples:
            raise DatasetLayoutError(f'{root} has no images with annotations for {self.split}: it has '
                                     + (joined([f'{count} for {name}' for name, count in pairs.splits.items()])
                                        or 'none at all') + '.')
        self.problems = pairs.problems
        if pairs.kind not in (*POLYGONS, 'binary'):
            return samples
        if self.cache is None:
            raise ConfigError(f'{root} holds {KINDS[pairs.kind]}: name a folder for the masks that are made of them, '
                              'own_data.cache.')
        drawn = rasterize(pairs.but(samples=samples), Path(self.cache))
        self.problems = drawn.problems
        return drawn.samples

    def check_files(self) -> int:
        """Number of samples.

        Raises:
            DatasetLayoutError: There are none, or they are of another kind.
        """
        return len(self.find_samples())


def stamp(root: Path) -> tuple[int, int]:
    """Number of files of a folder, and when the last of its folders and of the files that are no images changed."""
    number, newest = 0, 0
    for folder, _, names in tree(root):
        number += len(names)
        texts = [name for name in names if not name.lower().endswith(IMAGE_SUFFIXES)]
        for name in ('.', *texts):
            with suppress(FileNotFoundError):  # gone since it was listed
                newest = max(newest, os.lstat(os.path.join(folder, name)).st_mtime_ns)
    return number, newest


@functools.lru_cache(maxsize=4)
def divided(root: Path, kind: str | None, division: tuple, stamp: tuple[int, int]) -> Pairs:
    """The samples of a folder with their splits; read once for all data sets of a process while nothing changes."""
    return split(find_pairs(root, kind), **dict(division))


@DATASETS.register_module()
class FolderSegDataset(OfFolder, BaseSegDataset):
    """A folder of images and masks, or polygons, in any layout that is understood (:mod:`.formats`).

    What the values or colours of the masks mean is said to :class:`LoadSegAnnotation`; names and colours of the classes
    are ``metainfo``. A config says both once, as ``own_data`` (:mod:`mmwhitebox.config.own_data`).
    Arguments: those of :class:`OfFolder` and of mmseg's ``BaseSegDataset``.
    """

    def load_data_list(self) -> list[dict]:
        """The samples of the split."""
        return [dict(img_path=str(sample.image), seg_map_path=str(sample.annotation[0]), label_map=self.label_map,
                     reduce_zero_label=self.reduce_zero_label, seg_fields=[]) for sample in self.find_samples()]


@DATASETS.register_module()
class FolderClsDataset(OfFolder, ClsDataset):
    """A folder of images in class folders, or with a table of names and labels (:mod:`.formats`).

    Args:
        mapping (Mapping[str, str], optional): Label in the folder -> class; labels of one class are merged. Defaults
            to None: the labels are the classes.
        ignored (Sequence[str]): Labels that are left out.
        **kwargs: Arguments of :class:`OfFolder` and of mmpretrain's ``BaseDataset``; ``metainfo.classes`` names the
            classes in the order of their labels, and those of ``mapping`` that it does not name are left out.

    Raises:
        DatasetLayoutError: A label that is in neither.
    """
    wants_masks = False

    def __init__(self, data_root: str, mapping: Mapping[str, str] | None = None, ignored=(), **kwargs) -> None:
        self.mapping, self.ignored = mapping, {str(name) for name in ignored}
        super().__init__(data_root=data_root, ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """The samples of the split."""
        labels = {name: label for label, name in enumerate(self.metainfo['classes'])}
        known = self.mapping or {name: name for name in labels}
        unknown, found = {}, []
        for sample in self.find_samples():
            name = sample.names[0]
            if name in self.ignored:
                continue
            if name not in known:
                unknown.setdefault(name, []).append(sample.image.name)
            elif known[name] in labels:
                found.append(dict(img_path=str(sample.image), gt_label=labels[known[name]]))
        if unknown:
            images = [name for names in unknown.values() for name in names]
            raise DatasetLayoutError(f'{self.data_root}: {joined(sorted(unknown))} in {len(images)} images '
                                     f'({joined(images, 3)}) is no class of '
                                     f'{joined(list(known))}: add it to own_data.classes, or list it in '
                                     'own_data.ignored.')
        return found

    def check_files(self) -> int:
        """Number of samples; raises a DatasetLayoutError of labels that are unknown too."""
        return len(self.load_data_list())
