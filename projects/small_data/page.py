"""The tables of README.md, written from the logs."""
import json
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd

from benchmarks import report
from benchmarks.report import number, spread
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.coding_rate import compression_verdict

from .suites import SUITES, Row, Suite

NOT_RUN = 'not run'
ABSENT = '-'
NOT_MEASURED = 'Not measured yet: {what}.'
RATES = {
    'compression': 'R_c after the attention',
    'compression_normalized': 'R_c after the attention, tokens of unit length',
    'compression_ffn': 'R_c after the feed-forward, in the same subspaces'}
RATE_ROWS = ('mssa', 'cbsa', 'tssa', 'dmsa')
"""Rows of CIFAR-10 whose coding rates are logged."""
METRICS = {'mIoU': 'mIoU', 'accuracy/top1': 'top-1'}
TARGETS = ('foreground', 'background', 'boundary')


def trainings(logs: Path, suite: Suite, row: Row) -> dict[int, dict]:
    """The logs of a row that are there, by seed."""
    paths = {seed: logs / suite.name / f'{row.name}_seed{seed}.json' for seed in row.seeds}
    return {seed: json.loads(path.read_text()) for seed, path in paths.items() if path.is_file()}


def all_trainings(logs: Path, suite: Suite, rows: Sequence[Row]) -> dict[str, dict[int, dict]]:
    """Name of a row -> its logs by seed; rows without a log are left out."""
    found = {row.name: trainings(logs, suite, row) for row in rows}
    return {name: runs for name, runs in found.items() if runs}


def analysis(logs: Path, suite: Suite) -> dict:
    """What was measured on the trained models of a suite; empty if nothing was."""
    path = logs / suite.name / 'analysis.json'
    return json.loads(path.read_text()) if path.is_file() else {}


def last(runs: dict[int, dict], key: str) -> list[float]:
    """A value of the last validation of every run."""
    return [log['val'][-1][key] for log in runs.values()]


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Mean and sample standard deviation, '61.30 ± 0.25'; of one value, itself."""
    values = list(values)
    if not values:
        return NOT_RUN
    mean = f'{fmean(values):.{digits}f}'
    return f'{mean} ± {stdev(values):.{digits}f}' if len(values) > 1 else mean


def ranks(values: dict[str, float]) -> dict[str, int]:
    """1 for the largest value; equal values share a rank."""
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def told_apart(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the means of two samples differ by more than twice the standard error of their difference."""
    error = sum(stdev(values)**2 / len(values) for values in (first, second))**0.5
    return abs(fmean(first) - fmean(second)) > 2 * error


def pair_lines(rows: Sequence[Row], values: dict[str, list[float]]) -> list[str]:
    """How many pairs stand in the order of the paper, and which pairs of several seeds differ by more than noise."""
    pairs = [sorted(pair, key=lambda row: -fmean(values[row.name]))
             for pair in combinations([row for row in rows if row.name in values], 2)]
    known = [(high, low) for high, low in pairs if high.paper is not None and low.paper is not None]
    lines = []
    if known:
        agreeing = sum(high.paper > low.paper for high, low in known)
        lines.append(f'Pairs in the order of the paper: {agreeing} of {len(known)}.')
    repeated = [pair for pair in pairs if all(len(values[row.name]) > 1 for row in pair)]
    apart = []
    for high, low in repeated:
        if told_apart(values[high.name], values[low.name]):
            verdict = '' if (high, low) not in known else (
                ' (as in the paper)' if high.paper > low.paper else ' (against the paper)')
            apart.append(f'{high.title} > {low.title}{verdict}')
    if repeated:
        lines.append(f'Pairs whose means differ by more than twice the standard error of the difference: {len(apart)} '
                     f'of {len(repeated)}{": " if apart else ""}{", ".join(apart)}.')
    return lines


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    return report.markdown(pd.DataFrame(rows, columns=list(columns)))


def picture(name: str, caption: str) -> str:
    """A plot of :mod:`.curves`."""
    return f'![{caption}](images/{name}.png)'


