"""The page of results says what its logs say; means, ranks, tables and plots of synthetic logs."""
import json
import re
from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from benchmarks.report import SECTION
from mmwhitebox.errors import UserError
from projects.small_data import page
from projects.small_data.curves import draw_all
from projects.small_data.suites import FOLDER, SUITES, Row
from tests.configs import ROOT

PAGE = FOLDER / 'README.md'
LOGS = FOLDER / 'logs'
TRAININGS = sorted(path.relative_to(LOGS).as_posix() for path in LOGS.glob('*/*_seed*.json'))
CAMVID, CIFAR = SUITES['camvid'], SUITES['cifar10']
CLASSES = ('sky', 'sign symbol')


@cache
def max_iters(config):
    return Config.fromfile(ROOT / config).train_cfg.max_iters


def log_of(suite, row, seed, value, layers=3, steps=(2, 4)):
    """A log such as a training leaves, its last validation of a given value."""
    rng = np.random.default_rng(seed)
    config = suite.config(row)
    other = dict(aAcc=value + 20, **{f'IoU.{name}': value + i for i, name in enumerate(CLASSES)})
    rates = dict(step=list(steps))
    if row.name in page.RATE_ROWS:
        for quantity, i in product(page.RATES, range(layers)):
            rates[f'{quantity}/backbone.layers.{i}.attn'] = [10. + i + seed, 9. - i + seed]
    return dict(
        config=config, seed=seed, command=f'python tools/train.py {config} --cfg-options randomness.seed={seed}',
        hardware='a processor', versions=dict(python='3.11'), seconds=1800,
        train=dict(step=list(steps), loss=rng.random(len(steps)).tolist(), base_lr=[1e-3] * len(steps)),
        val=[{suite.metric: found, 'step': step, **(other if suite is CAMVID else {})}
             for step, found in zip(steps, (value - 5, value))],
        coding_rate=rates if len(rates) > 1 else {})


def save(logs, suite, row, seeds_to_values):
    folder = logs / suite.name
    folder.mkdir(parents=True, exist_ok=True)
    for seed, value in seeds_to_values.items():
        (folder / f'{row.name}_seed{seed}.json').write_text(json.dumps(log_of(suite, row, seed, value)))


def save_all(logs):
    for suite in SUITES.values():
        for i, row in enumerate(suite.rows()):
            save(logs, suite, row, {seed: 50. + i + seed / 2 for seed in row.seeds})


def save_analysis(logs, suite, **found):
    (logs / suite.name).mkdir(parents=True, exist_ok=True)
    (logs / suite.name / 'analysis.json').write_text(json.dumps(found))


def cells(text, first, occurrence=0):
    """The cells of the row of a table that begins so."""
    lines = [line for line in text.splitlines() if line.startswith('|') and line.split('|')[1].strip() == first]
    return [cell.strip() for cell in lines[occurrence].split('|')[2:-1]]


def test_page_says_what_its_logs_say(tmp_path):
    text = PAGE.read_text()
    names = [match[2] for match in SECTION.finditer(text)]
    expected = {*page.SECTIONS, *(f'runs-{name}' for name in SUITES),
                *(f'{suite.name}-{table}' for suite in SUITES.values() for table in suite.tables)}
    assert expected <= set(names) and len(names) == len(set(names))
    for match in SECTION.finditer(text):
        assert match[0] == f'{match[1]}\n{page.render(match[2], LOGS)}\n\n{match[3]}', match[2]
    copy = tmp_path / PAGE.name
    copy.write_text(text)
    assert page.refresh(copy, LOGS) == names
    assert copy.read_text() == text


def test_plots_and_links_of_the_page_are_there():
    text = PAGE.read_text()
    for link in re.findall(r'\]\(([^)]+)\)', text):
        if not link.startswith('http') and link != LOGS.name:
            assert (PAGE.parent / link.partition('#')[0]).exists(), link
    for path in (PAGE.parent / 'images').glob('*.png'):
        assert path.stat().st_size < 150_000, path.name


@pytest.mark.parametrize('name', TRAININGS)
def test_log_is_of_a_whole_training_of_its_config(name):
    suite, _, file = name.partition('/')
    log = json.loads((LOGS / name).read_text())
    row = next(row for row in SUITES[suite].rows() if log['config'] == SUITES[suite].config(row))
    assert file == f'{row.name}_seed{log["seed"]}.json' and log['seed'] in row.seeds
    assert log['command'] == f'python tools/train.py {log["config"]} --cfg-options randomness.seed={log["seed"]}'
    steps = [values['step'] for values in log['val']]
    assert steps == sorted(set(steps)) and steps[-1] == max_iters(log['config'])
    assert np.isfinite([values[SUITES[suite].metric] for values in log['val']]).all()
    assert np.isfinite(log['train']['loss']).all() and log['train']['step'][-1] == steps[-1]
    assert log['seconds'] > 0 and log['versions']['torch'] and log['hardware']


