"""What a run leaves behind: JSON with every round, tables for the terminal and for a page, plots."""
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import torch
from prettytable import PrettyTable, TableStyle

from mmwhitebox.errors import UserError

from .contest import Settings
from .operators import HALF
from .roofline import least_time, roofline_markdown
from .rounds import quartiles, ratios
from .scaling import scaling_markdown

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('torch', 'triton', 'timm', 'onedl-mmsegmentation')
SECTION = re.compile(r'(<!-- table:([\w-]+) -->\n).*?(<!-- end -->)', re.S)
COMPUTED = {'roofline': roofline_markdown, 'scaling': scaling_markdown}
"""Sections that follow from formulas alone."""
NOT_MEASURED = 'Not measured yet: no `{name}.json` lies in `{folder}`.\n'


def cpu_name() -> str:
    """Name of the processor, as the kernel or Python gives it."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of this checkout, with '+' if files differ from it; None outside a checkout."""
    def git(*args: str) -> str:
        done = subprocess.run(['git', *args], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git('rev-parse', '--short=12', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def environment(settings: Settings, argv: Sequence[str]) -> dict:
    """Hardware, versions and the command: what the numbers depend on."""
    versions = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    cuda = settings.device.type == 'cuda'
    return dict(
        device=torch.cuda.get_device_name(settings.device) if cuda else cpu_name(),
        kind=settings.device.type,
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        dtype=str(settings.dtype).removeprefix('torch.'),
        rounds=settings.rounds,
        warmup=settings.warmup,
        versions=versions,
        cuda=torch.version.cuda if cuda else None,
        commit=git_commit(),
        command=' '.join(['python tools/benchmark.py', *argv]))


def summarise(case: dict) -> dict:
    """A case with what its rounds say: quartiles of the times, items per second, ratios."""
    for row in case['contestants'].values():
        if row.get('seconds'):
            row.update(quartiles(row['seconds']))
            row['items_per_second'] = float(f'{case["items"] / row["median"]:.4g}')
    for name, columns in ratios(case).items():
        case['contestants'][name]['ratios'] = columns
    return case


def save(report: dict, path: Path) -> None:
    """Write a report so that no reader ever finds half a file: one case a line."""
    cases = ',\n'.join(json.dumps(case, separators=(',', ':')) for case in report['cases'])
    head = json.dumps({key: value for key, value in report.items() if key != 'cases'}, indent=1)
    part = path.with_suffix('.part')
    part.write_text(f'{head[:-2]},\n "cases": [\n{cases}\n]}}\n')
    os.replace(part, path)


def spread(values: dict[str, float], scale: float = 1., digits: int = 3) -> str:
    """Median and quartiles: '12.3 (12.1-12.8)'."""
    return '{} ({}-{})'.format(*(number(values[key] * scale, digits) for key in ('median', 'low', 'high')))


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent."""
    return f'{float(f"{value:.{digits}g}"):f}'.rstrip('0').rstrip('.')


def model_table(report: dict) -> PrettyTable:
    """One row for each contestant of each case that was timed."""
    cases = report['cases']
    columns = list(dict.fromkeys(
        title for case in cases for references in case['references'].values() for title in references))
    labels = list(cases[0]['labels'])
    memory = {'peak_bytes': 'peak MiB', 'saved_bytes': 'kept MiB'}
    rows = [row for case in cases for row in case['contestants'].values()]
    memory = {key: title for key, title in memory.items() if any(key in row for row in rows)}
    table = PrettyTable([*labels, 'contestant', 'ms', 'images/s', *(f'x {title}' for title in columns),
                         *memory.values()], align='r')
    table.align['contestant'] = 'l'
    for case in cases:
        for name, row in case['contestants'].items():
            if not row.get('seconds'):
                continue
            cells = [*case['labels'].values(), name, spread(row, 1e3), number(row['items_per_second'])]
            for title in columns:
                found = row.get('ratios', {}).get(title)
                cells.append(spread(found) if found else '')
            cells += [number(row[key] / 2**20) if key in row else '' for key in memory]
            table.add_row(cells)
    return table


def pivot(cases: dict[int, dict], value: Callable[[str, int], float | None]) -> PrettyTable | None:
    """A table of one quantity, contestants by rows, tokens by columns; None if there is no value."""
    table = PrettyTable(['', *(f'{tokens:,}' for tokens in cases)], align='r')
    table.align[''] = 'l'
    for name in dict.fromkeys(name for case in cases.values() for name in case['contestants']):
        if name.endswith(HALF):
            continue
        values = [value(name, tokens) for tokens in cases]
        if any(found is not None for found in values):
            table.add_row([name, *('' if found is None else number(found) for found in values)])
    return table if table.rows else None


def operator_tables(report: dict) -> dict[str, PrettyTable]:
    """Tables of one quantity each, for each mode."""
    tables = {}
    for mode in dict.fromkeys(case['labels']['mode'] for case in report['cases']):
        cases = {case['labels']['tokens']: case for case in report['cases'] if case['labels']['mode'] == mode}
        for title, quantity in QUANTITIES.items():
            table = pivot(cases, partial(value_of, quantity, cases, report['peaks']))
            if table is not None:
                tables[f'{title}, {"forward and backward" if mode == "training" else "forward"}'] = table
    return tables


def value_of(quantity: Callable, cases: dict[int, dict], peaks: dict, name: str,
             tokens: int) -> float | None:
    """A quantity of a contestant at that many tokens; None where it was not timed."""
    row = cases[tokens]['contestants'].get(name, {})
    if not row.get('seconds'):
        return None
    return quantity(row, cases[tokens]['floors'][name.partition('-')[0]], peaks)


def share_of_floor(row: dict, work: dict[str, float], peaks: dict[str, float], which: str) -> float:
    """Per cent of the least time in the time of a step: the median over the rounds.

    The bandwidth is that of the copy after the step.
    """
    return 100 * median(
        least_time(work, dict(peaks, bytes_per_second=rate), which)[0] / seconds
        for seconds, rate in zip(row['seconds'], row['copy_bytes_per_second']))


QUANTITIES = {
    'time in ms': lambda row, work, peaks: row['median'] * 1e3,
    'times as fast as MHSA':
        lambda row, work, peaks: row.get('ratios', {}).get('mhsa', {}).get('median'),
    'times as fast as the transcription':
        lambda row, work, peaks: row.get('ratios', {}).get('plain', {}).get('median'),
    'time(N) / time(N/2)':
        lambda row, work, peaks: 1 / row['ratios']['half']['median'] if 'half' in row.get('ratios', {}) else None,
    'GB/s of the bytes of one pass': lambda row, work, peaks: work['floor'] / row['median'] / 1e9,
    'GFLOP/s': lambda row, work, peaks: work['flops'] / row['median'] / 1e9,
    'share of the floor of one pass in %':
        lambda row, work, peaks: share_of_floor(row, work, peaks, 'floor'),
    'share of the floor with its passes in %':
        lambda row, work, peaks: share_of_floor(row, work, peaks, 'passes'),
    'peak MiB': lambda row, work, peaks: row['peak_bytes'] / 2**20,
    'kept for the backward pass in MiB':
        lambda row, work, peaks: row['saved_bytes'] / 2**20 if 'saved_bytes' in row else None,
}
"""Of a contestant's row, its least work and the peaks of the device."""


def left_out(report: dict) -> list[str]:
    """One line for each contestant and reason why it has no time."""
    reasons: dict[tuple, list[str]] = {}
    for case in report['cases']:
        where = ' '.join(map(str, case['labels'].values()))
        for name, row in case['contestants'].items():
            if 'reason' in row and not name.endswith(HALF):
                reasons.setdefault((name, row['reason']), []).append(where)
    return [f'{name}: {reason} ({"; ".join(cases) if len(cases) < 4 else f"{len(cases)} cases"})'
            for (name, reason), cases in reasons.items()]


def heading(report: dict) -> str:
    """Where and how the numbers were found, two lines."""
    env, peaks = report['environment'], report['peaks']
    versions = ', '.join(f'{name} {number}' for name, number in env['versions'].items() if number)
    rates = [rate for case in report['cases'] for row in case['contestants'].values()
             for rate in row.get('copy_bytes_per_second', ())]
    between = f', in the rounds {min(rates) / 1e9:.3g} to {max(rates) / 1e9:.3g},' if rates else ''
    return (f'{env["device"]}, {env["threads"]} threads, {env["dtype"]}, {env["rounds"]} rounds; '
            f'{versions}; commit {env["commit"] or "unknown"}. Alone the device copies '
            f'{peaks["bytes_per_second"] / 1e9:.3g} GB/s{between} and multiplies at '
            f'{peaks["flops_per_second"] / 1e12:.3g} TFLOP/s.\n`{env["command"]}`')


def as_text(report: dict, markdown: bool = False) -> str:
    """All tables of a report for the terminal, or in Markdown."""
    parts = [heading(report)] if markdown else []
    if report['suite'] == 'operators':
        tables = operator_tables(report)
    else:
        tables = {'': model_table(report)}
    for title, table in tables.items():
        table.set_style(TableStyle.MARKDOWN if markdown else TableStyle.DEFAULT)
        body = table.get_string()
        parts.append((f'**{title}**\n\n{body}' if markdown else f'{title}\n{body}') if title else body)
    missing = left_out(report)
    if missing:
        parts.append('Not timed:\n\n' + '\n'.join(f'- {line}' for line in missing))
    return '\n\n'.join(parts) + '\n'


def refresh(page: Path) -> list[str]:
    """Write the generated sections of a page anew from the JSON files in the folder named like it.

    A section is what lies between ``<!-- table:NAME -->`` and ``<!-- end -->``. NAME.json holds its numbers,
    unless it follows from formulas alone (:data:`COMPUTED`).

    Args:
        page (Path): A Markdown file, docs/performance.md with docs/performance/NAME.json.

    Returns:
        list[str]: Names of the sections.

    Raises:
        UserError: There is no such page, or it has no section.
    """
    if not page.is_file():
        raise UserError(f'--markdown {page}: there is no such file.')
    folder = page.with_suffix('')
    names = []

    def section(match: re.Match) -> str:
        name = match[2]
        names.append(name)
        source = folder / f'{name}.json'
        body = NOT_MEASURED.format(name=name, folder=folder.name)
        if name in COMPUTED:
            body = f'\n{COMPUTED[name]()}\n'
        elif source.is_file():
            body = f'\n{as_text(json.loads(source.read_text()), markdown=True)}\n'
            if source.with_suffix('.png').is_file():
                body += f'![{name}]({folder.name}/{name}.png)\n\n'
        return match[1] + body + match[3]

    text = SECTION.sub(section, page.read_text())
    if not names:
        raise UserError(f'--markdown {page}: the page has no section <!-- table:NAME --> ... <!-- end -->.')
    page.write_text(text)
    return names


def say(line: str) -> None:
    """A line about the progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)
