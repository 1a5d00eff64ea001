"""The benchmark: refuses to time what differs, keeps what it measured; its page follows its numbers."""
import gc
import json
import logging
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import models, operators, page, report, rounds
from benchmarks.__main__ import main, parse_args
from benchmarks.agreement import Disagreement
from benchmarks.cases import Case, Contestant, Settings, Unable
from benchmarks.memory import peak_bytes, saved_bytes
from benchmarks.roofline import H200, PASSES, Shape, least_time, least_work
from mmwhitebox import apis, ops
from mmwhitebox.errors import UserError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.ops.cbsa.eager import maps_representatives
from tests.configs import ROOT

PAGE = ROOT / 'docs' / 'performance.md'
FOLDER = PAGE.with_suffix('')
SETTINGS = Settings(torch.device('cpu'), rounds=4, warmup=1, min_seconds=0.)


@pytest.fixture(scope='module', autouse=True)
def few_objects_to_collect():
    """Each case ends with a collection, which need not go through all that the tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def command(*args):
    return subprocess.run([sys.executable, str(ROOT / 'tools' / 'benchmark.py'), *map(str, args)], cwd=ROOT,
                          text=True, capture_output=True, timeout=300,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'})


def ista_case(mode='training', forms=('ours', 'ours-fused', 'plain')):
    return operators.operator_case(['ista'], Shape(2, 16, 2, 8), mode, forms, SETTINGS, [])


def table_of(result):
    return report.table(dict(cases=[result], peaks=dict(bytes_per_second=1e9, flops_per_second=1e9))).set_index(
        'contestant')


def test_ratios_are_medians_over_the_rounds():
    result = rounds.run_case(ista_case(), SETTINGS)
    ours, plain = result['contestants']['ista'], result['contestants']['ista-plain']
    assert len(ours['seconds']) == len(plain['seconds']) == 4
    per_round = np.array(plain['seconds']) / np.array(ours['seconds'])
    row = table_of(result).loc['ista']
    assert row['x_plain'] == pytest.approx(np.median(per_round), rel=1e-3)
    assert row['x_plain_low'] == pytest.approx(np.percentile(per_round, 25), rel=1e-3)
    assert row['per_second'] == pytest.approx(32 / np.median(ours['seconds']), rel=1e-3)
    assert plain['difference']['output'] < 1e-8 and plain['difference']['gradient'] < 1e-7
    made = {'case': [3., 1., 2.], 'other': [9., 2., 2.]}  # the ratios of medians would be 1, not 2
    case = dict(references={'case': {'x': 'other'}},
                contestants={name: dict(seconds=seconds) for name, seconds in made.items()})
    assert rounds.ratios(case)['case']['x'] == dict(median=2., low=1.5, high=2.5)


def test_contestants_run_in_turn(monkeypatch):
    order = []
    case = ista_case('inference', ('ours', 'plain'))
    run = rounds.timed

    def note(step, repeats, device):
        order.append(step)
        return run(step, repeats, device)

    monkeypatch.setattr(rounds, 'timed', note)
    rounds.run_case(case, SETTINGS)
    steps, copies = order[-24::2], order[-23::2]  # ours, ours on half the tokens, plain; after each a large copy
    assert steps == steps[:3] * 4 and len(set(steps)) == 3 and set(copies) == {copies[0]}


@pytest.mark.parametrize('mode', ['inference', 'training'])
def test_gate_refuses_what_computes_something_else(mode, monkeypatch):
    timed = []
    monkeypatch.setattr(rounds, 'timed', lambda *args: timed.append(args) or 1.)
    case = ista_case(mode)
    build = case.builders['ista-plain']

    def wrong():
        contestant = build()
        contestant.module.lam += 1e-3
        return contestant

    case.builders['ista-plain'] = wrong
    with pytest.raises(Disagreement, match='ista-plain does not agree with ista: the output') as error:
        rounds.run_case(case, SETTINGS)
    assert 'Nothing was timed' in str(error.value) and '\n' not in str(error.value) and not timed


def test_gate_refuses_a_wrong_gradient():
    case = ista_case()
    build = case.builders['ista-plain']

    class Detached(ISTA):
        def forward(self, x):
            return super().forward(x.detach()) + (x - x.detach())  # the right values

    def wrong():
        contestant = build()
        contestant.module.__class__ = Detached
        return contestant

    case.builders['ista-plain'] = wrong
    with pytest.raises(Disagreement, match='the gradient of input 0 differs by'):
        rounds.run_case(case, SETTINGS)


def test_who_cannot_run_is_a_row_with_the_reason():
    def impossible():
        raise RuntimeError('the moon is full\nand more lines')

    class FailsLater(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 4:
                raise torch.OutOfMemoryError('no memory')
            return x

    case = ista_case('inference')
    case.builders.update(impossible=impossible,
                         late=lambda: Contestant(FailsLater(), (torch.zeros(1), )))
    result = rounds.run_case(case, SETTINGS)
    rows = result['contestants']
    assert rows['impossible'] == dict(reason='RuntimeError: the moon is full')
    assert rows['ista-fused'] == dict(reason='the fused kernels need a GPU')
    assert rows['late'] == dict(reason='out of memory')
    assert len(rows['ista']['seconds']) == 4


def test_a_fused_form_that_falls_back_is_not_timed_as_fused():
    class FallsBack(nn.Module):
        def forward(self, x):
            logging.getLogger('mmwhitebox.ops').warning('ista runs in its eager form, not fused: p = 7.')
            return x

    case = ista_case('inference', ('ours', ))
    case.builders['ista-fused'] = lambda: Contestant(FallsBack(), (torch.zeros(1), ), 'triton')
    rows = rounds.run_case(case, SETTINGS)['contestants']
    assert 'not fused: p = 7' in rows['ista-fused']['reason'] and rows['ista']['seconds']


def test_slow_and_large_calls_are_left_out():
    slow = Settings(SETTINGS.device, rounds=1, warmup=1, call_budget=0.)
    rows = rounds.run_case(ista_case('inference'), slow)['contestants']
    assert rows['ista']['reason'] == 'one step takes 0 s, the budget is 0 s'
    done = [dict(labels=dict(tokens=1024, mode='inference'), contestants={'mhsa': dict(seconds=[3., 2.])})]
    large = Shape(1, 8192, 6, 64)
    too_large = operators.too_large
    reason = too_large('mhsa', 'ours', large, 'inference', SETTINGS, done)
    assert reason == 'skipped: one call would take about 128 s'
    assert too_large('mhsa', 'ours', Shape(1, 2048, 6, 64), 'inference', SETTINGS, done) is None
    assert too_large('cbsa', 'ours', large, 'inference', SETTINGS, done) is None


def test_memory_is_that_of_known_tensors():
    assert peak_bytes(lambda: torch.zeros(1000) + torch.zeros(500, 1000), SETTINGS.device) == 4 * (
        1000 + 2 * 500 * 1000)
    x = torch.randn(10, 100, requires_grad=True)
    module = nn.Sequential(nn.Linear(100, 50), nn.Sigmoid())
    case = Case({}, {}, {}, {}, 10, objective=lambda out: (out, torch.ones_like(out)))
    assert saved_bytes(case, Contestant(module, (x, )), SETTINGS) == 4 * (10 * 100 + 10 * 50)


def test_least_work_in_numbers():
    shape = Shape(2, 4096, 3, 32, 16)
    w = 2 * 4096 * 3 * 32 * 2
    assert least_work('cbsa', shape, 2, False)['floor'] == 2 * w
    assert least_work('cbsa', shape, 2, True)['passes'] == (3 + 1 + 4 + 1 + 2) * w  # reads, writes
    assert least_work('dmsa', shape, 2, True)['passes'] == (2 + 1 + 4 + 1) * w
    assert least_work('mhsa', shape, 2, False)['flops'] == 4 * 2 * 3 * 4096**2 * 32
    for op in PASSES:
        for training in (False, True):
            work = least_work(op, shape, 2, training)
            assert 2 * w <= work['floor'] <= work['passes'] and work['flops'] > 0
    peaks = dict(bytes_per_second=1e9, flops_per_second=1e9)
    assert least_time(dict(floor=3e9, flops=2e9), peaks) == (3., 'memory')
    assert least_time(dict(floor=1e9, passes=1.5e9, flops=2e9), peaks, 'passes') == (2., 'compute')


def test_growth_is_measured_beside_half_the_tokens():
    case = ista_case(forms=('ours', 'plain'))
    assert list(case.builders) == ['ista', 'ista-half', 'ista-plain']
    ours, half = (case.builders[name]().inputs[0] for name in ('ista', 'ista-half'))
    assert ours.shape == (2, 16, 16) and torch.equal(half, ours[:, :8]) and half.is_leaf and half.requires_grad
    result = rounds.run_case(case, SETTINGS)
    rows, frame = result['contestants'], table_of(result)
    per_round = np.array(rows['ista-half']['seconds']) / np.array(rows['ista']['seconds'])
    assert frame.at['ista', 'growth'] == pytest.approx(1 / np.median(per_round), rel=1e-3)
    assert list(frame.index) == ['ista', 'ista-plain'] and not any('half' in name for name in frame)
    quadratic = operators.operator_case(['mssa'], Shape(1, 16, 2, 8), 'inference', ('ours', ), SETTINGS, [])
    assert list(quadratic.builders) == ['mssa']


def test_share_of_the_floor_takes_the_bandwidth_of_its_own_round():
    row = dict(seconds=[1., 2., 8.], copy_bytes_per_second=[8e9, 4e9, 1e9])
    work, peaks = dict(floor=2e9, passes=4e9, flops=1e6), dict(bytes_per_second=1., flops_per_second=1e9)
    assert report.share_of_floor(row, work, peaks, 'floor') == pytest.approx(25)
    assert report.share_of_floor(row, work, peaks, 'passes') == pytest.approx(50)
    row['copy_bytes_per_second'] = [8e9, 8e9, 4e9]
    assert report.share_of_floor(row, work, peaks, 'floor') == pytest.approx(12.5)  # the median of 25, 12.5, 6.25


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp('benchmark')
    done = command('--quick', '--threads', 1, '--out', out, '--tokens', 256,
                   '--models', 'dmst-tiny', 'cbt', 'cbsa', 'tssa', 'mhsa',
                   '--forms', 'ours', 'ours-fused', 'plain', 'vit')
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.slow
def test_quick_run_writes_everything(quick):
    out, done = quick
    assert {path.name for path in out.iterdir()} == {
        'operators.png', *(f'{suite}{suffix}' for suite in ('classification', 'decoder', 'operators')
                           for suffix in ('.json', '.csv'))}
    assert 'min left' in done.stderr and 'the fused kernels need a GPU' in done.stdout
    assert (out / 'operators.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
@pytest.mark.parametrize('suite', ['classification', 'decoder', 'operators'])
def test_json_is_consistent(quick, suite):
    result = json.loads((quick[0] / f'{suite}.json').read_text())
    assert result['environment']['threads'] == 1 and result['environment']['versions']['torch']
    assert result['environment']['command'].startswith('python -m benchmarks --quick')
    assert result['peaks']['bytes_per_second'] > 1e6 and len(result['cases']) == 2
    for case in result['cases']:
        for row in case['contestants'].values():
            assert ('reason' in row) != ('seconds' in row)
            if 'seconds' in row:
                assert len(row['seconds']) == 3 and row['peak_bytes'] > 0
                assert len(row.get('copy_bytes_per_second', ())) == (3 if suite == 'operators' else 0)
                assert ('saved_bytes' in row) == (case['labels']['mode'] == 'training')
    assert result['cases'][1]['contestants'].keys() >= {
        'classification': {'ours', 'plain', 'vit', 'tost'}, 'decoder': {'ours', 'plain'},
        'operators': {'cbsa', 'cbsa-plain', 'tssa', 'mhsa'}}[suite]


@pytest.mark.slow
def test_the_csv_says_what_the_rounds_say(quick):
    for suite in ('classification', 'decoder', 'operators'):
        result = json.loads((quick[0] / f'{suite}.json').read_text())
        heading, frame = report.read_csv(quick[0] / f'{suite}.csv')
        assert heading == report.heading(result)
        pd.testing.assert_frame_equal(frame, report.table(result).replace('', np.nan), rtol=1e-3, check_dtype=False)


def test_every_generated_section_of_a_page_is_written_anew(tmp_path):
    """From the files of a run in this process."""
    assert main(['decoder', '--quick', '--models', 'cbt', '--modes', 'inference', '--forms', 'plain', '--sizes', '32',
                 '--out', str(tmp_path / 'run')]) == 0
    assert {path.name for path in (tmp_path / 'run').iterdir()} == {'decoder.json', 'decoder.csv'}
    csv = tmp_path / 'run' / 'decoder.csv'
    assert csv.read_text().splitlines()[1].endswith('--forms plain --sizes 32')  # not where it is
    text = ('before\n<!-- table:cpu-decoders -->\nold\n<!-- end -->\n'
            'between\n<!-- table:gpu-encoders -->\n<!-- end -->\n')
    (tmp_path / 'page.md').write_text(text)
    (tmp_path / 'page').mkdir()
    (tmp_path / 'page' / 'cpu-decoder.csv').write_text(csv.read_text())
    assert main(['--markdown', str(tmp_path / 'page.md')]) == 0
    text = (tmp_path / 'page.md').read_text()
    _, frame = report.read_csv(csv)
    assert f'| {report.number(frame["x_plain"][0])} (' in text
    assert 'old' not in text and 'between' in text and 'Not measured yet.' in text
    main(['--markdown', str(tmp_path / 'page.md')])
    assert (tmp_path / 'page.md').read_text() == text
    for text, message in (('no section', 'no section'), ('<!-- table:cpu-poems -->\n<!-- end -->', 'cpu-poems -->')):
        (tmp_path / 'page.md').write_text(text)
        with pytest.raises(UserError, match=message):
            main(['--markdown', str(tmp_path / 'page.md')])


def test_the_page_of_the_documentation_follows_its_numbers(tmp_path):
    copy = tmp_path / PAGE.name
    copy.write_text(PAGE.read_text())
    report.refresh(copy, lambda name: page.render(name, FOLDER))
    assert copy.read_text() == PAGE.read_text(), 'python -m benchmarks --markdown docs/performance.md'


def test_no_number_of_its_prose_is_missing_in_its_tables():
    tables = ' '.join(match[0] for match in report.SECTION.finditer(PAGE.read_text()))
    prose = re.sub(r'## CBSA.s products.*?(?=\n## )|```.*?```|`[^`]*`|\]\([^)]*\)', '',
                   report.SECTION.sub('', PAGE.read_text()), flags=re.DOTALL)
    decimals = set(re.findall(r'\d+\.\d+', prose)) - {f'{H200["bytes_per_second"] / 1e12:g}'}
    assert decimals and decimals <= set(re.findall(r'\d+\.\d+', tables))


def test_counts_of_the_products_of_cbsa():
    section = re.search(r'## CBSA.s products.*?\n## ', PAGE.read_text(), re.DOTALL)[0]
    tokens = [int(n.replace(',', '')) for n in re.search(r'N = ([\d, |]+) \|', section)[1].split(' | ')]
    rows = re.findall(r'^\| (\d+), (\d+), (\d+), (\d+) \| (.*) \|$', section, re.MULTILINE)
    assert len(rows) == 4
    for *sizes, ratios in rows:
        d, k, p, m = map(int, sizes)
        assert ratios.split(' | ') == [f'{n * k * p * (m + d) / (k * m * d * (n + p)):.2f}' for n in tokens]
    bound, = re.findall(r'at least (\d.\d+) times the', section)
    n = next(n for n in range(1, 9999) if maps_representatives(n, 64, 64, 384))
    assert n * (64 + 384) / (384 * (n + 64)) == pytest.approx(float(bound), abs=1e-3)
    gain = (384 + 2 * 64 + 64 + 384) / (384 + 2 * 64 + 384)  # a token, of very many
    assert f'{gain:.2f}' == re.findall(r'cannot gain more than (\d.\d+) times', section)[0]


def test_what_the_page_says_in_short():
    """Each sentence of the summary, from the CSV files."""
    frames = {path.stem: report.read_csv(path)[1].set_index('contestant') for path in FOLDER.glob('*.csv')}
    kept = frames['cpu-operators-kept-pages']
    for op, share in (('cbsa', 1 / 3), ('tssa', 1 / 4), ('dmsa', 1 / 4)):
        last = kept[(kept['tokens'] == 65536) & (kept['mode'] == 'training')]['kept_mib']
        assert last[op] / last[f'{op}-plain'] == pytest.approx(share, rel=0.03)
    forward, backward = (frames[f'cpu-operators-{way}'] for way in ('forward', 'backward'))
    cbsa = forward.loc['cbsa'].set_index('tokens')
    assert cbsa['x_plain_high'][196] < 1 and cbsa['x_plain_low'][1024] < 1 < cbsa['x_plain_high'][1024]
    assert (cbsa['x_plain_low'][4096:] > 1).all()
    assert (backward.loc['cbsa'].set_index('tokens')['x_plain'][1024:] > 1.1).all()
    for frame in (forward, backward):
        assert (frame[frame['tokens'] >= 1024].loc[['tssa', 'dmsa', 'ista'], 'x_plain'] > 1.3).all()
        assert frame[frame['tokens'] >= 4096]['x_mhsa']['mssa'].dropna().between(0.9, 1.1).all()
    encoders = pd.concat([frames['cpu-classification-224'], frames['cpu-classification-512']])
    ours, optimized = encoders.loc['ours'], encoders.loc['ours-optimized'].set_index('model')
    cbt = ours[ours['model'].str.startswith('cbt')]
    assert cbt['x_vit'][cbt['size'] == 512].min() > cbt['x_vit'][cbt['size'] == 224].max() > ours['x_vit'][
        ~ours['model'].str.startswith('cbt')].max()
    assert optimized['x_plain'][optimized['size'] == 224].idxmax() == 'crate-small'
    assert ours[ours['model'].isin(['tost-small', 'dmst-small'])]['x_plain'].between(0.95, 1.1).all()
    small = encoders[encoders['size'] == 224].set_index(['model', 'mode'], append=True).sort_index()
    more = small.loc['ours', 'peak_mib'] > small.loc['vit', 'peak_mib']
    assert set(more[more].index) == {
        *((name, 'inference') for name in ('cbt-tiny', 'cbt-small', 'tost-small', 'dmst-small')),
        ('tost-small', 'training'), ('dmst-small', 'training')}
    decoders = frames['cpu-decoder'][frames['cpu-decoder'].get('decoder') == 'cbt']
    assert (decoders.loc['ours', 'x_segmenter'] > 5).all() and decoders['x_plain_low']['ours-optimized'] > 1
    assert (decoders.loc['ours', 'peak_mib'].iloc[-1] < 0.6 * decoders.loc['plain', 'peak_mib'].iloc[-1])
    deployed = frames['cpu-deploy']
    assert deployed.loc['onnx-int8', 'x_eager'].between(1.3, 2).all()
    lost = deployed.loc['eager', 'mIoU'].to_numpy() - deployed.loc['onnx-int8', 'mIoU'].to_numpy()
    assert (lost < 1).all()


def test_its_commands_are_taken():
    text = PAGE.read_text().replace('\\\n', ' ')
    variables = dict(re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE))
    found = [re.sub(r'\$(\w+)', lambda m: variables[m[1]], line)
             for line in re.findall(r'python -m benchmarks (.*?)(?: +#.*)?$', text, re.MULTILINE)]
    assert len(found) == 14
    for line in found:
        args = parse_args(re.sub(r'\$(\w+)', lambda m: variables[m[1]], line).replace('--device cuda', '').split())
        assert args.markdown or args.name.startswith(('cpu-', 'gpu-'))


def test_plots_and_files_are_named_by_the_page():
    text = PAGE.read_text()
    for path in FOLDER.iterdir():
        assert f'performance/{path.name}' in text and path.stat().st_size < 100_000


def test_what_has_no_kernels_does_not_run_fused():
    assert set(models.ENCODERS) <= set(WhiteBoxTransformer.arch_zoo)
    gpu = Settings(torch.device('cuda'))
    with pytest.raises(Unable, match='no operator of this model has fused kernels'):
        models.contestant_of('ours-fused', nn.Linear(2, 2), (), gpu)
    with pytest.raises(Unable, match='the fused kernels need a GPU'):
        models.contestant_of('tost-fused-compiled', nn.Linear(2, 2), (), SETTINGS)


def test_a_name_says_the_form():
    model, inputs = nn.Linear(2, 2), (torch.zeros(1, 2), )
    others = {'fused', 'optimized', 'bf16'}
    names = [name for name in (*models.FORMS, *models.PEERS) if not others & set(name.split('-'))]
    found = {name: models.contestant_of(name, model, inputs, SETTINGS) for name in names}
    assert {name: (c.form, c.compiled) for name, c in found.items()} == {
        'ours': ('torch', False), 'ours-compiled': ('torch', True), 'plain': ('naive', False),
        'plain-compiled': ('naive', True), 'vit': ('torch', False), 'vit-compiled': ('torch', True),
        'segmenter': ('torch', False)}
    assert all(c.module is not model for c in found.values())


class Attending(nn.Module):
    """Attention of ours and of another library: notes the largest matrix that is made."""

    def forward(self, x):
        sizes = []

        class Note(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                sizes.extend(t.numel() for t in out if isinstance(t, torch.Tensor)) if isinstance(out, tuple) else \
                    sizes.append(out.numel() if isinstance(out, torch.Tensor) else 0)
                return out

        with Note():
            ops.mssa(x), F.scaled_dot_product_attention(x, x, x)
        self.largest = max(sizes)
        return x


def test_plain_leaves_softmax_attention_to_torch():
    x, module = torch.randn(1, 1, 64, 8), Attending()
    with torch.inference_mode(), ops.use('naive'):
        module(x)
    assert module.largest == 64 * 64  # written out
    contestant = models.contestant_of('plain', module, (x, ), SETTINGS)
    with torch.inference_mode():
        contestant.call(x)
    assert contestant.module.largest == 64 * 8


def encoder_case(mode, *forms):
    return models.classification_case('cbt-tiny', 32, mode, 2, forms, SETTINGS)


@pytest.mark.skipif(not hasattr(apis, 'optimize'), reason='there is no optimize yet')
def test_an_optimized_model_is_timed_only_if_it_computes_the_same(monkeypatch):
    case = encoder_case('inference', 'ours', 'ours-optimized')
    rows = rounds.run_case(case, SETTINGS)['contestants']
    assert rows['ours-optimized']['seconds'] and 0 <= rows['ours-optimized']['difference']['output'] < 1e-5
    build = case.builders['ours-optimized']

    def wrong():
        contestant = build()
        with torch.no_grad():
            next(p for p in contestant.module.head.parameters()).mul_(1 + 3e-5)
        return contestant

    case.builders['ours-optimized'] = wrong
    with pytest.raises(Disagreement, match='ours-optimized does not agree with ours: the output .* allowed is 1e-05'):
        rounds.run_case(case, SETTINGS)


def test_an_optimized_model_does_not_train():
    assert 'ours-optimized' not in encoder_case('training', 'ours', 'ours-optimized').builders


def test_bfloat16_is_timed_only_where_it_is_near_and_in_hardware(monkeypatch):
    monkeypatch.setattr(models, 'bf16_is_emulated', lambda device: False)
    case = encoder_case('inference', 'ours', 'ours-bf16')
    row = rounds.run_case(case, SETTINGS)['contestants']['ours-bf16']
    assert row['seconds'] and 1e-4 < row['difference']['output'] < 5e-2
    monkeypatch.setattr(models, 'bf16_is_emulated', lambda device: True)
    with pytest.raises(Unable, match='no bfloat16 instructions'):
        case.builders['ours-bf16']()
    monkeypatch.setattr(models, 'bf16_is_emulated', lambda device: False)
    with pytest.raises(Unable, match='everything is in bfloat16'):
        models.contestant_of('ours-bf16', nn.Linear(2, 2), (), Settings(torch.device('cpu'), torch.bfloat16))


@pytest.mark.parametrize('args, message', [
    (['speed'], "There is no suite 'speed'. Suites: classification, decoder, operators, deploy."),
    (['decoder', '--models', 'cbsa'], '--models cbsa: there is none of that name in decoder: cbt, depict-sa'),
    (['--name', 'x'], '--name is for one suite; name the suite.'),
    (['--representatives', '50'], '--representatives 50: CBSA pools to a square'),
    (['--device', 'abacus'], '--device abacus: '),
])
def test_bad_arguments_say_what_to_give(args, message):
    with pytest.raises(UserError) as error:
        main(args)
    assert message in str(error.value)


def test_counts_are_positive(capsys):
    with pytest.raises(SystemExit):
        main(['--rounds', '0'])
    assert 'argument --rounds: 0 is no positive integer' in capsys.readouterr().err