def seeds_cell(row: Row, runs: dict[int, dict]) -> str:
    """How many seeds a mean is over."""
    return f'{len(runs)}' if len(runs) == len(row.seeds) else f'{len(runs)} of {len(row.seeds)}'


def suite_table(suite: Suite, table: str, logs: Path) -> str:
    """The numbers of a comparison: metric, ranks and the paper's number, size, and on CamVid speed and robustness."""
    rows = suite.tables.get(table, ())
    if not rows:
        return f'{suite.name}, {table}: {NOT_RUN}.'
    runs, found = all_trainings(logs, suite, rows), analysis(logs, suite)
    values = {name: last(logs_of_row, suite.metric) for name, logs_of_row in runs.items()}
    columns: dict[str, Callable[[Row], object]] = {
        '': lambda row: row.title,
        f'{METRICS[suite.metric]} (%)': lambda row: mean_std(values.get(row.name, ()))}
    if suite.name == 'camvid':
        columns['aAcc (%)'] = lambda row: mean_std(last(runs[row.name], 'aAcc')) if row.name in runs else NOT_RUN
    if all(row.paper is not None for row in rows):
        ours = ranks({name: fmean(numbers) for name, numbers in values.items()})
        papers = ranks({row.name: row.paper for row in rows})
        columns['rank'] = lambda row: ours.get(row.name, NOT_RUN)
        columns['paper (%)'] = lambda row: f'{row.paper:.2f}'
        columns['rank in the paper'] = lambda row: papers[row.name]
    if found.get('windows'):
        columns['mIoU in windows (%)'] = lambda row: mean_std(found['windows'].get(row.name, {}).values())
    if suite.name == 'camvid' and table == 'best' and found.get('tta'):
        columns['mIoU with --tta (%)'] = lambda row: mean_std(found['tta'].get(row.name, {}).values())
    columns['seeds'] = lambda row: seeds_cell(row, runs.get(row.name, {}))
    columns['iterations'] = lambda row: last(runs[row.name], 'step')[0] if row.name in runs else NOT_RUN
    columns.update(measured_columns(suite, found))
    parts = [markdown(list(columns), [[cell(row) for cell in columns.values()] for row in rows])]
    parts += pair_lines(rows, values)
    wanted = ('complexity', 'speed', 'robustness') if suite.name == 'camvid' else ('complexity', )
    missing = [what for what in wanted if not found.get(what)]
    if missing:
        parts.append(NOT_MEASURED.format(what=', '.join(missing)))
    if found.get('speed'):
        parts.append(f'images/s: {environment_line(found)}; median and quartiles.')
    if runs:
        caption = f'{suite.name}, {table}: training loss and {METRICS[suite.metric]}'
        parts.append(picture(f'{suite.name}_{table}', caption))
    return '\n\n'.join(parts)


def measured_columns(suite: Suite, found: dict) -> dict[str, Callable[[Row], object]]:
    """Columns of a suite's table from its analysis: those that were measured."""
    def cell(part: str, show: Callable[[dict], str]) -> Callable[[Row], object]:
        return lambda row: show(found[part][row.name]) if row.name in found[part] else ABSENT

    columns = {}
    prefix = 'decoder_' if suite.name == 'camvid' else ''
    title = prefix.replace('_', ' ')
    if found.get('complexity'):
        columns[f'{title}parameters (k)'] = cell('complexity', lambda row: number(row[f'{prefix}parameters'] / 1e3, 4))
        columns[f'{title}FLOPs (M)'] = cell('complexity', lambda row: number(row[f'{prefix}flops'] / 1e6, 4))
        if prefix:
            columns['parameters in all (k)'] = cell('complexity', lambda row: number(row['parameters'] / 1e3, 4))
            columns['FLOPs in all (M)'] = cell('complexity', lambda row: number(row['flops'] / 1e6, 4))
    if found.get('speed'):
        columns['images/s'] = cell('speed', lambda row: spread(row['images_per_second']))
        columns['images/s relative to CBT'] = cell('speed', lambda row: spread(row['ratio']))
    if found.get('robustness'):
        scales = next(iter(found['robustness'].values()))['scales']
        middle = len(scales) // 2
        columns[f'mIoU under noise {scales[middle]:g} (%)'] = cell(
            'robustness', lambda row: mean_std(values[middle] for values in row['values'].values()))
    return columns


