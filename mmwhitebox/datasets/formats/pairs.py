"""What was found in a folder: images, what is annotated of each, and what is wrong with them."""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

from mmwhitebox.config_parts import SPLITS
from mmwhitebox.errors import joined

KINDS = {  # in the order in which they are looked for
    'coco': 'polygons and RLE in COCO json files',
    'labelme': 'polygons in a LabelMe json of each image',
    'yolo': 'normalised polygons in a YOLO txt of each image',
    'masks': 'one mask of each image',
    'binary': 'several masks of each image, one of each class or instance',
    'csv': 'tables or lists of names and labels',
    'classes': 'a folder of each class',
}
POLYGONS = ('coco', 'labelme', 'yolo')
CLASSIFICATION = ('csv', 'classes')
NAMED = 3


class Sample(NamedTuple):
    """An image and its annotation.

    Attributes:
        image (Path): Its file.
        annotation (tuple[Path, ...]): The mask; several of 'binary'; the json or txt of polygons; () of a
            classification, and of an image of 'yolo' without a label file, which is all background.
        names (tuple[str, ...]): The class of each file of 'binary', that of the image in a classification; else ().
        split (str | None): Of :data:`SPLITS`; None where the folder has no splits.
        entry (int | str | None): Id of the image within the json of 'coco'; else None.
    """
    image: Path
    annotation: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    split: str | None = None
    entry: int | str | None = None


@dataclass(frozen=True)
class Pairs:
    """The images of a folder that have an annotation.

    Attributes:
        root (Path): The folder.
        kind (str): Of :data:`KINDS`.
        samples (list[Sample]): In the order of their files' names.
        classes (list[str] | None): Names in the order of their indices, as the annotations or a file of names state
            them; None of masks whose values have no names.
        colours (dict[str, tuple[int, int, int]]): RGB of each class as a file of colours states them; else empty.
        split_source (str | None): 'folders', 'lists', 'annotations' (one json or table per split), 'seeded' or None.
        unlabelled (list[Path]): Images without an annotation; they are no samples.
        problems (list[str]): One line each: what was seen, in how many files, what to do.
    """
    root: Path
    kind: str
    samples: list[Sample]
    classes: list[str] | None = None
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    split_source: str | None = None
    unlabelled: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, split: str | None) -> list[Sample]:
        """The samples of a split."""
        return [sample for sample in self.samples if sample.split == split]

    @property
    def splits(self) -> dict[str | None, int]:
        """Number of samples of each split that has any, in the order of :data:`SPLITS`."""
        counts = {split: len(self.of(split)) for split in (*SPLITS, None)}
        return {split: count for split, count in counts.items() if count}

    def but(self, **changes) -> Self:
        """These pairs with some attributes changed."""
        return replace(self, **changes)


def noted(what: str, files: Sequence[Path | str], do: str, root: Path | None = None) -> list[str]:
    """A line, if there are such files: what was seen, in how many (three named), what to do.

    Args:
        what (str): Such as 'images without a mask'.
        files (Sequence[Path | str]): All of them.
        do (str): A sentence.
        root (Path, optional): Folder from which the files are named. Defaults to None: as they are.
    """
    if not files:
        return []
    names = [Path(file).relative_to(root).as_posix() if root and Path(file).is_relative_to(root) else str(file)
             for file in files[:NAMED + 1]]
    return [f'{len(files)} {what} ({joined(names[:NAMED])}{", ..." if len(files) > NAMED else ""}): {do}']
