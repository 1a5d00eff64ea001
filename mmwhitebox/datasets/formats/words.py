"""What the names of folders and files say: image or mask, and which split."""
import collections
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from .paths import parent

SPLIT_WORDS = {
    **dict.fromkeys(('train', 'training', 'trn', 'tr', 'trains'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'validate', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing', 'tst', 'tests'), 'test'),
}
IMAGE_WORDS = frozenset((
    'image images img imgs im ims photo photos picture pictures pic pics rgb input inputs frame frames jpegimages '
    'leftimg8bit originals sat').split())
MASK_WORDS = (  # those before are preferred
    'mask masks gt gts gtfine groundtruth groundtruths annotation annotations annot annots ann anns anno annos label '
    'labels labelmap labelmaps segmentation segmentations seg segs segmentationclass segmentationclassaug '
    'segmentationclasspng manual manual1 1st_manual target targets trimap trimaps truth stuffthingmaps gtcoarse '
    'segmentationobject instance instances').split()
NEUTRAL = frozenset((
    'dir folder set data dataset jpeg jpg png tif tiff bmp class classes fine coarse left semantic colour color bit '
    'full all original resized of files file final the raw aug ids id ground object objects index indexed binary list '
    'lists name names split splits fnames fold txt default').split())
SUFFIX_WORDS = (  # of a mask's stem; those before are preferred
    'gtfine_labeltrainids gtfine_labelids gtcoarse_labelids labeltrainids labelids instance_color_rgb ground_truth '
    'gtfine_color gtcoarse_color gtfine_instanceids gtcoarse_instanceids instanceids 1stho manual1 lab lbl l 2ndho '
    'manual2').split()
MASK_AFFIXES = (*MASK_WORDS, *SUFFIX_WORDS)
_AFTER = '|'.join(sorted(MASK_AFFIXES, key=len, reverse=True))
MASK_SUFFIX = re.compile(rf'^(.+?)[\W_]+({_AFTER})(?:[\W_]*(\d+))?$', re.I)
MASK_PREFIX = re.compile(r'^(masks?|gt|labels?|seg|segmentation|annotation|ann)[\W_]+(.+)$', re.I)
IMAGE_SUFFIX = re.compile(r'^(.+?)[\W_]+(leftimg8bit|images?|img|rgb|sat|photo|training|input|im)$', re.I)
IMAGE_PREFIX = re.compile(r'^(images?|img|im|sat|photo|rgb|input)[\W_]+(.+)$', re.I)
_WORD = re.compile(r'[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+')
_JOINED = re.compile(rf'^({"|".join(sorted(SPLIT_WORDS, key=len, reverse=True))})'
                     rf'({"|".join(sorted((*IMAGE_WORDS, *MASK_WORDS), key=len, reverse=True))})$')
_YEAR = re.compile(r'(19|20)\d\d')


class Meaning(NamedTuple):
    """What a name says: ``role`` 'image' | 'mask' | None, ``split``, and ``rest``, what is left of it."""
    role: str | None = None
    split: str | None = None
    rest: str = ''


def role_of(word: str) -> str | None:
    """'image', 'mask' or None."""
    return 'mask' if word in MASK_WORDS else 'image' if word in IMAGE_WORDS else None


def meaning(name: str) -> Meaning:
    """What the name of a folder says: ``rest`` is all of it unless every word is known.

    'train_masks' and 'valannot' are a split and a role; 'with_mask' says nothing, as 'with' is no word of folders.
    """
    lower = name.lower()
    if role_of(lower):
        return Meaning(role_of(lower))
    role, split, digits = None, None, []
    for word in _WORD.findall(name):
        word = word.lower()
        both = _JOINED.match(word)
        for part in both.groups() if both else (word, ):
            if part in SPLIT_WORDS:
                split = split or SPLIT_WORDS[part]
            elif role_of(part):
                role = 'mask' if 'mask' in (role, role_of(part)) else 'image'
            elif part.isdigit():
                if not _YEAR.fullmatch(part):
                    digits.append(part)
            elif part not in NEUTRAL and len(part) > 2:
                return Meaning(rest=name)
    return Meaning(role, split, ' '.join(digits)) if role or split else Meaning(rest=name)


def split_of(name: str) -> str | None:
    """The split that a file's name states ('instances_val2017', 'train_list'); None if it has other words, or two."""
    words = [word.lower() for word in _WORD.findall(name)]
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    known = all(word in SPLIT_WORDS or word in NEUTRAL or role_of(word) or word.isdigit() or word in ('coco', 'st')
                for word in words)
    return splits.pop() if known and len(splits) == 1 else None


class Place(NamedTuple):
    """What the folders of a file say: role, split, the other folders, and ``source``, the folder with the role."""
    role: str | None = None
    split: str | None = None
    rest: tuple[str, ...] = ()
    source: str = ''


def places(paths: Iterable[str]) -> dict[str, Place]:
    """Folder -> what its path says, of all folders that hold one of the files.

    A folder that is named as a split counts as one only beside others, or if those beside it say image or mask: the
    class 'train' beside 'bus' is none. 'stage1_train' counts beside 'stage1_test'.
    """
    children = collections.defaultdict(set)
    for folder in map(PurePosixPath, {parent(path) for path in paths}):
        for child in (folder, *folder.parents):
            if child.name:
                children[child.parent.as_posix()].add(child.name)
    found = {'.': Place()}

    def descend(parent: str) -> None:
        names = sorted(children[parent])
        meanings = {name: meaning(name) for name in names}
        partial = _partly_splits(names)
        meanings.update((name, said) for name, said in partial.items() if not meanings[name].split)
        splits = {said.split for said in meanings.values() if said.split}
        unknown = [name for name, said in meanings.items() if not (said.split or said.role)]
        for name, said in meanings.items():
            if said.split and not said.role and len(splits) < 2 and unknown:
                said = Meaning(rest=name)
            above = found[parent]
            path = name if parent == '.' else f'{parent}/{name}'
            found[path] = Place(said.role or above.role, above.split or said.split,
                                (*above.rest, said.rest) if said.rest else above.rest,
                                name.lower() if said.role else above.source)
            descend(path)

    descend('.')
    return found


def _partly_splits(names: list[str]) -> dict[str, Meaning]:
    """Folders such as stage1_train and stage1_test: a split beside unknown words that another split shares."""
    parts = collections.defaultdict(dict)
    for name in names:
        words = re.split(r'([\W_]+)', name)
        split = [word for word in words if word.lower() in SPLIT_WORDS]
        if len(split) == 1 and len(words) > 1:
            parts[tuple(word for word in words if word not in split)][name] = SPLIT_WORDS[split[0].lower()]
    return {name: Meaning(None, split) for group in parts.values() if len(set(group.values())) > 1
            for name, split in group.items()}


def bare_mask(stem: str) -> tuple[str, str, str]:
    """(stem without what says mask, what said it in small letters or '', number after it or '')."""
    match = MASK_SUFFIX.match(stem)
    if match:
        return match[1], match[2].lower(), match[3] or ''
    match = MASK_PREFIX.match(stem)
    return (match[2], match[1].lower(), '') if match else (stem, '', '')


def bare_image(stem: str) -> str:
    """The stem without what says image."""
    match = IMAGE_SUFFIX.match(stem)
    if match:
        return match[1]
    match = IMAGE_PREFIX.match(stem)
    return match[2] if match else stem


def preference(source: str, affix: str) -> tuple:
    """Sorts kinds of masks of the same images: indices before colours and instances, the first annotator first."""
    order = [*SUFFIX_WORDS[:5], *MASK_WORDS, *SUFFIX_WORDS[5:]]
    said = meaning(source)
    whole = order.index(source) if source in order else len(order) - bool(said.role)
    return (order.index(affix) if affix in SUFFIX_WORDS else 5, 'object' in source or 'instance' in source, whole,
            order.index(affix) if affix in order else len(order), source)
