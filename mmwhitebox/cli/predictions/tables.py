"""What the finished images of a run say together: classes and shares as CSV, regions as COCO's json."""
import csv
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mmwhitebox.checkpoints.atomic import write_atomically
from mmwhitebox.engine.work_dir import prepare_folder
from mmwhitebox.errors import UserError

from .journal import Finished


def prepare_table(path: str, option: str) -> None:
    """Make sure that a table can be written; ``option`` is what it was given by.

    Raises:
        UserError: It is a folder, or its folder cannot be written.
    """
    if Path(path).is_dir():
        raise UserError(f'{option} {path}: this is a folder; give the name of a file.')
    prepare_folder(Path(path).parent, option)


def write_classes(path: str | Path, found: Finished, names: Iterable[str]) -> None:
    """CSV of image, rank, class, score: the most likely classes of each image."""
    write_csv(path, ['image', 'rank', 'class', 'score'], (
        [image, rank, label, f'{score:.6f}'] for _, image, content in images(found, names)
        for rank, (label, score) in enumerate(content['top'], 1)))


def write_shares(path: str | Path, found: Finished, names: Iterable[str], classes: list[str]) -> None:
    """CSV of image, pixels, and the share of each class in these pixels: those that have a class.

    Of an image without any such pixel the shares are empty.
    """
    def row(image: str, pixels: dict[str, int]) -> list:
        count = sum(pixels.values())
        return [image, count, *(f'{pixels.get(str(label), 0) / count:.6f}' if count else ''
                                for label in range(len(classes)))]

    write_csv(path, ['image', 'pixels', *classes], (
        row(image, content['pixels']) for _, image, content in images(found, names)))


def write_regions(path: str | Path, found: Finished, names: list[str], classes: list[str]) -> None:
    """COCO's json: each region is an annotation, its category the class index; ``file_name`` as the outputs' path."""
    def parts() -> Iterator[str]:
        yield '{"categories": '
        yield json.dumps([dict(id=label, name=name) for label, name in enumerate(classes)])
        yield ',\n"images": ['
        for number, (name, image, content) in enumerate(images(found, names), 1):
            height, width = content['size']
            file_name = '/'.join(Path(image).parts[-1 - name.count('/'):]) if '#' not in image else name
            yield ',\n' * (number > 1) + json.dumps(dict(id=number, file_name=file_name, width=width, height=height))
        yield '],\n"annotations": ['
        number = 0
        for image_id, (_, _, content) in enumerate(images(found, names), 1):
            for label, area, polygon in content['regions']:
                number += 1
                left, top = min(polygon[::2]), min(polygon[1::2])
                box = [left, top, max(polygon[::2]) - left, max(polygon[1::2]) - top]
                yield ',\n' * (number > 1) + json.dumps(dict(
                    id=number, image_id=image_id, category_id=label, area=area, bbox=box, iscrowd=0,
                    segmentation=[polygon]))
        yield ']}\n'

    def write(temporary: Path) -> None:
        with open(temporary, 'w', encoding='utf-8') as file:
            file.writelines(parts())

    write_atomically(path, write)


def write_csv(path: str | Path, header: Collection[str], rows: Iterable[Collection]) -> None:
    """Write a table; a name of a file that is no Unicode keeps its bytes."""
    def write(temporary: Path) -> None:
        with open(temporary, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
            table = csv.writer(file)
            table.writerow(header)
            table.writerows(rows)

    write_atomically(path, write)


def images(found: Finished, names: Iterable[str]) -> Iterator[tuple[str, str, dict]]:
    """(name, image, content) of the finished images, and of the frames of videos, in the order of the names."""
    for name in names:
        image, content = found.get(name) or ('', {})
        if 'frames' in content:
            yield from images(found, (frame_name(name, index) for index in range(content['frames'])))
        elif content:
            yield name, image, content


def frame_name(video: str, index: int) -> str:
    """Name of the outputs of a frame."""
    return f'{video}/{index:06d}'
