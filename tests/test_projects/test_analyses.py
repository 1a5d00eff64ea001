"""What is measured on trained models: its form, and that it is what the analyses of the package say."""
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmwhitebox.apis import init_model
from mmwhitebox.apis.export import LogitsNetwork
from mmwhitebox.apis.scoring import evaluation_loader
from mmwhitebox.cli.measures.perturbation import evaluation
from mmwhitebox.engine import metrics
from mmwhitebox.interpret import count_flops, count_parameters
from mmwhitebox.interpret.perturbation import attention_projections
from projects.small_data import analyses
from projects.small_data.runs import runs_of
from projects.small_data.suites import Row, Suite
from tests.configs import ROOT
from tests.test_interpret.small import save_images

SEGMENTORS = Suite('camvid', 'mIoU', dict(decoders=(Row('cbt', 'CBT'), Row('segmenter_linear', 'linear'))), ())
CLASSIFIERS = Suite('cifar10', 'accuracy/top1', dict(operators=(Row('dmsa', 'DMSA'), Row('cbsa', 'CBSA'))), ())
CAR, ROAD, VOID = 8, 3, 255
SCENE = (360, 480)
PATCH = 15  # pixels of a scene under a patch of 4 x 4 at 128 x 96
SPREAD = {'median', 'low', 'high'}


