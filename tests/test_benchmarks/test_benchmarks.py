"""The benchmark: refuses to time what differs, keeps what it measured; its page follows its numbers."""
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mmwhitebox.engine.onednn import obstacle
from mmwhitebox.errors import UserError
from mmwhitebox.models.attention import CBSA, DMSA, MSCA, MSSA, TSSA
from mmwhitebox.models.feedforward import ISTA
from tests.configs import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
from benchmarks import contest, models, operators, report, rounds, scaling  # noqa: E402
from benchmarks.agreement import Disagreement  # noqa: E402
from benchmarks.contest import Case, Contestant, Settings, Unable, require_onednn  # noqa: E402
from benchmarks.memory import peak_bytes, saved_bytes  # noqa: E402
from benchmarks.roofline import PASSES, Shape, least_time, least_work  # noqa: E402
from benchmarks.transcription import plain_form, transcribe  # noqa: E402

sys.path.remove(str(ROOT / 'tools'))

PAGE = ROOT / 'docs' / 'performance.md'
SETTINGS = Settings(torch.device('cpu'), rounds=4, warmup=1, min_seconds=0.)
HW = (5, 6)
ATTENTIONS = {
    'cbsa': lambda: CBSA(24, 3, pool_size=3),
    'cbsa official pool': lambda: CBSA(24, 2, head_dims=10, pool_size=4, pool_tokens='official'),
    'tssa': lambda: TSSA(24, 4, qkv_bias=True),
    'dmsa': lambda: DMSA(24, 4, qkv_bias=True),
    'dmsa without rope': lambda: DMSA(24, 4, rope=False),
    'mssa': lambda: MSSA(24, 3),
    'mssa shared': lambda: MSSA(24, 3, head_dims=10, out_proj='shared'),
}


def tool():
    """tools/benchmark.py as a module."""
    spec = importlib.util.spec_from_file_location('benchmark', ROOT / 'tools' / 'benchmark.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(*args):
    return subprocess.run([sys.executable, str(ROOT / 'tools' / 'benchmark.py'), *map(str, args)], cwd=ROOT,
                          text=True, capture_output=True, timeout=300,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'})


def same_function(ours, plain, *args):
    """Outputs and the gradients of inputs and parameters agree, in float64."""
    results = []
    for module in (ours, plain):
        inputs = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in args]
        out = module(*inputs)
        leaves = {str(i): x for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)}
        leaves.update(module.named_parameters())
        torch.manual_seed(1)
        found = torch.autograd.grad(out, list(leaves.values()), torch.randn_like(out))
        results.append(dict(zip(leaves, found), out=out))
    expected, found = results
    assert set(expected) == set(found)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize('name', ATTENTIONS)
def test_transcription_of_attention_agrees_with_ours(name):
    ours = ATTENTIONS[name]().double()
    same_function(ours, plain_form(ours), torch.randn(2, 1 + HW[0] * HW[1], 24, dtype=torch.float64), HW)


def test_transcription_of_cross_attention_and_feedforward_agrees_with_ours():
    msca, ista = MSCA(24, 3, head_dims=10).double(), ISTA(24).double()
    queries, x = torch.randn(2, 7, 24, dtype=torch.float64), torch.randn(2, 31, 24, dtype=torch.float64)
    same_function(msca, plain_form(msca), queries, x)
    same_function(ista, plain_form(ista), x)


def test_transcription_holds_copies_of_the_same_weights():
    ours = models.encoder('cbt-tiny', 32, 'torch')
    plain = transcribe(ours)
    assert plain.state_dict().keys() == ours.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), ours.state_dict().values()))
    assert not {p.data_ptr() for p in plain.parameters()} & {p.data_ptr() for p in ours.parameters()}
    assert not any(isinstance(module, (CBSA, ISTA)) for module in plain.modules())
    with pytest.raises(UserError, match='no white-box operator'):
        transcribe(nn.Linear(2, 2))


