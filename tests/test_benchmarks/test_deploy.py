"""The benchmark of deployment: what is compared, what stands in its table, and what it refuses."""
import json
import sys

import pytest
import torch

from benchmarks import deploy, page, report
from benchmarks.__main__ import main, parse_args
from benchmarks.agreement import Disagreement
from benchmarks.cases import Settings
from mmwhitebox.errors import UserError
from tests.test_apis.test_export_int8 import make, segmentor_config


@pytest.mark.slow
def test_a_trained_model_side_by_side(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxscript')
    monkeypatch.setitem(sys.modules, 'openvino', None)
    cfg, checkpoint = make(tmp_path, segmentor_config(tmp_path))
    cfg.model.data_preprocessor.size = (32, 48)
    cfg.dump(tmp_path / 'tiny.py')
    forms = ('onnx', 'onnx-int8', 'openvino')
    assert main(['deploy', '--trained', str(tmp_path / 'tiny.py'), str(checkpoint), '--quick', '--forms', *forms,
                 '--name', 'cpu-deploy', '--out', str(tmp_path / 'page')]) == 0
    case, = json.loads((tmp_path / 'page' / 'cpu-deploy.json').read_text())['cases']
    assert case['labels'] == dict(model='tiny', size='32x48', batch=2) and case['items'] == 2
    rows = case['contestants']
    assert list(rows) == ['eager', *forms] and rows['openvino'] == dict(reason='openvino is not installed')
    assert all(len(rows[form]['seconds']) == 3 and 'peak_bytes' not in rows[form] for form in ('eager', 'onnx'))
    sizes, scores = ({form: rows[form]['columns'][key] for form in ('eager', 'onnx', 'onnx-int8')}
                     for key in ('file_mib', 'mIoU'))
    weights = torch.load(checkpoint)['state_dict'].values()
    assert sizes['eager'] == sum(weight.nbytes for weight in weights) / 2**20
    for form in ('onnx', 'onnx-int8'):
        file = tmp_path / 'page' / f'tiny-{"int8" if "int8" in form else "float32"}.onnx'
        assert sizes[form] == file.stat().st_size / 2**20
    card = json.loads((tmp_path / 'page' / 'tiny-int8.onnx.json').read_text())
    assert scores == {'eager': 100, 'onnx': 100, 'onnx-int8': card['scores']['int8']}
    assert rows['onnx']['columns']['logits_differ'] < 1e-5 < rows['onnx-int8']['columns']['logits_differ']
    _, frame = report.read_csv(tmp_path / 'page' / 'cpu-deploy.csv')
    assert frame['contestant'].tolist() == list(rows)
    assert frame['x_eager'].notna().tolist() == [False, True, True, False]
    table = page.render('cpu-deploy', tmp_path / 'page')
    assert '| tiny | 32x48 | 2 | openvino |' in table and 'openvino is not installed |' in table
    assert f'{card["scores"]["int8"]:.2f}' in table and '100.00' in table


def test_what_deploy_asks_for(tmp_path):
    with pytest.raises(UserError, match='deploy needs a trained model: --trained CONFIG CHECKPOINT'):
        parse_args(['deploy'])
    with pytest.raises(UserError, match='--trained is for the suite deploy'):
        parse_args(['operators', '--trained', 'a', 'b'])
    assert 'deploy' not in parse_args([]).suites
    with pytest.raises(UserError, match='--device cpu'):
        deploy.deploy_case(('a', 'b'), None, 1, (), tmp_path, Settings(torch.device('cpu'), torch.bfloat16))


def test_a_file_that_computes_something_else_ends_it(monkeypatch, tmp_path):
    cfg = segmentor_config(tmp_path)

    class Wrong:
        """A trained model with a file of another one."""

        def __init__(self):
            self.cfg, self.checkpoint, self.card = cfg, None, {}

        def file(self, dtype):
            (tmp_path / 'file').touch()
            return tmp_path / 'file'

    class Zeros:
        card = {}

        def __call__(self, images):
            return torch.zeros(len(images), 3, *images.shape[2:])

    monkeypatch.setattr(deploy, 'load_exported', lambda path: Zeros())
    with pytest.raises(Disagreement, match='onnx does not agree with eager'):
        deploy.contestant_of('onnx', Wrong(), torch.randn(1, 3, 32, 32), {})
