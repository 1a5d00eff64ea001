"""What a run leaves behind: JSON with every round, its summary as CSV, tables for the terminal and for a page."""
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from mmwhitebox.errors import UserError

from .cases import Settings
from .operators import HALF
from .roofline import least_time
from .rounds import quartiles, ratios

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('torch', 'triton', 'timm', 'onedl-mmsegmentation')
SECTION = re.compile(r'(<!-- table:([\w-]+) -->\n).*?(<!-- end -->)', re.S)
NOT_TIMED = 'not_timed'
QUANTITIES = {
    'ms': 'time in ms', 'x_mhsa': 'times as fast as MHSA', 'x_plain': 'times as fast as the equations in plain torch',
    'growth': 'time(N) / time(N/2)', 'gbytes_per_second': 'GB/s of the bytes of one pass', 'gflops': 'GFLOP/s',
    'floor_percent': 'share of the floor of one pass in %',
    'passes_percent': 'share of the floor with its passes in %',
    'peak_mib': 'peak MiB', 'kept_mib': 'kept for the backward pass in MiB'}
"""Columns of an operator's table that are shown, one table each."""


def say(line: str) -> None:
    """A line about the progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def cpu_name() -> str:
    """Name of the processor, as the kernel or Python gives it."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hardware(device: torch.device | None = None) -> str:
    """Name of a GPU, or of the processor; of what torch would take by default without a device."""
    on_gpu = torch.cuda.is_available() if device is None else device.type == 'cuda'
    return torch.cuda.get_device_name(device) if on_gpu else cpu_name()


