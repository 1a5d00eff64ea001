"""The complexity command: a table for any config, published figures flagged, clear errors."""
import json

import pytest

from mmwhitebox.apis import list_models
from mmwhitebox.cli.measures import complexity
from mmwhitebox.errors import UserError
from tests.configs import ROOT
from tests.test_interpret.small import command

MINI = ROOT / 'configs' / 'cbt_decoder/cbt_decoder_mini_ade20k.py'


def test_numbers_of_a_config_at_any_size(capsys, tmp_path):
    command('complexity')([str(MINI), '--size', '96', '160', '--memory', '--json', str(tmp_path / 'costs.json')])
    costs = json.loads((tmp_path / 'costs.json').read_text())[str(MINI)]
    assert costs['size'] == [96, 160] and costs['memory'] > 1 and costs['decoder_flops'] < costs['flops']
    m, n = 100, 150 + 12 * 20  # representatives; class and patch tokens
    assert costs['similarities'] * 1e6 == pytest.approx(3 * 3 * (m * n + m * (m + 1) // 2))
    assert 'decoder FLOPs (G)' in capsys.readouterr().out


def test_published_figures_are_compared_at_their_own_precision():
    difference = complexity.compare(dict(params=1.06, flops=9.2), dict(params=1.1, flops=9.8))
    assert difference['params'] == 0 and difference['flops'] == pytest.approx(-0.0612, abs=1e-4)
    row = dict(size=[224, 224], params=1.06, flops=9.2, paper=dict(params=1.1, flops=9.8), difference=difference)
    table = complexity.show(dict(model=row))
    assert '1.06 (1.1)' in table and '9.20 (9.8, -6.1% !)' in table


def test_neither_config_nor_zoo():
    with pytest.raises(UserError, match='Give config files, --zoo or --curve'):
        command('complexity')([])


def test_every_row_of_the_zoo_is_a_config():
    assert set(complexity.PAPERS) <= set(list_models())
