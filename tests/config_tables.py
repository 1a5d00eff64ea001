"""The tables in the READMEs of configs/, made of the metafiles: ``python -m tests.config_tables`` writes them anew."""
import os
import re
from pathlib import Path

import yaml

from tests.configs import CONFIGS, ROOT

FOLDER = ROOT / 'configs'
MARK = re.compile(r'(<!-- made by python -m tests.config_tables -->\n).*?(?=<!-- end -->)', re.DOTALL)
# Key of the metadata, unit, key of the published figure, heading of the column.
COUNTS = [('Parameters', 1e6, 'params', 'parameters (M)'), (None, 1, 'headless', 'without head (M)'),
          ('FLOPs', 1e9, 'flops', 'FLOPs (G)'), ('Similarities', 1e6, 'similarities', 'similarities (M)'),
          ('Decoder Parameters', 1e6, None, 'decoder parameters (M)'),
          ('Decoder FLOPs', 1e9, 'decoder_flops', 'decoder FLOPs (G)')]
METRICS = {'Top 1 Accuracy': 'top-1', 'mIoU': 'mIoU', 'mIoU(ms+flip)': 'multi-scale mIoU'}


def read(family: str) -> list[dict]:
    """Entries of a family's metafile."""
    return yaml.safe_load((FOLDER / family / 'metafile.yml').read_text())['Models']


def row(entry: dict, family: str) -> dict[str, str]:
    """The cells of a model, by the headings of their columns."""
    meta, path = entry['Metadata'], os.path.relpath(ROOT / entry['Config'], FOLDER / family)
    cells = {'config': f'[{entry["Name"]}]({path})', 'image': meta['Image Size'].split('x')[0]}
    for key, unit, published, heading in COUNTS:
        said = [f'({meta["Published"][published]})'] if published in meta.get('Published', {}) else []
        counted = [f'{meta[key] / unit:.2f}'] if key in meta else []
        if said or counted:
            cells[heading] = ' '.join(counted + said)
    for result in entry['Results']:
        by = {'paper': '({})', 'measured': '{}'}[result['Metrics']['Source']]
        cells.update({METRICS[key]: by.format(value) for key, value in result['Metrics'].items() if key in METRICS})
    return cells


def table(family: str) -> str:
    """The models of a family as a table, and the rest of its configs."""
    entries = read(family)
    rows = [row(entry, family) for entry in entries]
    headings = [heading for heading in ['config', 'image', *(column[3] for column in COUNTS), *METRICS.values()]
                if any(heading in cells for cells in rows)]
    lines = [headings, ['---'] * len(headings), *([cells.get(heading, '-') for heading in headings] for cells in rows)]
    text = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    text += '\n\nIn brackets: what the paper says; the rest is counted with this code.'
    named = {entry['Config'] for entry in entries}
    others = [Path(name) for name in CONFIGS if name.startswith(f'{family}/') and f'configs/{name}' not in named]
    if others:
        text += '\n\nMore configs:\n' + '\n'.join(f'- [{path.stem}]({path.name})' for path in others)
    return text + '\n'


def with_table(readme: Path) -> str:
    """Text of a family's README with the table as the metafile has it."""
    return MARK.sub(lambda match: match[1] + table(readme.parent.name), readme.read_text())


READMES = sorted(FOLDER.glob('*/README.md'))

if __name__ == '__main__':
    for path in READMES:
        path.write_text(with_table(path))
