"""COCO json: polygons and RLE of many images in one file."""
import collections
import json
from pathlib import Path, PurePosixPath
from typing import Any

from .class_folders import named_twice
from .pairs import Pairs, Sample, noted
from .paths import parent
from .walking import Finder, Found
from .words import Place, split_of

PEEKED = 3  # json files of a folder that are none, after which the others of many are not opened
MANY = 20


def load_json(path: Path) -> Any:
    """The content of a json file; None if it is none."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def is_coco(content: Any) -> bool:
    """Whether it has COCO's lists of images, annotations and categories."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ('images', 'annotations', 'categories'))


def category_names(content: dict) -> dict[Any, str]:
    """Id -> name of the categories that have both."""
    return {one['id']: str(one['name']) for one in content['categories']
            if isinstance(one, dict) and 'id' in one and 'name' in one}


def json_files(found: Found) -> list[str]:
    """The json files to open: of a folder with many, a few, if these are no COCO."""
    folders = collections.defaultdict(list)
    for path in found.with_suffix('.json'):
        folders[parent(path)].append(path)
    return [path for those in folders.values() for path in (those if len(those) <= MANY else those[:PEEKED])]


def find_coco(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'coco'; None if no json is one."""
    finder, problems, boxes = Finder(found.images), [], []
    categories: dict[int, str] = {}
    files = []
    broken = []
    for path in json_files(found):
        content = load_json(found.root / path)
        if content is None:
            broken.append(path)
        elif is_coco(content):
            if any(isinstance(one, dict) and one.get('segmentation') for one in content['annotations']):
                files.append((path, content))
            elif content['annotations']:
                boxes.append(path)
    problems += noted('COCO json files of boxes or captions alone', boxes, 'they are left out: masks need '
                      'polygons or RLE ("segmentation"); export these.')
    problems += noted('json files that cannot be read', broken, 'export them again; they are left out.')
    if not files:
        return Pairs(found.root, 'coco', [], problems=problems) if problems else None
    files.sort(key=lambda file: ('instances' not in file[0].lower(), file[0]))
    samples, taken, lost, second, changed = [], {}, [], [], []
    for path, content in files:
        names = category_names(content)
        changed += [path] if any(categories.get(key, name) != name for key, name in names.items()) else []
        categories.update((key, name) for key, name in names.items() if key not in categories)
        pure = PurePosixPath(path)
        place = where[pure.parent.as_posix()]
        of_json = split_of(pure.stem) or place.split
        for image in content['images']:
            name = image.get('file_name') if isinstance(image, dict) else None
            file = finder.find(str(name), pure.parent.as_posix(), of_json) if name else None
            if file is None or 'id' not in image:
                lost.append(str(name))
            elif file in taken:
                second += [path] if taken[file] != path else [file]
            else:
                taken[file] = path
                split = where[parent(file)].split or of_json
                samples.append(Sample(found.root / file, (found.root / path, ), (), split, image['id']))
    problems += noted('json files, or images in one, that state annotations of an image again',
                      list(dict.fromkeys(second)), 'the first is taken, "instances" before others; move '
                      'the wrong one away.')
    problems += noted('images of the json that are not in the folder', lost, 'copy them here, or correct file_name.')
    problems += noted('json files whose category ids mean other classes than in the first', changed,
                      'give a category the same id in all.')
    alone = [path for path in found.images if path not in taken]
    problems += noted('images that no COCO json names', alone, 'they are left out.')
    classes = list(dict.fromkeys(categories[key] for key in sorted(categories, key=lambda k: (str(type(k)), k))))
    if len(classes) < len(categories):
        problems.append(f'{len(categories) - len(classes)} categories have the name of another: they become one class.')
    by_folder = any(where[sample.image.relative_to(found.root).parent.as_posix()].split for sample in samples)
    return Pairs(found.root, 'coco', samples, classes,
                 split_source=('folders' if by_folder else 'annotations') if any(s.split for s in samples) else None,
                 unlabelled=[found.root / path for path in alone], problems=problems + named_twice(classes))