def test_seeds_are_other_trainings():
    """No two logs of a config hold the same losses, as they would if the seed had no effect."""
    losses = Counter((log['config'], tuple(log['train']['loss']))
                     for log in (json.loads((LOGS / name).read_text()) for name in TRAININGS))
    assert all(count == 1 for count in losses.values())
    for suite in SUITES.values():
        for row in suite.rows():
            assert len(set(row.seeds)) == len(row.seeds)


def test_mean_std_and_ranks():
    assert page.mean_std([1., 2., 4.]) == f'{7 / 3:.2f} ± {(7 / 3)**0.5:.2f}'
    assert page.mean_std([1.25], 1) == '1.2' and page.mean_std([]) == 'not run'
    assert page.ranks(dict(a=1., b=3., c=2., d=3.)) == dict(a=4, b=1, c=3, d=1)
    # differences of 2 and 1 against twice the standard error, 2 * sqrt(2 / 3)
    assert page.told_apart([0., 1., 2.], [2., 3., 4.])
    assert not page.told_apart([0., 1., 2.], [1., 2., 3.])


def test_pairs_are_compared_with_the_paper():
    rows = [Row('a', 'A', 3.), Row('b', 'B', 2.), Row('c', 'C', 1.), Row('d', 'D', 0.)]
    assert page.pair_lines(rows, {}) == []
    lines = page.pair_lines(rows, dict(a=[5., 5.1], b=[6., 6.1], c=[4., 7.]))
    assert lines == [
        'Pairs in the order of the paper: 1 of 3.',
        'Pairs whose means differ by more than twice the standard error of the difference: 1 of 3: '
        'B > A (against the paper).']
    assert page.pair_lines(rows, dict(a=[5.], b=[60.])) == ['Pairs in the order of the paper: 0 of 1.']  # one seed
    lines = page.pair_lines([row._replace(paper=None) for row in rows], dict(a=[5., 5.1], b=[6., 6.1]))
    assert lines == ['Pairs whose means differ by more than twice the standard error of the difference: 1 of 1: B > A.']


def test_table_of_a_comparison(tmp_path):
    tssa, tpusa, dmsa, _ = CIFAR.tables['attentions']
    save(tmp_path, CIFAR, tssa, {0: 60., 1: 61., 2: 63.})
    save(tmp_path, CIFAR, tpusa, {1: 59.})
    save(tmp_path, CIFAR, dmsa, {0: 64., 2: 65.})
    text = page.render('cifar10-attentions', tmp_path)
    assert cells(text, 'TSSA') == ['61.33 ± 1.53', '2', '61.59', '4', '3', '4']
    assert cells(text, 'TPUSA') == ['59.00', '3', '62.40', '3', '1 of 3', '4']
    assert cells(text, 'DMSA') == ['64.50 ± 0.71', '1', '62.62', '2', '2 of 3', '4']
    assert cells(text, 'TPSUSA') == ['not run', 'not run', '63.13', '1', '0 of 3', 'not run']
    assert 'Pairs in the order of the paper: 2 of 3.' in text
    assert 'Not measured yet: complexity.' in text

    save_analysis(tmp_path, CIFAR, complexity=dict(tssa=dict(parameters=375490, flops=48.24e6)))
    text = page.render('cifar10-attentions', tmp_path)
    assert cells(text, 'TSSA')[-2:] == ['375.5', '48.24'] and cells(text, 'DMSA')[-2:] == ['-', '-']
    assert 'Not measured' not in text
    assert 'rank' not in page.render('cifar10-operators', tmp_path)  # the paper has some of these rows alone


