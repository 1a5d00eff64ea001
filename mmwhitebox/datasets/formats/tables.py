"""Tables of names and labels: csv with or without a header, one-hot columns, lists of ``path label``."""
import collections
import csv

from .class_folders import named_twice
from .lists import Listed
from .pairs import Pairs, Sample, noted
from .paths import parent, stem
from .splits import missing_classes
from .walking import Finder, Found
from .words import SPLIT_WORDS, Place, split_of

LABEL_HEADERS = ('label', 'labels', 'class', 'class_name', 'category', 'target', 'y', 'species', 'diagnosis', 'dx',
                 'type')
SPLIT_HEADERS = ('split', 'set', 'subset', 'data set', 'dataset', 'partition')


def find_table(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'csv'; None if no table names images and labels. Labels that are whole numbers are classes in their
    order, others in that of their names."""
    tables = found.with_suffix('.csv', '.tsv')
    finder = Finder(found.images if tables else ())
    samples, problems, lost, conflicts, twice = {}, [], [], [], []
    for path in tables:
        rows = _read(found, path)
        if rows:
            named, missing = _labels(rows, path, finder)
            lost += missing if named else []
            for image, label, split in named:
                _add(samples, found, where, image, label, split or split_of(stem(path)), conflicts, twice)
    if not samples:
        listed = Listed(found, found.images)
        labels = {second for rows in listed.rows.values() for _, second, _ in rows}
        if None in labels or not 1 < len(labels) < sum(map(len, listed.rows.values())) or all(
                Finder(found.images).find(label) for label in labels):
            return None
        problems += listed.problems
        for split, rows in listed.rows.items():
            for image, label, _ in rows:
                _add(samples, found, where, image, label, split, conflicts, twice)
    problems += noted('images with two labels', conflicts, 'the first is taken; correct the table.')
    problems += noted('images in two splits of the tables', twice, 'the first is taken; correct the table.')
    problems += noted('names of the table that are not in the folder', lost, 'copy the images here, or '
                      'correct the table.')
    empty = [str(s.image) for s in samples.values() if not s.names[0]]
    problems += noted('images with an empty label', empty, 'they are left out; fill them in.')
    kept = [sample for sample in samples.values() if sample.names[0]]
    labels = {sample.names[0] for sample in kept}
    classes = sorted(labels, key=int) if all(label.isdigit() for label in labels) else sorted(labels)
    alone = [path for path in found.images if path not in samples]
    problems += noted('images that the table does not name', alone, 'they are left out; add them.')
    pairs = Pairs(found.root, 'csv', kept, classes,
                  split_source='annotations' if any(sample.split for sample in kept) else None,
                  unlabelled=[found.root / path for path in alone])
    return pairs.but(problems=problems + named_twice(classes) + missing_classes(kept, pairs))


def _add(samples: dict, found: Found, where: dict, image: str, label: str, split: str | None, conflicts: list,
         twice: list) -> None:
    split = split or where[parent(image)].split
    if image not in samples:
        samples[image] = Sample(found.root / image, (), (label.strip(), ), split)
        return
    if samples[image].names != (label.strip(), ):
        conflicts.append(image)
    if samples[image].split != split:
        twice.append(image)


def _read(found: Found, path: str) -> list[list[str]]:
    """Cells of a table, rows of the first's length; none if it is no text."""
    try:
        text = (found.root / path).read_text('utf-8-sig')
        first = text.partition('\n')[0]
        delimiter = max(',;\t|', key=first.count)
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if len(row) == len(rows[0]) and len(row) > 1]


def _labels(rows: list[list[str]], path: str, finder: Finder) -> tuple[list[tuple[str, str, str | None]], list[str]]:
    """(image, label, split) of the rows of a table, and the names that are no images."""
    near = parent(path)
    columns = list(zip(*rows))
    hits = [sum(finder.find(cell, near) is not None for cell in column[:200] if cell) for column in columns]
    names = max(range(len(columns)), key=hits.__getitem__)
    if 2 * hits[names] < min(200, len(rows)) - 1:
        return [], []
    header = [] if finder.find(rows[0][names], near) else [cell.lower() for cell in rows[0]]
    body = rows[1:] if header else rows
    others = [i for i in range(len(columns)) if i != names]
    label_of = _label_column(header, body, others)
    if label_of is None:
        return [], []
    split_at = next((i for i in others if header and header[i] in SPLIT_HEADERS), None)
    found, lost = [], []
    for row in body:
        split = SPLIT_WORDS.get(row[split_at].lower()) if split_at is not None else None
        image = finder.find(row[names], near, split)
        if image is None:
            lost.append(row[names])
        else:
            found.append((image, label_of(row), split))
    return found, lost


def _label_column(header: list[str], body: list[list[str]], others: list[int]):
    """A function of a row that gives its label; None if no column is one."""
    for name in LABEL_HEADERS:
        if name in header and header.index(name) in others:
            at = header.index(name)
            return lambda row: row[at]
    numbers = [i for i in others if header and all(row[i] in ('0', '1', '0.0', '1.0') for row in body)]
    if len(numbers) > 1 and all(sum(row[i] in ('1', '1.0') for i in numbers) == 1 for row in body):
        return lambda row: header[next(i for i in numbers if row[i] in ('1', '1.0'))]
    free = [i for i in others if not (header and header[i] in SPLIT_HEADERS)]
    different = collections.OrderedDict((i, len({row[i] for row in body})) for i in free)
    usable = [i for i, count in different.items() if 1 < count <= max(2, len(body) // 2)]
    if not usable:
        return None
    at = min(usable, key=lambda i: (different[i], i))
    return lambda row: row[at]