def environment_line(found: dict) -> str:
    """Where an analysis ran."""
    env = found.get('environment')
    return f'{env["hardware"]}, threads: {env["threads"]}' if env else 'hardware unknown'


def classes_table(logs: Path) -> str:
    """IoU of every class for every config of CamVid."""
    suite = SUITES['camvid']
    rows = suite.rows()
    runs = all_trainings(logs, suite, rows)
    if not runs:
        return f'IoU of the classes: {NOT_RUN}.'
    keys = [key for key in next(iter(next(iter(runs.values())).values()))['val'][-1] if key.startswith('IoU.')]
    table = [[key.removeprefix('IoU.'),
              *(mean_std(last(runs[row.name], key), 1) if row.name in runs else NOT_RUN for row in rows)]
             for key in keys]
    return markdown(['IoU (%)', *(row.title for row in rows)], table)


def robustness_table(logs: Path) -> str:
    """mIoU on CamVid when noise is added to the attention projections."""
    suite = SUITES['camvid']
    found = analysis(logs, suite).get('robustness')
    if not found:
        return NOT_MEASURED.format(what='robustness')
    scales = next(iter(found.values()))['scales']
    table = []
    for row in suite.rows():
        values = list(found.get(row.name, {}).get('values', {}).values())
        cells = [mean_std(column, 1) for column in zip(*values)] or [ABSENT] * len(scales)
        table.append([row.title, *cells, len(values)])
    return markdown(['mIoU (%) under noise', *(f'{scale:g}' for scale in scales), 'seeds'], table)


def layer_rates(log: dict, quantity: str, when: int) -> list[float]:
    """A quantity of every layer in one look (0 the first, -1 the last), in the order of the layers."""
    keys = [key for key in log['coding_rate'] if key.startswith(f'{quantity}/')]
    return [log['coding_rate'][key][when] for key in sorted(keys, key=layer_number)]


def layer_number(key: str) -> int:
    """The number of a layer in 'compression/backbone.layers.3.attn'."""
    return int(re.search(r'\.(\d+)\.', key)[1])


def rate_logs(logs: Path) -> dict[str, tuple]:
    """Title -> (row, logs by seed) of the attentions whose coding rates were logged."""
    suite = SUITES['cifar10']
    rows = {row.name: row for row in suite.rows()}
    found = {}
    for name in RATE_ROWS:
        runs = {seed: log for seed, log in trainings(logs, suite, rows[name]).items() if log['coding_rate']}
        if runs:
            found[name] = (rows[name], runs)
    return found


def rates_tables(logs: Path) -> str:
    """R_c of every layer in the first and in the last look at the training, and whether it falls with depth."""
    found = rate_logs(logs)
    if not found:
        return f'Coding rates: {NOT_RUN}.'
    parts = []
    for quantity, title in RATES.items():
        table = []
        for row, runs in found.values():
            for when in (0, -1):
                layers = zip(*(layer_rates(log, quantity, when) for log in runs.values()))
                step = next(iter(runs.values()))['coding_rate']['step'][when]
                table.append([row.title, step, *(mean_std(values, 1) for values in layers), seeds_cell(row, runs)])
        num_layers = len(layer_rates(next(iter(runs.values())), quantity, -1))
        parts.append(f'**{title}, nats**\n\n' + markdown(
            ['', 'iteration', *(f'layer {i}' for i in range(num_layers)), 'seeds'], table))
    table, verdicts = [], []
    for row, runs in found.values():
        first, end = ([fmean(values) for values in zip(*(layer_rates(log, 'compression', when)
                                                         for log in runs.values()))] for when in (0, -1))
        lower = sum(b < a for a, b in zip(first, end))
        table.append([row.title, *(f'{sum(b < a for a, b in zip(rates, rates[1:]))} of {len(rates) - 1}'
                                   for rates in (first, end)), f'{lower} of {len(end)}'])
        verdicts.append(f'- {row.title}, last look. {compression_verdict(end)}')
    parts.append('**Course of R_c after the attention, means over the seeds**\n\n' + markdown(
        ['', 'falls with depth, first look (steps)', 'falls with depth, last look (steps)',
         'lower in the last look than in the first (layers)'], table))
    parts.append('\n'.join(verdicts))
    parts.append(picture('coding_rate_training', 'R_c of every layer against iterations'))
    parts.append(picture('coding_rate_depth', 'R_c against depth'))
    return '\n\n'.join(parts)