def ista_case(mode='training', forms=('ours', 'ours-fused', 'plain')):
    return operators.operator_case(['ista'], Shape(2, 16, 2, 8), mode, forms, SETTINGS, [])


def test_ratios_are_medians_over_the_rounds():
    result = report.summarise(rounds.run_case(ista_case(), SETTINGS))
    ours, plain = result['contestants']['ista'], result['contestants']['ista-plain']
    assert len(ours['seconds']) == len(plain['seconds']) == 4
    per_round = np.array(plain['seconds']) / np.array(ours['seconds'])
    assert ours['ratios']['plain']['median'] == pytest.approx(np.median(per_round), rel=1e-3)
    assert ours['ratios']['plain']['low'] == pytest.approx(np.percentile(per_round, 25), rel=1e-3)
    assert ours['items_per_second'] == pytest.approx(32 / np.median(ours['seconds']), rel=1e-3)
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
def test_gate_refuses_a_wrong_transcription(mode, monkeypatch):
    timed = []
    monkeypatch.setattr(rounds, 'timed', lambda *args: timed.append(args) or 1.)
    case = ista_case(mode)
    build = case.builders['ista-plain']

    def wrong():
        contestant = build()
        contestant.module.ista.lam += 1e-3
        return contestant

    case.builders['ista-plain'] = wrong
    with pytest.raises(Disagreement, match='ista-plain does not agree with ista: the output') as error:
        rounds.run_case(case, SETTINGS)
    assert 'Nothing was timed' in str(error.value) and '\n' not in str(error.value) and not timed


def test_gate_refuses_a_wrong_gradient():
    case = ista_case()
    build = case.builders['ista-plain']

    class Detached(nn.Module):
        def __init__(self, contestant):
            super().__init__()
            self.ista = contestant.module.ista

        def forward(self, x):
            return self.ista(x.detach()) + (x - x.detach())  # the right values

    case.builders['ista-plain'] = lambda: Contestant(Detached(build()), build().inputs)
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
    case.builders['ista-fused'] = lambda: Contestant(FallsBack(), (torch.zeros(1), ), fused=True)
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
    reason = too_large('mssa', 'plain', Shape(1, 2**18, 6, 64), 'training', SETTINGS, [])
    assert reason == 'skipped: its N x N matrices would take 6144 GiB'


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
    result = report.summarise(rounds.run_case(case, SETTINGS))
    rows = result['contestants']
    growth = report.QUANTITIES['time(N) / time(N/2)'](rows['ista'], {}, {})
    per_round = np.array(rows['ista-half']['seconds']) / np.array(rows['ista']['seconds'])
    assert growth == pytest.approx(1 / np.median(per_round), rel=1e-3)
    tables = report.operator_tables(dict(cases=[result], peaks=dict(bytes_per_second=1e9, flops_per_second=1e9)))
    assert not any('half' in table.get_string() for table in tables.values())
    quadratic = operators.operator_case(['mssa'], Shape(1, 16, 2, 8), 'inference', ('ours', ), SETTINGS, [])
    assert list(quadratic.builders) == ['mssa']


def test_share_of_the_floor_takes_the_bandwidth_of_its_own_round():
    row = dict(seconds=[1., 2., 8.], copy_bytes_per_second=[8e9, 4e9, 1e9])
    work, peaks = dict(floor=2e9, passes=4e9, flops=1e6), dict(bytes_per_second=1., flops_per_second=1e9)
    assert report.share_of_floor(row, work, peaks, 'floor') == pytest.approx(25)
    assert report.share_of_floor(row, work, peaks, 'passes') == pytest.approx(50)
    row['copy_bytes_per_second'] = [8e9, 8e9, 4e9]
    assert report.share_of_floor(row, work, peaks, 'floor') == pytest.approx(12.5)  # the median of 25, 12.5, 6.25


