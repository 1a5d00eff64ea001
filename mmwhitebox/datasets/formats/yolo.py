"""YOLO: a txt of each image, one normalised polygon a line; the names of the classes in a yaml."""
from pathlib import Path

import yaml

from .class_folders import named_twice
from .matching import image_file, mask_file, match
from .pairs import Pairs, Sample, noted
from .paths import parent, stem
from .walking import Found
from .words import SPLIT_WORDS, Place

LOOKED_AT = 50


def read_label(path: Path) -> list[tuple[int, list[float]]] | None:
    """(class, numbers after it) of each line; None if a line is something else."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        return [(int(words[0]), [float(word) for word in words[1:]]) for words in lines if words]
    except (OSError, ValueError):
        return None


def find_yolo(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'yolo'; None if no txt holds numbers of an image's name.

    An image without a txt is all background, as Ultralytics has it, if there is a yaml or most images have one.
    """
    stems = {stem(path).lower() for path in found.images}
    files = [path for path in found.with_suffix('.txt') if stem(path).lower() in stems]
    some = [read_label(found.root / path) for path in files[:LOOKED_AT]]
    if not any(rows and all(len(row[1]) >= 4 for row in rows) for rows in some):
        return None
    place = {path: where[parent(path)] for path in (*found.images, *files)}
    matches, lost = match([image_file(path, place[path]) for path in found.images],
                          [mask_file(path, place[path]) for path in files])
    names, splits, problems = _yaml(found)
    samples, boxes, broken, highest, bare = [], [], [], -1, []
    for image in found.images:
        those = matches.get(image)
        split = place[image].split or _listed(image, splits)
        if not those:
            bare.append(image)
            samples.append(Sample(found.root / image, (), (), split))
            continue
        path = those[0].file.path
        rows = read_label(found.root / path)
        if rows is None or any(number < 0 or len(points) < 4 or (len(points) > 5 and len(points) % 2)
                               for number, points in rows):
            broken.append(path)
            continue
        highest = max([highest, *(number for number, _ in rows)])
        if any(len(points) < 6 for _, points in rows):
            boxes.append(path)
        else:
            samples.append(Sample(found.root / image, (found.root / path, ), (), split or place[path].split))
    if bare and len(bare) * 2 > len(found.images) and not names:
        samples = [sample for sample in samples if sample.annotation]
    else:
        problems += noted('images without a label file', bare, 'they are taken as all background, as YOLO does; take '
                          'them out if they are not annotated.')
    problems += noted('label files of boxes', boxes, 'masks need polygons (class x1 y1 x2 y2 x3 y3 ...); '
                      'export these; they are left out.')
    problems += noted('label files that are no lines of a class and an even number of coordinates', broken,
                      'export them again; they are left out.')
    problems += noted('label files without an image', [file.path for file in lost], 'add the images, or give '
                      'both the same name.')
    if names is None:
        names = [f'class {number}' for number in range(highest + 1)]
        problems.append(f'{highest + 1} classes without names: write data.yaml with "names: [first, second, ...]" into '
                        'the folder.')
    elif highest >= len(names):
        problems.append(f'The labels go up to {highest}, the yaml names {len(names)} classes: add the missing names.')
        names += [f'class {number}' for number in range(len(names), highest + 1)]
    if not any(sample.annotation for sample in samples):
        samples = []
    return Pairs(found.root, 'yolo', samples, names, problems=problems + named_twice(names))


def _yaml(found: Found) -> tuple[list[str] | None, dict[str, str], list[str]]:
    """Names of the classes, or None; part of the path of images -> split; lines of problems."""
    broken = []
    for path in sorted(found.with_suffix('.yaml', '.yml'), key=lambda path: path.count('/')):
        try:
            content = yaml.safe_load((found.root / path).read_text())
        except (OSError, ValueError, yaml.YAMLError):
            broken.append(path)
            continue
        names = content.get('names') if isinstance(content, dict) else None
        if isinstance(names, dict) and all(isinstance(key, int) for key in names):
            names = [names.get(key, f'class {key}') for key in range(max(names, default=-1) + 1)]
        if isinstance(names, list):
            splits = {}
            for key in SPLIT_WORDS:
                for part in (content[key] if isinstance(content.get(key), list) else [content.get(key)]):
                    if isinstance(part, str) and not part.endswith('.txt'):
                        splits[part.replace('\\', '/').removeprefix('./').strip('/')] = SPLIT_WORDS[key]
            return list(map(str, names)), splits, []
    names_txt = next((path for path in found.with_suffix('classes.txt', 'obj.names')), None)
    if names_txt:
        return (found.root / names_txt).read_text().split('\n')[:-1] or None, {}, []
    return None, {}, noted('yaml files that cannot be read', broken, 'correct them.')


def _listed(image: str, splits: dict[str, str]) -> str | None:
    found = {split for part, split in splits.items() if part and f'/{part}/' in f'/{image}'}
    return found.pop() if len(found) == 1 else None