def zero_shot_table(logs: Path) -> str:
    """Jaccard indices of the encoders' maps on CamVid."""
    table, missing = [], []
    for suite in SUITES.values():
        found = analysis(logs, suite).get('zero_shot')
        if not found:
            missing.append(f'zero-shot segmentation, {suite.name}')
            continue
        titles = {row.name: row.title for row in suite.rows()}
        for name in sorted(found, key=[*titles, *found].index):
            scores = [found[name].get(target, {}).values() for target in TARGETS]
            cells = [mean_std(values) if values else ABSENT for values in scores]
            table.append([titles.get(name, name), suite.name, *cells, max(map(len, scores))])
    parts = [markdown(['', 'trained on', *(f'{target} (%)' for target in TARGETS), 'seeds'], table)] if table else []
    if missing:
        parts.append(NOT_MEASURED.format(what='; '.join(missing)))
    return '\n\n'.join(parts)


def runs_table(suite: Suite, logs: Path) -> str:
    """How many trainings, where, with what, and how long."""
    rows = suite.rows()
    runs = all_trainings(logs, suite, rows)
    everything = [log for logs_of_row in runs.values() for log in logs_of_row.values()]
    parts = [f'{len(everything)} of {sum(len(row.seeds) for row in rows)} trainings are on record.']
    if everything:
        table = [[f'[{row.name}](configs/{suite.name}/{row.name}.py)',
                  ', '.join(map(str, runs[row.name])),
                  last(runs[row.name], 'step')[0],
                  f'{fmean(log["seconds"] for log in runs[row.name].values()):.0f}'] if row.name in runs
                 else [f'[{row.name}](configs/{suite.name}/{row.name}.py)', NOT_RUN, '', ''] for row in rows]
        parts.insert(0, markdown(['config', 'seeds', 'iterations', 'seconds a training (mean)'], table))
        hardware = dict.fromkeys(log['hardware'] for log in everything)
        versions = dict.fromkeys(
            ', '.join(f'{name} {value}' for name, value in log['versions'].items()) for log in everything)
        hours = sum(log['seconds'] for log in everything) / 3600
        parts[-1] += f' Their wall times add up to {hours:.1f} hours.'
        parts.append(f'Hardware: {"; ".join(hardware)}. Versions: {"; ".join(versions)}.')
    return '\n\n'.join(parts)


SECTIONS: dict[str, Callable[[Path], str]] = {
    'camvid-classes': classes_table,
    'camvid-robustness': robustness_table,
    'coding-rates': rates_tables,
    'zero-shot': zero_shot_table}
"""Sections beside SUITE-TABLE and runs-SUITE."""


def render(name: str, logs: Path) -> str:
    """The body of one section, in Markdown.

    Args:
        name (str): One of :data:`SECTIONS`, ``SUITE-TABLE`` or ``runs-SUITE``.
        logs (Path): The folder with a folder of logs for each suite.

    Raises:
        UserError: There is no such section.
    """
    first, _, second = name.partition('-')
    if name in SECTIONS:
        return SECTIONS[name](logs)
    if first == 'runs' and second in SUITES:
        return runs_table(SUITES[second], logs)
    if first in SUITES and second:
        return suite_table(SUITES[first], second, logs)
    raise UserError(f'<!-- table:{name} -->: there is no such section.')


def refresh(page: Path, logs: Path) -> list[str]:
    """Write the generated sections of a page anew, from the folder with a folder of logs for each suite.

    Returns:
        list[str]: Names of the sections.

    Raises:
        UserError: The page has no section, or an unknown one.
    """
    return report.refresh(page, lambda name: render(name, logs))