@pytest.mark.skipif(obstacle() is not None, reason=f'oneDNN: {obstacle()}')
@pytest.mark.parametrize('mode', ['inference', 'training'])
def test_forms_with_onednn_run_with_it_and_the_others_without(mode, monkeypatch):
    seen = {}
    call = Contestant.call

    def note(self, settings, *inputs):
        seen.setdefault(self.onednn, set()).add(torch.backends.mkldnn.matmul.fp32_precision)
        out = call(self, settings, *inputs)
        if out.requires_grad:
            out.register_hook(lambda _: seen[self.onednn].add(torch.backends.mkldnn.matmul.fp32_precision))
        return out

    monkeypatch.setattr(Contestant, 'call', note)
    before = torch.backends.mkldnn.matmul.fp32_precision
    wanted = ('ours', 'ours-onednn', 'plain', 'plain-onednn', 'segmenter', 'segmenter-onednn')
    case = models.decoder_case('cbt', 64, mode, 2, wanted, SETTINGS)
    rows = report.summarise(rounds.run_case(case, SETTINGS))['contestants']
    assert all(row.get('seconds') for row in rows.values()), rows
    assert seen == {True: {'bf16'}, False: {before}}
    assert rows['ours-onednn']['ratios'].keys() == {'plain', 'plain-onednn', 'segmenter', 'segmenter-onednn'}
    assert rows['ours']['ratios'].keys() == {'plain', 'segmenter'}
    assert rows['ours-onednn']['difference']['output'] < 1e-4  # compared in float32; 0 where both libraries agree


def test_onednn_is_for_float32_on_a_cpu(monkeypatch):
    for settings in (Settings(torch.device('cuda')), Settings(torch.device('cpu'), torch.bfloat16)):
        with pytest.raises(Unable, match='float32 on a CPU'):
            require_onednn(settings)
    monkeypatch.setattr(contest, 'obstacle', lambda: 'the processor has no AVX-512')
    with pytest.raises(Unable, match='no AVX-512'):
        require_onednn(SETTINGS)


def test_scaling_formula():
    assert scaling.ring_seconds(100e6, 8, 50e9) == pytest.approx(2 * 7 / 8 * 100e6 / 50e9)
    step = scaling.step_needed(2e-3, 0.9)
    assert step / (step + 2e-3) == pytest.approx(0.9)


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp('benchmark')
    done = command('--quick', '--threads', 1, '--out', out, '--max-tokens', 256,
                   '--models', 'dmst-tiny', 'cbt', 'cbsa', 'tssa', 'mhsa',
                   '--forms', 'ours', 'ours-fused', 'plain', 'vit')
    assert done.returncode == 0, done.stderr
    return out, done


