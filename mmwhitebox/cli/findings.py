"""What a check of data found: on the terminal, and as a file."""
import collections
import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from mmwhitebox.config.remedies import Remedy, remedy
from mmwhitebox.datasets.check_report import CheckedSet, check_set, class_table
from mmwhitebox.datasets.checking import KINDS, NOTES, Finding
from mmwhitebox.datasets.set_findings import judge
from mmwhitebox.errors import joined

from .options import write_text

MAX_FILES, MAX_CLASSES, MAX_TEXT, MAX_SIZES = 3, 20, 300, 5
KIND_WIDTH = 30


class Group(NamedTuple):
    """The findings of one kind in a set, and what to type against them, if that is known."""
    kind: str
    findings: list[Finding]
    remedy: Remedy | None


Found = list[tuple[CheckedSet, list[Group]]]


def read_all(cfg: Config, sets: list[CheckedSet], workers: int) -> Found:
    """Check the sets of a config one after another, with a bar for each on stderr; what is found in each."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn('left:'), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for checked in sets:
            task = progress.add_task(checked.name, total=len(checked.checker))
            check_set(checked, workers, lambda count, task=task: progress.advance(task, count))
    judge(sets)
    return [(checked, grouped(cfg, checked)) for checked in sets]


def grouped(cfg: Config, checked: CheckedSet) -> list[Group]:
    """The findings of a set by their kind, in the order of :data:`KINDS`."""
    by_kind = collections.defaultdict(list)
    for finding in checked.findings:
        by_kind[finding.kind].append(finding)
    return [Group(kind, by_kind[kind], remedy(cfg, checked, by_kind[kind])) for kind in KINDS if kind in by_kind]


def total(found: Found) -> str:
    """How many faults and notes there are, and of which kinds the notes."""
    faults = sum(len(checked.faults()) for checked, _ in found)
    notes = sum(len(checked.findings) for checked, _ in found) - faults
    kinds = sorted({group.kind for _, groups in found for group in groups} & NOTES)
    return (f'{sum(len(checked.checker) for checked, _ in found)} samples read: {faults} fault(s), {notes} note(s)'
            + (f' ({", ".join(kinds)})' if kinds else ''))


def show(found: Found, console: Console) -> None:
    """Print a summary: findings by kind with the first files and what to type, the classes, the sizes."""
    for checked, groups in found:
        title = f'{checked.name}: {type(checked.checker.dataset).__name__}, {len(checked.checker)} samples'
        if groups:
            table = Table(Column('kind', max_width=KIND_WIDTH), 'count', Column('first of them', overflow='fold'),
                          title=title, title_justify='left')
            for kind, those, _ in groups:
                lines = [f'{finding.file}: {shortened(finding.message)}' for finding in those[:MAX_FILES]]
                lines += [f'... and {len(those) - MAX_FILES} more'] if len(those) > MAX_FILES else []
                table.add_row(f'{kind}\n[dim]{KINDS[kind]}', str(len(those)), escape('\n'.join(lines)))
            console.print(table)
            for kind, _, what in groups:
                if what is not None:
                    console.print(f'{kind}, {shortened(str(what), " ... (all of it: --page, --out)")}', markup=False,
                                  soft_wrap=True)
        else:
            console.print(f'{title}: nothing wrong')
        show_classes(checked, console)
        sizes = [f'{width} x {height} ({count})' for (width, height), count in checked.sizes.most_common()]
        if sizes:
            console.print(f'{checked.name}, sizes of the images: {joined(sizes, MAX_SIZES)}', markup=False)


def lines(found: Found) -> list[str]:
    """The findings in a line each: the set, the kind, their number, the first files, what to type."""
    return [f'{checked.name}: {group.kind}, {len(group.findings)} '
            f'({joined([finding.file for finding in group.findings], MAX_FILES)})'
            + (f'; {shortened(str(group.remedy))}' if group.remedy else f': {shortened(group.findings[0].message)}')
            for checked, groups in found for group in groups]


def shortened(message: str, rest: str = ' ...') -> str:
    """A message of at most a few lines; the report has all of it."""
    return message if len(message) <= MAX_TEXT else f'{message[:MAX_TEXT]}{rest}'


def show_classes(checked: CheckedSet, console: Console) -> None:
    """Print the classes, the most frequent first; of many, the ends of the list."""
    rows = sorted(class_table(checked), key=lambda row: -row['share'])
    what = 'pixels' if checked.is_segmentation else 'images'
    shown = [f'{row["name"]} {row["share"]:.2%}' for row in rows]
    if len(shown) > MAX_CLASSES:
        shown = [*shown[:MAX_CLASSES // 2], '...', *shown[-MAX_CLASSES // 2:]]
    console.print(f'{checked.name}, share of the {what}: {", ".join(shown)}', markup=False)


def ignored_pixels(checked: CheckedSet) -> int:
    """Pixels that do not count; 0 where the ignored label is none that a map can hold."""
    ignored = checked.checker.ignore_index
    return int(checked.pixels[ignored]) if 0 <= ignored < len(checked.pixels) else 0


def write_report(path: Path, name: str, found: Found, splits: list[str]) -> None:
    """Write all findings as CSV, or with the counts, classes and remedies as JSON.

    Raises:
        UserError: The file cannot be written.
    """
    rows = [dict(split=checked.name, kind=finding.kind, file=finding.file, message=finding.message)
            for checked, _ in found for finding in checked.findings]
    if path.suffix == '.csv':
        table = io.StringIO()
        writer = csv.DictWriter(table, ['split', 'kind', 'file', 'message'])
        writer.writeheader()
        writer.writerows(rows)
        write_text('--out', path, table.getvalue())
        return
    content = json.dumps(dict(
        config=name, splits=splits, ok=not any(checked.faults() for checked, _ in found),
        sets=[dict(splits=list(checked.splits), dataset=type(checked.checker.dataset).__name__,
                   samples=len(checked.checker),
                   counts=dict(collections.Counter(finding.kind for finding in checked.findings)),
                   ignored_pixels=ignored_pixels(checked),
                   sizes=[[*size, count] for size, count in checked.sizes.most_common()],
                   remedies={group.kind: group.remedy._asdict() for group in groups if group.remedy},
                   classes=class_table(checked)) for checked, groups in found],
        findings=rows), indent=1)
    write_text('--out', path, content)
