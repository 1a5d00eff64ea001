"""The cost of every attention and feed-forward against the number of tokens, beside what is worked out by hand."""
import csv

import pytest

from mmwhitebox.cli.main import main
from mmwhitebox.interpret.cost_curve import cost_curves, plot_cost_curves
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS

DIMS, HEADS, SIDES = 32, 4, (8, 16)


@pytest.fixture(scope='module')
def rows():
    return cost_curves(SIDES, DIMS, HEADS, rounds=2)


def test_every_layer_of_the_registry_is_there(rows):
    """Cross-attentions have no curve of their own: MSCA, and ToST's class attention; Linear is a former name."""
    names = {row['module'] for row in rows}
    assert set(ATTENTIONS.module_dict) - {'MSCA', 'Linear', 'ClassAttention'} <= names
    assert set(FEEDFORWARDS.module_dict) <= names
    assert {'ViT agent', 'ViT agent_contraction', 'ViT relu_linear'} <= names and len(rows) == 2 * len(names)


def test_the_counts_are_those_worked_out_by_hand(rows):
    found = {(row['module'], row['tokens']): row for row in rows}
    for n in (64, 256):
        pairs = n**2 * HEADS
        # two per multiply-add: q, k, v and the output map, then two products of N x N x p in every head
        assert found['MHSA', n]['flops'] == 2 * n * DIMS * 4 * DIMS + 4 * n * n * DIMS
        assert found['MSSA', n]['flops'] == 2 * n * DIMS * 2 * DIMS + 4 * n * n * DIMS
        assert found['MLP', n]['flops'] == 2 * n * DIMS * 8 * DIMS and found['ISTA', n]['flops'] == 4 * n * DIMS**2
        assert found['MHSA', n]['similarities'] == found['MSSA', n]['similarities'] == pairs
        m = 64
        assert found['CBSA', n]['similarities'] == (m * n + m * (m + 1) // 2) * HEADS
        contraction = found['ViT agent_contraction', n]['flops'] - found['ViT agent', n]['flops']
        assert contraction == 4 * m * m * DIMS
        assert found['MLP', n]['similarities'] is None


def test_softmax_over_all_tokens_grows_faster_than_what_is_linear(rows):
    def growth(name, key):
        small, large = (next(row[key] for row in rows if row['module'] == name and row['tokens'] == side**2)
                        for side in SIDES)
        return large / small

    for linear in ('TSSA', 'DMSA', 'ViT relu_linear', 'MLP', 'ISTA', 'ODL'):
        assert growth(linear, 'flops') == pytest.approx(4, rel=0.01), linear
        assert growth(linear, 'memory') < 4.01, linear
    assert growth('MHSA', 'flops') > 6 and growth('MSSA', 'similarities') == 16
    assert all(row['memory'] > 0 and row['memory_is'] == 'computed' for row in rows)
    assert all(0 < row['time_low'] <= row['time'] <= row['time_high'] for row in rows)


def test_the_figure_has_a_panel_for_each_cost_and_a_line_for_each_layer(rows):
    figure = plot_cost_curves(rows)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        'FLOPs (G)', 'similarities (M)', 'activations (MiB)', 'forward (ms)']
    names = {row['module'] for row in rows}
    assert {line.get_label() for line in figure.axes[0].lines} == names
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == len(names)
    untimed = plot_cost_curves([{key: row[key] for key in row if 'time' not in key} for row in rows])
    assert len(untimed.axes) == 3


def test_the_command(tmp_path, capsys):
    main(['measure', 'complexity', '--curve', '--sides', '4', '2', '4', '--dims', '16', '--num-heads', '2',
          '--out', str(tmp_path)])
    said = capsys.readouterr().out
    assert 'width 16, 2 heads' in said and 'forward' not in said
    with open(tmp_path / 'cost_curve.csv') as file:
        found = list(csv.DictReader(file))
    assert [row['tokens'] for row in found] == ['4'] * (len(found) // 2) + ['16'] * (len(found) // 2)
    assert {file.name for file in tmp_path.iterdir()} == {f'cost_curve.{end}' for end in ('csv', 'json', 'png', 'pdf')}


@pytest.mark.parametrize('args, message', [
    (['--curve', '--zoo'], '--curve takes neither'), (['--time', '--zoo'], '--time is of --curve'),
    (['--curve', '--dims', '10', '--num-heads', '4'], '--num-heads 4 does not divide --dims 10'),
    (['--curve', '--time', '--rounds', '1'], 'quartiles need two'), ([], '--zoo or --curve')])
def test_wrong_arguments_are_one_line(args, message):
    with pytest.raises(SystemExit) as caught:
        main(['measure', 'complexity', *args])
    assert message in str(caught.value.code) and '\n' not in str(caught.value.code)