def test_quick_run_writes_everything(quick):
    out, done = quick
    assert {path.name for path in out.iterdir()} == {
        f'{suite}{suffix}' for suite in ('classification', 'decoder', 'operators')
        for suffix in ('.json', '.md', '.png')}
    assert 'min left' in done.stderr and 'the fused kernels need a GPU' in done.stdout
    assert (out / 'operators.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('suite', ['classification', 'decoder', 'operators'])
def test_json_is_consistent(quick, suite):
    result = json.loads((quick[0] / f'{suite}.json').read_text())
    assert result['environment']['threads'] == 1 and result['environment']['versions']['torch']
    assert result['environment']['command'].startswith('python tools/benchmark.py --quick')
    assert result['peaks']['bytes_per_second'] > 1e6 and len(result['cases']) == 2
    for case in result['cases']:
        found = rounds.ratios(case)
        for name, row in case['contestants'].items():
            assert ('reason' in row) != ('seconds' in row)
            assert row.get('ratios', {}) == found.get(name, {})
            if 'seconds' in row:
                assert len(row['seconds']) == 3 and row['low'] <= row['median'] <= row['high']
                assert row['peak_bytes'] > 0
                assert len(row.get('copy_bytes_per_second', ())) == (3 if suite == 'operators' else 0)
                assert ('saved_bytes' in row) == (case['labels']['mode'] == 'training')
    assert result['cases'][1]['contestants'].keys() >= {
        'classification': {'ours', 'plain', 'vit', 'tost'}, 'decoder': {'ours', 'plain'},
        'operators': {'cbsa', 'cbsa-plain', 'tssa', 'mhsa'}}[suite]


def test_the_summary_of_the_libraries_follows_the_numbers():
    cases = {(case['labels']['model'], case['labels']['mode']): case['contestants'] for case in json.loads(
        (PAGE.with_suffix('') / 'cpu-classification-224.json').read_text())['cases']}
    compared = [('ours-onednn-compiled', 'plain'), ('ours-onednn-compiled', 'plain-onednn'), ('ours-compiled', 'plain')]
    text, short = PAGE.read_text(), {'T': 'tiny', 'S': 'small'}
    for model in ('CBT-T', 'CBT-S', 'CRATE-S', 'ToST-S', 'DMST-S'):
        name, size = model.split('-')
        cells = [' / '.join(f'{cases[f"{name.lower()}-{short[size]}", mode][ours]["ratios"][plain]["median"]:.2f}'
                            for mode in ('training', 'inference')) for ours, plain in compared]
        assert f'| {model} | {" | ".join(cells)} |' in text


def test_page_is_written_from_the_json(quick, tmp_path):
    page, folder = tmp_path / 'page.md', tmp_path / 'page'
    page.write_text('before\n<!-- table:numbers -->\nold\n<!-- end -->\n'
                    'between\n<!-- table:none -->\n<!-- end -->\n')
    folder.mkdir()
    shutil.copy(quick[0] / 'decoder.json', folder / 'numbers.json')
    assert tool().main(['--markdown', str(page)]) == 0
    text = page.read_text()
    ours = json.loads((folder / 'numbers.json').read_text())['cases'][0]['contestants']['ours']
    assert f'{report.number(ours["ratios"]["plain"]["median"])} (' in text
    assert 'old' not in text and 'between' in text and 'Not measured yet: no `none.json`' in text
    report.refresh(page)
    assert page.read_text() == text
    page.write_text('no section')
    with pytest.raises(UserError, match='no section'):
        report.refresh(page)


def test_the_page_of_the_documentation_follows_its_numbers(tmp_path):
    copy = tmp_path / PAGE.name
    copy.write_text(PAGE.read_text())
    if PAGE.with_suffix('').is_dir():
        shutil.copytree(PAGE.with_suffix(''), tmp_path / PAGE.stem)
    report.refresh(copy)
    assert copy.read_text() == PAGE.read_text(), 'python tools/benchmark.py --markdown docs/performance.md'
    for path in (PAGE.with_suffix('')).glob('*.json'):
        assert path.stat().st_size < 100_000


def test_models_of_all_suites_are_known():
    from mmwhitebox.models.backbones import WhiteBoxTransformer
    assert set(models.ENCODERS) <= set(WhiteBoxTransformer.arch_zoo)
    with pytest.raises(Unable, match='no operator of this model has fused kernels'):
        models.set_impl(dict(attention=dict(type='MHSA'), feedforward=dict(type='MLP')), 'triton')
    forms = models.set_impl(WhiteBoxTransformer.arch_zoo['crate-cbt-tiny'], 'torch')
    assert [cfg.get('impl') for cfg in forms['attention']] == [None] * 6 + ['torch'] * 6


@pytest.mark.parametrize('args, message', [
    (['speed'], "There is no suite 'speed'. Suites: classification, decoder, operators."),
    (['decoder', '--models', 'cbsa'], '--models cbsa: there is none of that name in decoder: cbt, depict-sa'),
    (['--name', 'x'], '--name is for one suite; name the suite.'),
    (['--representatives', '50'], '--representatives 50: CBSA pools to a square'),
    (['--device', 'abacus'], '--device abacus: '),
])
def test_bad_arguments_say_what_to_give(args, message):
    with pytest.raises(UserError) as error:
        tool().main(args)
    assert message in str(error.value)


def test_counts_are_positive(capsys):
    with pytest.raises(SystemExit):
        tool().main(['--rounds', '0'])
    assert 'argument --rounds: 0 is no positive integer' in capsys.readouterr().err
