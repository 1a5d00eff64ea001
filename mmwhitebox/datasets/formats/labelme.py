"""LabelMe: a json of shapes of each image."""
import collections
from typing import Any

from .class_folders import named_twice
from .coco import json_files, load_json
from .matching import image_file, mask_file, match
from .pairs import Pairs, Sample, noted
from .paths import parent
from .walking import Finder, Found
from .words import Place

BACKGROUND = ('_background_', 'background')
IGNORED = ('__ignore__', 'ignore')


def is_labelme(content: Any) -> bool:
    """Whether it has LabelMe's list of shapes."""
    return isinstance(content, dict) and isinstance(content.get('shapes'), list)


def find_labelme(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'labelme'; None if no json is one. Classes are in the order of their names."""
    if not any(is_labelme(load_json(found.root / path)) for path in json_files(found)):
        return None
    files, broken, labels, content_of = [], [], collections.Counter(), {}
    for path in found.with_suffix('.json'):
        content = load_json(found.root / path)
        if is_labelme(content):
            files.append(path)
            content_of[path] = str(content.get('imagePath') or '')
            labels.update(str(shape.get('label')) for shape in content['shapes'] if isinstance(shape, dict))
        elif content is None:
            broken.append(path)
    place = {path: where[parent(path)] for path in (*found.images, *files)}
    matches, lost = match([image_file(path, place[path]) for path in found.images],
                          [mask_file(path, place[path]) for path in files])
    taken = {image: those[0].file.path for image, those in matches.items() if those}
    finder, orphans = Finder(path for path in found.images if path not in taken), []
    for file in lost:  # renamed, but the json says of which image it is
        image = finder.find(content_of[file.path], parent(file.path))
        if image and image not in taken:
            taken[image] = file.path
        else:
            orphans.append(file.path)
    samples = [Sample(found.root / image, (found.root / taken[image], ), (), place[image].split
                      or place[taken[image]].split) for image in found.images if image in taken]
    alone = [path for path in found.images if path not in taken]
    classes = sorted(set(labels) - {*BACKGROUND, *IGNORED})
    problems = named_twice(classes)
    problems += noted('images without a LabelMe json', alone, 'annotate them (save one without shapes for '
                      'background), or take them out; they are left out.')
    problems += noted('LabelMe json files without an image', orphans, 'add the images, or give both the same name.')
    problems += noted('json files that cannot be read', broken, 'save them again; they are left out.')
    return Pairs(found.root, 'labelme', samples, classes,
                 unlabelled=[found.root / path for path in alone], problems=problems)
