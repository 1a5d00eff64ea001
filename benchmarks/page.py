"""The tables of docs/performance.md, written from the CSV files in docs/performance/ and from formulas."""
from pathlib import Path

import pandas as pd

from mmwhitebox.errors import UserError

from .operators import OPERATORS
from .report import markdown, number, read_csv, spread
from .roofline import roofline

STEPS = {'inference': 'forward', 'training': 'training'}
DIRECTIONS = {'inference': 'forward', 'training': 'forward + backward'}
SHOWN_TOKENS = (196, 1024, 4096, 16384, 65536)
FILES = {'encoders': ('classification-224', 'classification-512'), 'decoders': ('decoder', ),
         'operators': ('operators-forward', 'operators-backward'), 'kept-pages': ('operators-kept-pages', ),
         'deploy': ('deploy', )}
"""Section, after the name of the device -> its CSV files, likewise."""


def ratio(case: pd.DataFrame, contestant: str, column: str) -> str:
    """Median and quartiles of a contestant; nothing where there are none."""
    if contestant not in case.index or column not in case or pd.isna(case.at[contestant, column]):
        return ''
    ends = dict(median='', low='_low', high='_high')
    return spread({key: case.at[contestant, column + end] for key, end in ends.items()})


def value(case: pd.DataFrame, contestant: str, column: str) -> str:
    """A number of a contestant; nothing where there is none."""
    return number(case.at[contestant, column]) if contestant in case.index and column in case else ''


def filled(rows: list[dict]) -> pd.DataFrame:
    """A table without the columns that are empty everywhere."""
    frame = pd.DataFrame(rows)
    return frame.loc[:, (frame != '').any()]


def models_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Ratios and memory of encoders or decoders: one row for each case."""
    labels, rows = list(frame)[:3], []
    peer = 'vit' if 'x_vit' in frame else 'segmenter'
    for key, case in frame.groupby(labels, sort=False):
        case = case.set_index('contestant')
        row = dict(zip((*labels[:2], 'step'), (key[0], str(key[1]), STEPS[key[2]])))
        for form in ('ours', 'ours-optimized', 'ours-bf16', 'ours-compiled', 'ours-fused'):
            for other in ('plain', peer):
                row[f'{form} x {other}'] = ratio(case, form, f'x_{other}')
        row['ours-compiled x plain-compiled'] = ratio(case, 'ours-compiled', 'x_plain-compiled')
        row.update({f'peak MiB, {name}': value(case, name, 'peak_mib') for name in ('ours', 'plain', peer)})
        rows.append(row)
    return filled(rows)


def operators_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Time, ratios and memory of the operators at some lengths; the quadratic ones stop before the last."""
    rows = []
    for op in OPERATORS:
        for (tokens, mode), case in frame.groupby(['tokens', 'mode']):
            case = case.set_index('contestant')
            if tokens in SHOWN_TOKENS and op in case.index and pd.notna(case.at[op, 'ms']):
                row = dict(operator=op.upper(), N=f'{tokens:,}', direction=DIRECTIONS[mode], ms=value(case, op, 'ms'))
                for form in ('', '-fused'):
                    row.update({f'{form[1:] or "ours"} x {other}': ratio(case, op + form, f'x_{other}')
                                for other in ('plain', 'mhsa')})
                row.update({f'{title}, {name}': value(case, op + form, column)
                            for title, column in (('peak MiB', 'peak_mib'), ('kept MiB', 'kept_mib'))
                            for name, form in (('ours', ''), ('plain', '-plain'))})
                rows.append(row)
    return filled(rows)


def kept_pages_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Times as fast as the equations in plain torch, by the number of tokens."""
    ours = frame[frame['x_plain'].notna()]
    wide = ours.pivot_table(index=['contestant', 'mode'], columns='tokens', values='x_plain', sort=False)
    wide.columns = [f'{tokens:,}' for tokens in wide]
    wide = wide.reset_index().sort_values('contestant', kind='stable')
    return wide.assign(contestant=wide['contestant'].str.upper(), mode=wide['mode'].map(DIRECTIONS)).rename(
        columns=dict(contestant='operator', mode='direction'))


def deploy_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Times as fast as eager PyTorch, size and score of the forms of each trained model."""
    metrics = [name for name in ('mIoU', 'top1') if name in frame]
    rows = []
    for key, case in frame.groupby(['model', 'size', 'batch'], sort=False):
        for _, row in case.iterrows():
            cells = dict(zip(('model', 'image', 'batch'), map(str, key)), form=row['contestant'])
            if pd.notna(row['not_timed']):
                cells['not run'] = row['not_timed']
            else:
                own = row.to_frame().T.set_index('contestant')
                cells['images/s'] = number(row['per_second'])
                cells['x eager'] = ratio(own, row['contestant'], 'x_eager') or '1'
                cells['file, MiB'] = number(row['file_mib'])
                cells.update({name: f'{row[name]:.2f}' for name in metrics if pd.notna(row[name])})
            rows.append(cells)
    return filled(rows).fillna('')


TABLES = {'encoders': models_table, 'decoders': models_table, 'operators': operators_table,
          'kept-pages': kept_pages_table, 'deploy': deploy_table}


def render(name: str, folder: Path) -> str:
    """The body of a section, in Markdown: the table of every CSV file, and below it the machine and the commit.

    Args:
        name (str): 'roofline', or a device and a key of :data:`FILES`: 'cpu-encoders'.
        folder (Path): Where the CSV files lie.

    Raises:
        UserError: There is no such section.
    """
    if name == 'roofline':
        return markdown(roofline())
    device, _, kind = name.partition('-')
    if kind not in FILES:
        raise UserError(f'<!-- table:{name} -->: there is no such section.')
    paths = [path for path in (folder / f'{device}-{file}.csv' for file in FILES[kind]) if path.is_file()]
    if not paths:
        return 'Not measured yet.'
    parts = []
    for path in paths:
        heading, frame = read_csv(path)
        parts.append(f'{markdown(TABLES[kind](frame))}\n\nFrom [{path.name}]({folder.name}/{path.name}): {heading[0]}')
    return '\n\n'.join(parts)
