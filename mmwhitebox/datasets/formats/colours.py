"""Names and colours of classes in a file beside the masks."""
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from mmwhitebox.errors import joined

from .paths import stem
from .walking import Found

NAME_FILES = re.compile(r'(class(es)?([_-]?(names?|list|dict|labels?))?|labels?([_-]?(names?|map|colou?rs?))?|names?|'
                        r'(class[_-]?)?colou?rs?([_-]?(map|codes))?|palette|object_classes|codes)$', re.I)
MOST = 1000  # lines of such a file


def read_names(found: Found) -> tuple[list[str] | None, dict[str, tuple[int, int, int]], list[str]]:
    """Names of the classes and their colours, of files such as classes.txt, class_dict.csv, labelmap.txt.

    A line is a name, or a name and three numbers in either order (``road,128,64,128``, ``128 64 128 road``,
    ``road:128,64,128::``); a header and lines that begin with # are passed over. A file with colours comes before one
    without.

    Returns:
        tuple: Names or None; name -> RGB, empty without colours; lines of problems.
    """
    read = {}
    for path in found.with_suffix('.txt', '.csv', '.names'):
        if NAME_FILES.fullmatch(stem(path)) or path.lower().endswith('.names'):
            rows = list(_rows(found.root / path))
            if rows and len(rows) < MOST:
                read[path] = rows
    if not read:
        return None, {}, []
    path = max(read, key=lambda path: (all(colour for _, colour in read[path]), -path.count('/'), path))
    problems = []
    if len(read) > 1:
        problems.append(f'{len(read)} files of class names ({joined(sorted(read), 3)}): {path} is taken; move the '
                        'others away if it is not the right one.')
    names = [name for name, _ in read[path]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        problems.append(f'{path} names {joined(twice, 3)} twice, the last is taken: give each class a name of its '
                        'own; palette={NAME: [(R, G, B), (R, G, B)]} of the config merges colours.')
    colours = {name: colour for name, colour in read[path] if colour}
    without = [name for name, colour in read[path] if colour == () or colours and colour is None]
    if without:
        problems.append(f'{path} gives {joined(without, 3)} no colour of three numbers from 0 to 255: complete it, or '
                        'these are no classes of coloured masks.')
    same = [name for name, colour in colours.items() if list(colours.values()).count(colour) > 1]
    if same:
        problems.append(f'{path} gives {joined(same, 3)} one colour: give each class a colour of its own.')
    return list(dict.fromkeys(names)), colours, problems


def _rows(path: Path) -> Iterator[tuple[str, tuple[int, int, int] | tuple[()] | None]]:
    try:
        text = path.read_text('utf-8-sig')
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(text.splitlines()):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        if ':' in line and '"' not in line:  # CVAT's labelmap
            cells = [cell for part in line.split(':')[:2] for cell in part.split(',')]
        elif ',' in line or ';' in line or '\t' in line:
            cells = next(csv.reader([line], delimiter=next(sign for sign in ',;\t' if sign in line)))
        else:
            cells = re.split(r'\s+', line)
        cells = [cell.strip() for cell in cells if cell.strip()]
        whole = [cell for cell in cells if cell.isdigit()]
        words = [cell for cell in cells if not cell.isdigit()]
        if words and not whole and number == 0 and (len(words) > 1 or words[0].lower() in ('name', 'class', 'label')) \
                and {'r', 'red', 'name', 'class'} & {word.lower() for word in words}:
            continue
        if not words:
            continue
        colour = () if len(whole) > 1 else None  # numbers that are no colour
        if len(whole) >= 3 and max(map(int, whole[-3:])) < 256:
            r, g, b = map(int, whole[-3:])
            colour = r, g, b
        yield ' '.join(words), colour
