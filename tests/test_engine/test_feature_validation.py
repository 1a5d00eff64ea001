"""k-NN and linear probe during training: the numbers by independent computation, a training that does not notice."""
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import LOOPS, METRICS
from mmengine.runner import Runner
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn

from mmwhitebox.config.check import check_config
from mmwhitebox.engine import feature_validation
from mmwhitebox.engine.feature_validation import bank_loader, batch_features
from mmwhitebox.errors import ConfigError, DatasetLayoutError, UserError
from mmwhitebox.interpret import knn, linear_probe
from mmwhitebox.models.access import image_features
from tests.configs import ROOT
from tests.test_engine.trainings import IMAGES, make_config, same

KNN, LINEAR = dict(type='mmwhitebox.KNNAccuracy', k=3), dict(type='mmwhitebox.LinearProbeAccuracy')
NINE = {'train_dataloader.dataset.indices': 9, 'val_dataloader.dataset.indices': 9}
SCORED = {'val_evaluator': [KNN, LINEAR], 'val_cfg': dict(type='mmwhitebox.FeatureValLoop')}


def points(count, dims=5, classes=3, seed=0):
    """Features that tell the classes a little, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return rng.normal(size=(count, dims)) + 2 * np.eye(dims)[labels], labels


def scored(folder, work_dir, task='mae', **kwargs):
    """The config of a training that scores features."""
    options = {**SCORED, **kwargs.pop('options', {})}
    cfg = make_config(folder, work_dir, 'cls' if task == 'mae' else task, **kwargs)
    if task == 'mae':
        cfg.model = make_config(folder, work_dir, task).model
    cfg.val_cfg, cfg.val_evaluator = options.pop('val_cfg'), options.pop('val_evaluator')
    cfg.merge_from_dict(options)
    return cfg


def run(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def slow_knn(feature, bank, labels, classes, k, temperature):
    """One image after another, as it is defined."""
    cosines = [float(feature @ other) / math.sqrt(float(feature @ feature) * float(other @ other)) for other in bank]
    near = sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]
    votes = [sum(math.exp(cosines[i] / temperature) for i in near if labels[i] == j) for j in range(classes)]
    return np.array(votes) / sum(votes)


@pytest.mark.parametrize('k, temperature', [(1, 0.07), (7, 0.07), (20, 1.), (40, 0.01)])
def test_votes_of_neighbours_by_definition(k, temperature, monkeypatch):
    monkeypatch.setattr(knn, 'SIMILARITIES', 90)  # two images at a time
    (bank, labels), (features, _) = points(40), points(9, seed=1)
    bank *= np.random.default_rng(2).uniform(0.1, 9, (40, 1))  # the length of a feature says nothing
    scores = knn.knn_scores(torch.from_numpy(features), torch.from_numpy(bank), torch.from_numpy(labels), 3, k,
                            temperature)
    expected = [slow_knn(feature, bank, labels, 3, k, temperature) for feature in features]
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize('penalty', [0.3, 5.])
def test_the_probe_is_the_minimum_of_its_loss(penalty, monkeypatch):
    monkeypatch.setattr(linear_probe, 'ROWS', 32)
    features, labels = points(100)
    features = np.c_[3 + 100 * features, np.full(100, 7.)]  # any scale, and one that says nothing
    found = linear_probe.LinearProbe(torch.from_numpy(features), torch.from_numpy(labels), 3, penalty)
    spread = features.std(0)
    x = (features - features.mean(0)) / np.where(spread > 0, spread, 1)

    def loss(flat):
        weight, bias = flat[:18].reshape(3, 6), flat[18:]
        return -log_softmax(x @ weight.T + bias, axis=1)[range(100), labels].sum() + penalty / 2 * (weight**2).sum()

    best = minimize(loss, np.zeros(21), method='BFGS', options=dict(gtol=1e-6))
    flat = np.r_[found.weight.numpy().ravel(), found.bias.numpy()]
    assert loss(flat) - best.fun < 1e-4 * best.fun
    expected = x @ best.x[:18].reshape(3, 6).T + best.x[18:]
    np.testing.assert_allclose(found.logits(torch.from_numpy(features)), expected, atol=0.02)


def test_the_feature_of_an_image_in_every_form():
    class Model(nn.Module):
        backbone = nn.Identity()

    model = Model()
    vectors, tokens, maps = torch.randn(2, 4), torch.randn(2, 1 + 6, 4), torch.randn(2, 4, 3, 2).half()
    assert torch.equal(image_features(model, (torch.zeros(2, 4), vectors)), vectors)
    assert torch.equal(image_features(model, [(tokens, vectors)]), vectors)
    torch.testing.assert_close(image_features(model, tokens), tokens.mean(1))
    model.backbone.num_extra_tokens = 1
    torch.testing.assert_close(image_features(model, tokens), tokens[:, 1:].mean(1))
    assert image_features(model, (maps, )).dtype == torch.float32
    torch.testing.assert_close(image_features(model, (maps, )), maps.flatten(2).mean(2).float())
    for wrong in ((), None, torch.zeros(3), (dict(), )):
        with pytest.raises(UserError, match='extract_feat of Model ends with'):
            image_features(model, wrong)


@pytest.mark.parametrize('out_type', ['cls_token', 'raw'])
def test_the_scores_are_those_of_the_features(out_type, images, tmp_path, quick):
    cfg = scored(images, tmp_path, options={'model.backbone.out_type': out_type, 'train_cfg.max_iters': 1})
    runner = run(cfg)
    model, scores = runner.model, runner.val_loop.run()
    assert model.training is False
    every = {name: batch_features(model, batch) for name, loader in dict(
        bank=bank_loader(cfg), val=cfg.val_dataloader).items()
        for batch in Runner.build_dataloader({**loader, 'batch_size': IMAGES})}
    (bank, known, _), (features, truth, _) = every['bank'], every['val']
    assert bank.shape == features.shape == (IMAGES, 8)
    labels, truth = (np.array([int(sample.gt_label) for sample in samples]) for samples in (known, truth))
    votes = np.stack([slow_knn(feature, bank.double(), labels, 2, 3, 0.07) for feature in features.double()])
    probe = linear_probe.LinearProbe(bank, torch.from_numpy(labels), 2)
    assert scores == {'knn/top1': pytest.approx(100 * np.mean(votes.argmax(1) == truth)),
                      'linear/top1': pytest.approx(100 * np.mean(probe.logits(features).argmax(1).numpy() == truth))}
    assert all(metric.bank is None for metric in runner.val_loop.evaluator.metrics)  # the memory is free again


def test_a_class_without_a_neighbour_is_not_right():
    metric = METRICS.build(dict(type='mmwhitebox.KNNAccuracy', k=1, topk=(1, 2)))
    metric.set_bank(feature_validation.Bank(torch.eye(3), torch.arange(3), 3))
    metric.process({}, [dict(features=torch.eye(3)[0], gt_label=torch.tensor([label])) for label in (0, 1, 2, 2)])
    assert metric.evaluate(4) == {'knn/top1': 25., 'knn/top2': 25.}


@pytest.mark.parametrize('task, by_epoch, workers', [
    ('mae', False, 0), ('cls', True, 0), pytest.param('mae', True, 1, marks=pytest.mark.slow)])
def test_a_training_ends_bit_for_bit_as_without(task, by_epoch, workers, images, tmp_path, quick):
    """Random numbers are those that mmengine draws: the hook for exact resuming, which seeds every step, is off."""
    last = {}
    for name in ('with', 'without'):
        cfg = scored(images, tmp_path / name, task, by_epoch=by_epoch, workers=workers, options={
            'default_hooks.exact_resume.enabled': False, 'randomness': dict(seed=0),
            'train_cfg.val_interval': 1 if by_epoch else 2})
        cfg.train_dataloader.persistent_workers = False
        if name == 'without':
            cfg.update(val_cfg=None, val_evaluator=None, val_dataloader=None)
        else:  # a validation that draws
            cfg.val_dataloader.dataset.pipeline = [
                *cfg.val_dataloader.dataset.pipeline[:-1], dict(type='DrawFromAll'), dict(type='PackInputs')]
        runner = run(cfg)
        last[name] = f'{runner.work_dir}/iter_10.pth'
    assert same(last['with'], last['without'])


def test_a_resumed_training_ends_as_if_it_had_not_stopped(images, tmp_path, quick):
    options = {'default_hooks.checkpoint.save_best': 'knn/top1'}
    run(scored(images, tmp_path / 'whole', options=options))
    resumed = run(scored(images, tmp_path / 'resumed', resume=tmp_path / 'whole/iter_5.pth', options=options))
    assert same(tmp_path / 'whole/iter_10.pth', tmp_path / 'resumed/iter_10.pth')
    assert resumed.message_hub.get_info('best_ckpt')


def test_a_classifier_has_its_own_scores_beside(images, tmp_path, quick):
    """And those are mmengine's."""
    evaluator = [dict(type='Accuracy'), KNN, LINEAR]
    runner = run(scored(images, tmp_path / 'a', 'cls', options={'val_evaluator': evaluator}))
    scores = runner.val_loop.run()
    plain = LOOPS.build(dict(type='ValLoop', runner=runner, dataloader=runner.val_dataloader,
                             evaluator=[dict(type='mmpretrain.Accuracy')]))
    assert plain.run() == {'accuracy/top1': scores['accuracy/top1']}
    assert set(scores) == {'accuracy/top1', 'knn/top1', 'linear/top1'}