def git_commit() -> str | None:
    """The commit of this checkout, with '+' if files differ from it; None outside a checkout."""
    def git(*args: str) -> str:
        done = subprocess.run(['git', *args], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git('rev-parse', '--short=12', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def versions_of(packages: Sequence[str]) -> dict[str, str | None]:
    """Versions of Python and of packages, None of one that is not installed."""
    versions = {'python': platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def environment(settings: Settings, argv: Sequence[str]) -> dict:
    """Hardware, versions and the command: what the numbers depend on."""
    cuda = settings.device.type == 'cuda'
    return dict(
        device=hardware(settings.device),
        kind=settings.device.type,
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        dtype=str(settings.dtype).removeprefix('torch.'),
        rounds=settings.rounds,
        warmup=settings.warmup,
        versions=versions_of(PACKAGES),
        cuda=torch.version.cuda if cuda else None,
        commit=git_commit(),
        command=' '.join(['python -m benchmarks', *(
            word for before, word in zip(('', *argv), argv)  # where it is written says nothing to others
            if '--out' not in (before, word) and not word.startswith('--out='))]))


def heading(result: dict) -> list[str]:
    """Where and how the numbers were found: the machine and the command."""
    env, peaks = result['environment'], result['peaks']
    versions = ', '.join(f'{name} {number}' for name, number in env['versions'].items() if number)
    rates = [rate for case in result['cases'] for row in case['contestants'].values()
             for rate in row.get('copy_bytes_per_second', ())]
    between = f', in the rounds {min(rates) / 1e9:.3g} to {max(rates) / 1e9:.3g},' if rates else ''
    return [f'{env["device"]}, {env["threads"]} threads, {env["dtype"]}, {env["rounds"]} rounds; '
            f'{versions}; commit {env["commit"] or "unknown"}. Alone the device copies '
            f'{peaks["bytes_per_second"] / 1e9:.3g} GB/s{between} and multiplies at '
            f'{peaks["flops_per_second"] / 1e12:.3g} TFLOP/s.', env['command']]


def save(result: dict, stem: Path) -> None:
    """Write a result, JSON and CSV, so that no reader ever finds half a file. The CSV begins with the heading."""
    cases = ',\n'.join(json.dumps(case, separators=(',', ':')) for case in result['cases'])
    head = json.dumps({key: value for key, value in result.items() if key != 'cases'}, indent=1)
    lines = ''.join(f'# {line}\n' for line in heading(result))
    for suffix, text in (('.json', f'{head[:-2]},\n "cases": [\n{cases}\n]}}\n'),
                         ('.csv', lines + table(result).to_csv(index=False, float_format='%.4g'))):
        part = stem.with_suffix('.part')
        part.write_text(text)
        os.replace(part, stem.with_suffix(suffix))


def read_csv(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Heading and table of a CSV file of :func:`save`."""
    heading = [line[2:] for line in path.read_text().splitlines() if line.startswith('# ')]
    return heading, pd.read_csv(path, skiprows=len(heading))


def columns_of(name: str, values: dict[str, float], scale: float = 1.) -> dict[str, float]:
    """Columns of a median and its quartiles."""
    ends = dict(median='', low='_low', high='_high')
    return {name + end: values[key] * scale for key, end in ends.items()}


def share_of_floor(row: dict, work: dict[str, float], peaks: dict[str, float], which: str) -> float:
    """Per cent of the least time in the time of a step: the median over the rounds.

    The bandwidth is that of the copy after the step.
    """
    return 100 * median(
        least_time(work, dict(peaks, bytes_per_second=rate), which)[0] / seconds
        for seconds, rate in zip(row['seconds'], row['copy_bytes_per_second']))


def table(result: dict) -> pd.DataFrame:
    """One row for each contestant of each case; one that was not timed has its reason in the last column."""
    rows = []
    for case in result['cases']:
        found = ratios(case)
        for name, row in case['contestants'].items():
            if name.endswith(HALF):
                continue
            cells = dict(case['labels'], contestant=name)
            if row.get('seconds'):
                times = quartiles(row['seconds'])
                cells.update(columns_of('ms', times, 1e3), per_second=case['items'] / times['median'])
                for title, values in found.get(name, {}).items():
                    cells.update(dict(growth=1 / values['median']) if title == 'half' else
                                 columns_of(f'x_{title}', values))
                if case['floors']:
                    work = case['floors'][name.partition('-')[0]]
                    cells.update(
                        gbytes_per_second=work['floor'] / times['median'] / 1e9,
                        gflops=work['flops'] / times['median'] / 1e9,
                        floor_percent=share_of_floor(row, work, result['peaks'], 'floor'),
                        passes_percent=share_of_floor(row, work, result['peaks'], 'passes'))
                cells.update({key.replace('bytes', 'mib').replace('saved', 'kept'): row[key] / 2**20
                              for key in ('peak_bytes', 'saved_bytes') if key in row}, **row.get('columns', {}))
            rows.append({**cells, NOT_TIMED: row.get('reason', '')})
    frame = pd.DataFrame(rows)
    return frame[[name for name in frame if name != NOT_TIMED] + [NOT_TIMED]]


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent; nothing for none."""
    return '' if pd.isna(value) else f'{float(f"{value:.{digits}g}"):,f}'.rstrip('0').rstrip('.')


def spread(values: dict[str, float]) -> str:
    """A median and its quartiles, '12.3 (12.1-12.8)'."""
    return '{} ({}-{})'.format(*(number(values[key]) for key in ('median', 'low', 'high')))


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table, its columns of text to the left."""
    cells = frame.map(lambda value: number(value) if isinstance(value, float) else str(value))
    rows = [list(frame), ['---' if frame[name].dtype.kind not in 'iuf' else '---:' for name in frame],
            *cells.values.tolist()]
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def as_text(result: dict) -> str:
    """All tables of a result for the terminal."""
    frame = table(result)
    timed, left_out = frame[frame[NOT_TIMED] == ''], frame[frame[NOT_TIMED] != '']
    show = dict(float_format=number, na_rep='')
    parts = []
    if result['suite'] == 'operators':
        for mode, cases in timed.groupby('mode', sort=False):
            for name in [name for name in QUANTITIES if name in cases and cases[name].notna().any()]:
                wide = cases.pivot_table(index='contestant', columns='tokens', values=name, sort=False)
                parts.append(f'{QUANTITIES[name]}, {mode}\n{wide.to_string(**show)}')
    else:
        parts.append(timed.drop(columns=NOT_TIMED).to_string(index=False, **show))
    if len(left_out):
        reasons = left_out.groupby(['contestant', NOT_TIMED], sort=False).size()
        parts.append('Not timed:\n' + '\n'.join(f'- {name}: {reason} ({count} cases)'
                                                for (name, reason), count in reasons.items()))
    return '\n\n'.join(parts) + '\n'


def refresh(page: Path, render: Callable[[str], str]) -> list[str]:
    """Write the generated sections of a page anew: what lies between ``<!-- table:NAME -->`` and ``<!-- end -->``.

    Args:
        page (Path): A Markdown file.
        render (Callable): Gives the body of a section by its name.

    Returns:
        list[str]: Names of the sections.

    Raises:
        UserError: There is no such page, or it has no section.
    """
    if not page.is_file():
        raise UserError(f'{page}: there is no such file.')
    text = page.read_text()
    names = [match[2] for match in SECTION.finditer(text)]
    if not names:
        raise UserError(f'{page}: the page has no section <!-- table:NAME --> ... <!-- end -->.')
    page.write_text(SECTION.sub(lambda match: f'{match[1]}\n{render(match[2])}\n\n{match[3]}', text))
    return names
