"""Zero-shot segmentation: masks built from the map itself score 1, the command and the metric agree."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmwhitebox.errors import UserError
from mmwhitebox.interpret.patch_maps import patch_of_pixels, to_pixels
from mmwhitebox.interpret.zero_shot import (
    ZeroShotScores,
    jaccard,
    make_targets,
    mass_sets,
    pixel_counts,
    score_image,
    score_maps,
)
from tests.test_interpret.small import command, numbers, save_ade, save_images, save_model

RNG = np.random.default_rng(0)


def brute_force(maps, targets, seen_size, patch, mass):
    """Jaccard indices by drawing the segments at the resolution of the targets."""
    drawn = to_pixels(mass_sets(maps, mass), targets.scored.shape, seen_size, patch) & targets.scored
    return np.stack([np.where(target.any(), jaccard(drawn, target), np.nan) for target in targets.masks], -1)


def test_mass_sets():
    maps = np.array([[[.1, .4], [.2, .3]]])
    for mass, kept in ((.4, [[0, 1], [0, 0]]), (.41, [[0, 1], [0, 1]]), (.7, [[0, 1], [0, 1]]),
                       (.95, [[1, 1], [1, 1]])):
        assert np.array_equal(mass_sets(maps, mass)[0], np.array(kept, bool))
    assert not mass_sets(np.zeros((2, 2)), 0.5).any()
    assert np.array_equal(mass_sets(np.array([[1., 0.], [1e-9, -1.]]), 1), [[True, False], [True, False]])


def test_patch_of_pixels_follows_the_model():
    rows, columns = patch_of_pixels((6, 9), (6, 9), (4, 4))
    assert rows.tolist() == [0, 0, 0, 0, 1, 1] and columns.tolist() == [0] * 4 + [1] * 4 + [2]
    assert patch_of_pixels((4, 2), (8, 8), (4, 2))[0].tolist() == [0, 0, 1, 1]
    assert patch_of_pixels((4, 2), (8, 8), (4, 2))[1].tolist() == [1, 3]


@pytest.mark.parametrize('size, seen_size, patch', [((32, 48), (32, 48), (8, 8)), ((50, 75), (30, 45), (8, 8)),
                                                    ((21, 30), (40, 64), (16, 8))])
def test_counts_give_what_drawn_segments_give(size, seen_size, patch):
    labels = np.kron(RNG.choice([0, 1, 255], (7, 10), p=[.5, .4, .1]), np.ones((8, 8), int))[:size[0], :size[1]]
    grid = tuple(-(-s // p) for s, p in zip(seen_size, patch))
    maps = RNG.random((2, 3, *grid))
    for width in (None, 2):
        targets = make_targets(labels, boundary_width=width)
        scores = score_maps(maps, pixel_counts(targets, seen_size, patch, grid), 0.6)
        np.testing.assert_allclose(scores, brute_force(maps, targets, seen_size, patch, 0.6))


def test_masks_built_from_the_map_score_one():
    maps = RNG.random((4, 5, 6))
    segments = to_pixels(mass_sets(maps, 0.6), (40, 48), (40, 48), (8, 8))
    for k in range(4):
        targets = make_targets(segments[k].astype(int), boundary_width=1)
        counts = pixel_counts(targets, (40, 48), (8, 8), (5, 6))
        scores = score_maps(maps, counts, 0.6)
        assert scores[k, 0] == 1 and (np.delete(scores[:, 0], k) < 1).all()
        assert score_maps(maps[k], counts, None)[0] == 1  # that threshold is among all thresholds
        assert (score_maps(maps, counts, None) >= scores).all()
        assert score_maps(-maps[k] + 1, counts, None)[1] == 1  # the complement is the background


def test_padding_holds_no_mass():
    maps = np.array([[.1, .1, .7], [.1, 0., 0.]])
    targets = make_targets(np.array([[1, 0]]).repeat(8, 0).repeat(4, 1))
    counts = pixel_counts(targets, (8, 8), (4, 4), (2, 3))
    assert counts[4].tolist() == [[16, 16, 0], [16, 16, 0]]
    assert score_maps(maps, counts, 0.6)[0] == pytest.approx(16 / 48)  # two of three equal patches: the first ones


def test_targets():
    labels = np.array([[0, 0, 5, 5, 255, 7]])
    voc = make_targets(labels)
    assert voc.masks.astype(int).tolist() == [[[0, 0, 1, 1, 0, 1]], [[1, 1, 0, 0, 0, 0]], [[0, 0, 0, 0, 1, 0]]]
    assert voc.scored.all()
    band = make_targets(labels, foreground=[5], boundary_width=1)
    assert band.masks.astype(int).tolist() == [[[0, 0, 1, 1, 0, 0]], [[1, 1, 0, 0, 0, 1]], [[0, 1, 1, 0, 0, 0]]]
    assert band.scored.astype(int).tolist() == [[1, 1, 1, 1, 0, 1]]


def test_an_absent_target_does_not_count():
    counts = pixel_counts(make_targets(np.zeros((8, 8), int)), (8, 8), (4, 4), (2, 2))
    scores = score_maps(RNG.random((3, 2, 2)), counts, 0.6)
    assert np.isnan(scores[:, [0, 2]]).all() and np.isfinite(scores[:, 1]).all()


def test_scores_of_several_images():
    a = dict(x=np.array([[.1, .2, np.nan], [.5, .1, np.nan]]), y=np.array([[.3, .9, np.nan], [.2, .2, np.nan]]))
    b = dict(x=np.array([[.7, .2, .1], [.1, .1, .3]]), y=np.array([[.3, .4, .2], [.1, .2, .2]]))
    scores = ZeroShotScores()
    scores.add(a)
    scores.add(b)
    rows = {(row['layer'], row['target']): row for row in scores.rows()}
    foreground = rows['x', 'foreground']
    assert foreground['best_head'] == pytest.approx(.6)  # .5 and .7, two heads
    assert foreground['fixed_head'] == pytest.approx(.4) and foreground['head'] == '0'
    assert rows['all', 'background']['best_head'] == pytest.approx(.65)
    assert rows['all', 'background']['head'] == 'y:0'
    assert rows['x', 'boundary'] == dict(layer='x', target='boundary', images=1, best_head=.3, fixed_head=.3, head='1')


@pytest.fixture(scope='module')
def main():
    return command('zero_shot_segmentation')


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    return save_ade(tmp_path_factory.mktemp('data') / 'ade', a=(64, 64), b=(48, 80), c=(64, 40))


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory, ade):
    return save_model(tmp_path_factory.mktemp('cbt'), 'cbt_decoder/cbt_decoder_mini_ade20k.py', data_root=ade)


OPTIONS = ['--foreground', 'wall', '--boundary-width', '2', '--device', 'cpu']


def test_command_and_metric_agree(main, segmentor, tmp_path, monkeypatch):
    assert main([*segmentor, *OPTIONS, '--out', str(tmp_path / 'out')]) == 0
    rows = numbers(tmp_path / 'out', 'zero_shot')
    assert {row['layer'] for row in rows} == {'backbone.vit.blocks.0.attn', 'all'}
    assert all(row['images'] == 3 and 0 <= row['fixed_head'] <= row['best_head'] <= 1 for row in rows)
    assert (tmp_path / 'out' / 'zero_shot.png').stat().st_size > 5000

    cfg = Config.fromfile(segmentor[0])
    cfg.work_dir, cfg.load_from = str(tmp_path / 'work'), segmentor[1]
    cfg.test_dataloader.batch_size = 1
    cfg.test_evaluator = dict(type='mmwhitebox.ZeroShotSegmentation', foreground=[0], boundary_width=2)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # its report on the machine takes seconds
    with pytest.raises(UserError, match='ModelForMetrics'):
        Runner.from_cfg(cfg.copy()).test()
    cfg.custom_hooks = [dict(type='mmwhitebox.ModelForMetrics')]
    metrics = Runner.from_cfg(cfg).test()
    for row in rows:
        key = f'zero_shot/{row["target"]}' + ('' if row['layer'] == 'all' else '_layer0')
        assert metrics[key] == pytest.approx(100 * row['best_head'], abs=0.006)


def test_command_with_label_maps_of_a_folder_and_two_models(main, tmp_path, ade):
    """A classifier, VOC-style files, a split; the pipeline that crops sees whole images."""
    cbt = save_model(tmp_path, 'cbt/cbt_tiny_imagenet.py')
    masks = tmp_path / 'masks'
    masks.mkdir()
    images = save_images(tmp_path / 'images', a=(64, 64), b=(48, 80), c=(64, 40))
    for name, width in (('a', 64), ('b', 80)):
        labels = np.zeros((64 if name == 'a' else 48, width), np.uint8)
        labels[8:24, 8:24] = 15
        labels[7, 8:24] = 255
        picture = Image.fromarray(labels, mode='P')
        picture.putpalette(RNG.integers(0, 256, 768).tolist())
        picture.save(masks / f'{name}.png')
    (tmp_path / 'val.txt').write_text('a\nb\nz\n')
    options = ['--masks', str(masks), '--split', str(tmp_path / 'val.txt'), '--threshold', 'best', '--device', 'cpu']
    main([*cbt, images, *options, '--also', *cbt, '--out', str(tmp_path / 'out')])
    rows = numbers(tmp_path / 'out', 'zero_shot')
    assert {row['target'] for row in rows} == {'foreground', 'background', 'boundary'}
    assert all(row['images'] == 2 and row['threshold'] == 'best' for row in rows)
    half = len(rows) // 2
    assert [row['best_head'] for row in rows[:half]] == [row['best_head'] for row in rows[half:]]
    with pytest.raises(UserError, match='None of the images has a label map of its name'):
        main([*cbt, f'{images}/c.jpg', '--masks', str(masks), '--out', str(tmp_path), '--device', 'cpu'])
    with pytest.raises(UserError, match='need --masks'):
        main([*cbt, images, '--out', str(tmp_path), '--device', 'cpu'])
    with pytest.raises(UserError, match='dataset of a classifier has no label maps'):
        main([*cbt, '--out', str(tmp_path), '--device', 'cpu'])


@pytest.mark.parametrize('options, message', [
    ([], 'no class "background": say which classes are --foreground'),
    (['--foreground', 'unicorn'], "there is no class 'unicorn'. Classes: wall"),
    (['--foreground', '0', '--background', '1'], 'not both'),
    (['--foreground', '0', '--layers', '1'], 'these layers have no class token.*Layers that have: 0'),
    (['--foreground', '0', '--layers', '5'], 'there are 2 attention layers'),
    (['--foreground', '0', '--heads', '3'], 'there are 3 heads'),
])
def test_command_with_bad_input(main, segmentor, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        main([*segmentor, *options, '--out', str(tmp_path), '--device', 'cpu'])


def test_score_image_takes_tensors():
    maps = dict(layer=torch.tensor([[[1., 0.], [0., 0.]]]))
    labels = np.zeros((4, 4), int)
    labels[:2, :2] = 1
    assert score_image(maps, make_targets(labels), (4, 4), (2, 2))['layer'][0, 0] == 1