def test_tables_of_camvid(tmp_path):
    cbt, *others = CAMVID.tables['decoders']
    save(tmp_path, CAMVID, cbt, {0: 40., 1: 42.})
    save_analysis(
        tmp_path, CAMVID,
        complexity=dict(cbt=dict(parameters=1000e3, flops=2e9, decoder_parameters=250500, decoder_flops=1.5e8)),
        speed=dict(cbt=dict(images_per_second=dict(median=20., low=19., high=21.5),
                            ratio=dict(median=1., low=1., high=1.))),
        robustness=dict(cbt=dict(scales=[0, 0.5, 1], values={'0': [40., 30., 3.], '1': [42., 34., 3.]})),
        windows=dict(cbt={'0': 43., '1': 45.}),
        environment=dict(hardware='a processor', threads=2))
    text = page.render('camvid-decoders', tmp_path)
    assert cells(text, 'CBT') == ['41.00 ± 1.41', '61.00 ± 1.41', '44.00 ± 1.41', '2 of 3', '4', '250.5', '150',
                                  '1,000', '2,000', '20 (19-21.5)', '1 (1-1)', '32.00 ± 2.83']
    assert cells(text, others[-1].title)[5:] == ['-'] * 7
    assert 'a processor, threads: 2' in text and 'Not measured' not in text
    assert cells(page.render('camvid-robustness', tmp_path), 'CBT') == [
        '41.0 ± 1.4', '32.0 ± 2.8', '3.0 ± 0.0', '2']
    classes = page.render('camvid-classes', tmp_path)
    assert cells(classes, 'sign symbol') == ['42.0 ± 1.4'] + ['not run'] * (len(CAMVID.rows()) - 1)
    assert page.render('camvid-of_none', tmp_path) == 'camvid, of_none: not run.'


def test_coding_rates(tmp_path):
    row = next(row for row in CIFAR.rows() if row.name == 'cbsa')
    save(tmp_path, CIFAR, row, {0: 60., 1: 61.})
    text = page.render('coding-rates', tmp_path)
    assert cells(text, row.title) == ['2', '10.5 ± 0.7', '11.5 ± 0.7', '12.5 ± 0.7', '2 of 3']
    assert cells(text, row.title, 1) == ['4', '9.5 ± 0.7', '8.5 ± 0.7', '7.5 ± 0.7', '2 of 3']
    course = text[text.index('**Course'):]
    assert cells(course, row.title) == ['0 of 2', '2 of 2', '3 of 3']
    assert f'- {row.title}, last look. The compression term falls over the later half of the layers' in course


def test_layers_are_in_their_order():
    """Layer 10 comes after layer 2."""
    log = dict(coding_rate={f'compression/backbone.layers.{i}.attn': [float(i)] for i in (10, 2, 0)})
    assert page.layer_rates(log, 'compression', 0) == [0., 2., 10.]


def test_zero_shot_table(tmp_path):
    scores = dict(foreground={'0': 30., '1': 32.}, boundary={'0': 10., '1': 10.5})
    save_analysis(tmp_path, CIFAR, zero_shot=dict(chance=scores, dmsa=scores))
    text = page.render('zero-shot', tmp_path)
    assert cells(text, 'DMSA') == cells(text, 'chance') == ['cifar10', '31.00 ± 1.41', '-', '10.25 ± 0.35', '2']
    assert text.index('DMSA') < text.index('chance')
    assert 'Not measured yet: zero-shot segmentation, camvid.' in text


def test_runs(tmp_path):
    cbt = CAMVID.rows()[0]
    save(tmp_path, CAMVID, cbt, {0: 40., 2: 42.})
    text = page.render('runs-camvid', tmp_path)
    assert cells(text, '[cbt](configs/camvid/cbt.py)') == ['0, 2', '4', '1800']
    assert 'add up to 1.0 hours' in text and 'Hardware: a processor. Versions: python 3.11.' in text


def test_without_logs_no_number_is_invented(tmp_path):
    for match in SECTION.finditer(PAGE.read_text()):
        text = page.render(match[2], tmp_path)
        assert any(words in text for words in ('not run', 'Not measured yet', '0 of')), match[2]
        assert '![' not in text and '±' not in text
    assert draw_all(tmp_path, tmp_path / 'images') == []


def test_refresh_names_what_is_wrong(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('no section')
    with pytest.raises(UserError, match='no section <!-- table:NAME -->'):
        page.refresh(path, tmp_path)
    path.write_text('<!-- table:poetry -->\n<!-- end -->')
    with pytest.raises(UserError, match='table:poetry -->: there is no such section'):
        page.refresh(path, tmp_path)


def test_plots_are_drawn_and_named_by_the_page(tmp_path):
    save_all(tmp_path)
    written = draw_all(tmp_path, tmp_path / 'images')
    for path in written:
        assert path.stat().st_size < 150_000
        with Image.open(path) as image:
            assert np.asarray(image.convert('L')).std() > 5
    text = ''.join(page.render(match[2], tmp_path) for match in SECTION.finditer(PAGE.read_text()))
    assert {f'images/{path.name}' for path in written} == set(re.findall(r'!\[[^]]*\]\(([^)]+)\)', text))
    assert len(written) == sum(len(suite.tables) for suite in SUITES.values()) + 2