def score_of(model):
    return evaluation(model, evaluation_loader(model.cfg), lambda: None)()


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """Two validation images: a car on a road, its edges on those of patches, and a strip without a class."""
    names = ['scene0', 'scene1']
    save_images(tmp_path / 'camvid' / 'images' / 'val', **dict.fromkeys(names, SCENE))
    labels = np.full(SCENE, ROAD, np.uint8)
    labels[6 * PATCH:10 * PATCH, 3 * PATCH:9 * PATCH] = CAR
    labels[-PATCH:] = VOID
    (tmp_path / 'camvid' / 'annotations' / 'val').mkdir(parents=True)
    for name in names:
        Image.fromarray(labels).save(tmp_path / 'camvid' / 'annotations' / 'val' / f'{name}.png')
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path / 'camvid'))


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A test image of each class."""
    for i in range(10):
        save_images(tmp_path / 'cifar10' / 'test' / f'class{i}', image=(32, 32))
    monkeypatch.setenv('CIFAR10_FOLDERS_ROOT', str(tmp_path / 'cifar10'))


def random_runs(suite, folder, seeds=(0, )):
    """All runs of a suite; those of the seeds have a checkpoint of random weights."""
    runs = runs_of(suite, folder, quick=False)
    for run in runs:
        if run.seed in seeds:
            run.work_dir.mkdir(parents=True)
            torch.manual_seed(run.seed)
            state = init_model(ROOT / suite.config(run.row), device='cpu').state_dict()
            torch.save(dict(state_dict=state), run.work_dir / 'iter_8.pth')
            (run.work_dir / 'last_checkpoint').write_text(f'/moved/since/{run.work_dir.name}/iter_8.pth')
    return runs


def network(suite, row):
    return LogitsNetwork(init_model(ROOT / suite.config(row), device='cpu')).to('meta')


def check_zero_shot(found, rows, seeds):
    assert set(found) == {*(row.name for row in rows), 'untrained', 'chance'}
    for scores in found.values():
        assert set(scores) == {'foreground', 'background', 'boundary'}
        assert all(set(values) == set(seeds) and all(0 < value < 100 for value in values.values())
                   for values in scores.values())


@pytest.mark.slow
def test_segmentors(camvid, tmp_path, capsys):
    runs = random_runs(SEGMENTORS, tmp_path / 'runs')
    found = analyses.measure(SEGMENTORS, runs, quick=True)
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {'complexity', 'speed', 'robustness', 'windows', 'tta', 'zero_shot', 'environment'}
    assert found['tta'] == {}  # no best recipe in this suite
    assert set(found['environment']) == {'hardware', 'threads'}
    for row in SEGMENTORS.rows():
        costs, model = found['complexity'][row.name], network(SEGMENTORS, row)
        assert costs['parameters'] == count_parameters(model)
        assert costs['parameters'] - costs['decoder_parameters'] == count_parameters(model.model.backbone)
        image = torch.empty(1, 3, 184, 240, device='meta')
        assert costs['flops'] == count_flops(model, image)
        assert costs['flops'] - costs['decoder_flops'] == count_flops(model.model.backbone, image)
        timed = found['speed'][row.name]
        assert set(timed['images_per_second']) == set(timed['ratio']) == SPREAD
    assert found['speed']['cbt']['ratio'] == dict(median=1, low=1, high=1)
    assert list(found['robustness']) == ['cbt']  # a linear decoder has no attention
    curve = found['robustness']['cbt']
    assert list(curve['values']) == ['0'] and len(curve['values']['0']) == len(curve['scales']) == 5
    model = analyses.load(runs[0])
    assert curve['scales'][0] == 0
    assert curve['values']['0'][0] == pytest.approx(score_of(model))
    windows = dict(mode='slide', crop_size=(176, 176), stride=(88, 88))
    model = init_model(ROOT / SEGMENTORS.config(runs[0].row), str(runs[0].work_dir / 'iter_8.pth'),
                       cfg_options={'model.test_cfg': windows})
    assert found['windows']['cbt']['0'] == pytest.approx(score_of(model))
    assert found['windows']['cbt']['0'] != curve['values']['0'][0]
    assert set(found['windows']['segmenter_linear']) == {'0'}
    check_zero_shot(found['zero_shot'], SEGMENTORS.rows(), ['0'])
    assert 'segmenter_linear_seed0 has none' in capsys.readouterr().err


def test_classifiers(camvid, cifar10, tmp_path):
    found = analyses.measure(CLASSIFIERS, random_runs(CLASSIFIERS, tmp_path / 'runs', (0, 2)), quick=True)
    assert set(found) == {'complexity', 'zero_shot', 'environment'}
    image = torch.empty(1, 3, 32, 32, device='meta')
    for row in CLASSIFIERS.rows():
        model, costs = network(CLASSIFIERS, row), found['complexity'][row.name]
        assert costs == dict(parameters=count_parameters(model), flops=count_flops(model, image))
    check_zero_shot(found['zero_shot'], CLASSIFIERS.rows(), ['0', '2'])


def test_what_is_not_there_is_left_out(cifar10, tmp_path, monkeypatch, capsys):
    runs = runs_of(CLASSIFIERS, tmp_path / 'runs', quick=False)
    assert set(analyses.measure(CLASSIFIERS, runs, quick=True)) == {'environment'}
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path / 'nowhere'))
    runs = random_runs(CLASSIFIERS, tmp_path / 'runs')[:1]
    assert set(analyses.measure(CLASSIFIERS, runs, quick=True)) == {'complexity', 'environment'}
    said = capsys.readouterr().err
    assert 'no checkpoints' in said and 'zero-shot segmentation is left out' in said and 'nowhere' in said


def test_noise_changes_the_decoder_and_leaves_nothing_behind(camvid):
    model = init_model(ROOT / SEGMENTORS.config(SEGMENTORS.rows()[0]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weight = attention_projections(model, 'decoder')['decode_head.layers.0.attn'][0].weight
    seen = []
    hook = model.register_forward_pre_hook(lambda *_: seen.append(weight.detach().clone()))
    assert len(analyses.noise_scores(model, 3, None)) == len(analyses.SCALES)
    hook.remove()
    assert torch.equal(seen[0], weight) and not torch.equal(seen[-1], weight)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_map_of_the_foreground_itself(camvid, monkeypatch):
    scenes, classes = analyses.street_scenes(analyses.CLASSIFIER_SCALE, None)
    assert [tuple(scene['inputs'].shape) for scene in scenes] == [(3, 96, 128)] * 2
    metric = analyses.zero_shot_metric(init_model(ROOT / CLASSIFIERS.config(CLASSIFIERS.rows()[0])), classes)
    car = torch.zeros(1, 24, 32)
    car[:, 6:10, 3:9] = 1
    monkeypatch.setattr(metrics, 'class_token_maps', lambda *args: dict.fromkeys(metric.layers, car))
    assert analyses.map_scores(metric, scenes)['foreground'] == pytest.approx(100 * 15 / 24, abs=0.01)  # 60 % of it
    metric.results.clear()
    metric.mass = 1.
    assert analyses.map_scores(metric, scenes)['foreground'] == 100
    metric.results.clear()
    monkeypatch.setattr(metrics, 'class_token_maps', lambda *args: dict.fromkeys(metric.layers, 1 - car))
    scores = analyses.map_scores(metric, scenes)
    assert scores['background'] == 100 and scores['foreground'] == 0