@pytest.mark.parametrize('options, message', [
    ({'val_evaluator': dict(type='mmwhitebox.KNNAccuracy')},
     'KNNAccuracy.k=20 asks for more neighbours than the bank has images, 10: lower k'),
    ({'val_evaluator': dict(KNN, k=0)}, 'KNNAccuracy.k=0 is a number of neighbours'),
    ({'val_evaluator': dict(KNN, temperature=0)}, 'KNNAccuracy.temperature=0 must be a positive number'),
    ({'val_evaluator': dict(LINEAR, penalty=-1)}, 'LinearProbeAccuracy.penalty=-1 must be 0 or'),
    ({'val_evaluator': dict(LINEAR, max_iterations=0)}, 'LinearProbeAccuracy.max_iterations=0 must be 1 or more'),
    ({'val_evaluator': dict(KNN, topk=(1, 5))}, 'KNNAccuracy.topk=5 asks for more than the 2 classes'),
    ({'val_evaluator': dict(type='Accuracy')}, 'val_evaluator: Accuracy scores predictions, and CRATEMAE makes none'),
    ({'val_cfg': dict()}, r'val_evaluator.0 \(KNNAccuracy\) scores features, which val_cfg \(ValLoop\) does not give'),
    ({'val_dataloader.dataset.with_label': False}, r'val_dataloader: .*\.png has no label'),
    ({'train_dataloader.dataset.with_label': False}, r'val_cfg.bank: .*\.png has no label'),
    ({'default_hooks.checkpoint.save_best': 'knn/top5'}, "save_best='knn/top5', but .* gives knn/top1, linear/top1"),
])
def test_mistakes_are_refused_before_the_training(options, message, images, tmp_path, quick):
    cfg = scored(images, tmp_path, options=options)
    with pytest.raises(UserError, match=message):
        run(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_the_bank_is_checked_as_part_of_the_config(images, tmp_path):
    cfg = scored(images, tmp_path)
    cfg.val_cfg.bank = dict(type='CustomDataset', data_rot='x')
    with pytest.raises(ConfigError, match="val_cfg.bank.data_rot: unknown key.* did you mean 'data_root'"):
        check_config(cfg)


@pytest.mark.slow
def test_a_bank_of_its_own(images, tmp_path, quick):
    """A training of images without labels; the bank takes the pipeline of the validation."""
    cfg = scored(images, tmp_path, options={'train_dataloader.dataset.with_label': False})
    bank = dict(cfg.val_dataloader.dataset, indices=8)
    del bank['pipeline']
    cfg.val_cfg.bank = bank
    runner = run(cfg)
    assert len(runner.val_loop.bank_loader.dataset) == 8
    assert 'knn/top1' in runner.val_loop.run()
    cfg.val_cfg.bank = dict(bank, data_root='nowhere')
    with pytest.raises(DatasetLayoutError, match='folder nowhere does not exist'):
        run(cfg)
    cfg.val_cfg.bank = dict(bank, metainfo=dict(classes=('b', 'a')))
    with pytest.raises(DatasetLayoutError, match=r'val_cfg.bank \(CustomDataset\): the labels follow the names of'):
        run(cfg)
    runner.val_loop.bank_loader.dataset._metainfo['classes'] = ('b', 'a')
    with pytest.raises(ConfigError, match='val_cfg.bank has the classes b, a, val_dataloader a, b'):
        runner.val_loop.check()


def test_the_bank_has_every_image_once(images, tmp_path):
    dataset = dict(type='CustomDataset', data_root='x', pipeline=[dict(type='A')])
    other, val = dict(dataset, data_root='y'), dict(dataset, data_root='z', pipeline=[dict(type='B')])
    cfg = Config(dict(
        train_dataloader=dict(batch_size=2, dataset=dict(type='RepeatDataset', times=3, dataset=dict(
            type='ConcatDataset', datasets=[dataset, other]))),
        val_dataloader=dict(batch_size=5, num_workers=2, persistent_workers=True, drop_last=True, dataset=val)))
    assert bank_loader(cfg) == dict(
        batch_size=5, num_workers=2, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ConcatDataset', datasets=[dict(dataset, pipeline=val['pipeline']),
                                                     dict(other, pipeline=val['pipeline'])]))


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize('size, world', [(9, 2), (10, 2), (7, 3), (2, 3)])
def test_rows_of_processes_come_back_in_order(size, world, round_up, monkeypatch):
    """Of samplers that fill up the last round, and of those that do not."""
    rows, sent = torch.arange(2 * size).view(size, 2) + 1, []
    monkeypatch.setattr(feature_validation, 'get_world_size', lambda: world)
    monkeypatch.setattr(feature_validation, 'get_rank', lambda: len(sent))
    monkeypatch.setattr(feature_validation, 'all_gather', lambda part: sent.append(part) or [part] * world)
    for rank in range(world):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (len(sent), world))
        part = rows[list(DefaultSampler(rows, shuffle=False, round_up=round_up))]
        assert len(part) == (math.ceil(size / world) if round_up else math.ceil((size - rank) / world))
        feature_validation.gather_samples(part, size)
    monkeypatch.setattr(feature_validation, 'all_gather', lambda part: sent)
    monkeypatch.setattr(feature_validation, 'get_rank', lambda: world - 1)
    assert torch.equal(feature_validation.gather_samples(part, size), rows)
    if len(part):
        with pytest.raises(ValueError, match=f'{len(part) - 1} samples of process'):
            feature_validation.gather_samples(part[:-1], size + world)


@pytest.mark.slow
def test_two_processes_score_as_one(images, tmp_path):
    """Nine images are dealt out unevenly: none may count twice."""
    code = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29617', '-m',
            'tests.test_engine.two_processes_features', str(images), str(tmp_path)]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    for one, two in zip(first['bank'], second['bank']):
        assert np.array_equal(one, two)
    cfg = scored(images, tmp_path / 'one', options={
        **NINE, 'load_from': str(tmp_path / 'two/iter_1.pth'), 'train_cfg.max_iters': 1,
        'optim_wrapper.optimizer.lr': 0.})
    runner = run(cfg)
    model = runner.model.eval()
    alone = feature_validation.collect_bank(model, runner.val_loop.bank_loader)
    assert alone.features.shape == (9, 8)
    torch.testing.assert_close(first['bank'][0], alone.features)
    assert torch.equal(first['bank'][1], alone.labels)
    assert first['scores'] == runner.val_loop.run()
