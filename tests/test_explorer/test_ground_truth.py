"""Masks of images: of the data sets, beside the images, of one's own folder."""
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmwhitebox.apis.inference import test_pipeline as pipeline_of
from mmwhitebox.config.own_data import fill_own_data
from mmwhitebox.errors import UserError
from mmwhitebox.explorer.ground_truth import GroundTruth, mask_beside
from tests.configs import reduced
from tests.own_folders import labels_of
from tests.test_interpret.small import save_ade

from .conftest import save


def truth_of(cfg: Config) -> GroundTruth:
    """The ground truth that a config knows."""
    return GroundTruth(cfg, pipeline_of(cfg))


@pytest.fixture(scope='module')
def ade(tmp_path_factory) -> Path:
    return Path(save_ade(tmp_path_factory.mktemp('ade'), a=(64, 80), b=(80, 64)))


@pytest.fixture(scope='module')
def truth(ade) -> GroundTruth:
    """Of a config whose data is here."""
    cfg = reduced('cbt_decoder_mini_ade20k.py')
    cfg.test_dataloader.dataset.data_root = str(ade)
    return truth_of(cfg)


def test_the_test_set_is_listed_and_its_labels_are_those_of_the_metric(truth, ade):
    assert truth.samples == [str(ade / 'images' / 'validation' / f'{name}.jpg') for name in 'ab']
    labels = truth.labels(truth.samples[0])
    assert labels.shape == (64, 80) and labels[:, :40].max() == 0 and labels[:, 40:].min() == 1  # reduce_zero_label


def test_another_path_of_the_same_file_has_its_mask(truth, ade, tmp_path):
    (tmp_path / 'link').symlink_to(ade / 'images')
    assert truth.source(tmp_path / 'link' / 'validation' / 'a.jpg') is not None


def test_an_image_of_elsewhere_has_the_mask_beside_it_read_as_the_data_sets_are(truth, tmp_path):
    image = save(tmp_path / 'images' / 'x' / 'new.jpg', (8, 6))
    assert truth.labels(image) is None
    (tmp_path / 'annotations' / 'x').mkdir(parents=True)
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(tmp_path / 'annotations' / 'x' / 'new.png')
    assert (truth.labels(image) == 2).all()


@pytest.mark.parametrize('mask, said', [
    (np.ones((3, 3), np.uint8), '3 x 3'), (np.full((6, 8), 200, np.uint8), 'outside the 150 classes')])
def test_a_mask_that_does_not_fit_is_told(truth, tmp_path, mask, said):
    image = save(tmp_path / 'a.png', (8, 6))
    (tmp_path / 'annotations').mkdir()
    Image.fromarray(mask).save(tmp_path / 'annotations' / 'a.png')
    with pytest.raises(UserError, match=said):
        truth.labels(image)


def test_a_mask_that_is_broken_is_told(truth, tmp_path):
    image = save(tmp_path / 'a.png', (8, 6))
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'a.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    with pytest.raises(UserError, match='a.png'):
        truth.labels(image)


def test_without_the_data_there_are_masks_beside_images_still(tmp_path):
    cfg = reduced('cbt_decoder_mini_ade20k.py')
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(tmp_path / 'gone')
    truth = truth_of(cfg)
    image = save(tmp_path / 'a.png', (8, 6))
    (tmp_path / 'annotations').mkdir()
    Image.fromarray(np.ones((6, 8), np.uint8)).save(tmp_path / 'annotations' / 'a.png')
    assert truth.samples == [] and (truth.labels(image) == 0).all()


def test_own_data_has_the_masks_of_its_folder_by_their_values(tmp_path):
    for index in range(4):
        save(tmp_path / 'images' / f'p{index}.png', labels_of(index, 2).shape[::-1])
        (tmp_path / 'masks').mkdir(exist_ok=True)
        Image.fromarray(labels_of(index, 2) * np.uint8(255)).save(tmp_path / 'masks' / f'p{index}.png')
    (tmp_path / 'c.py').write_text(
        "_base_ = 'mmwhitebox::_base_/datasets/own_seg.py'\n"
        f"own_data = dict(root={str(tmp_path)!r}, mapping={{0: 'background', 255: 'road'}})\n"
        "recipe = dict(model='cbt_decoder_cbt_mini', crop=64, scale=(64, 64))\n")
    cfg = Config.fromfile(tmp_path / 'c.py')
    fill_own_data(cfg)
    truth = truth_of(cfg)
    for index in range(4):
        assert np.array_equal(truth.labels(tmp_path / 'images' / f'p{index}.png'), labels_of(index, 2))


def test_a_classifier_has_samples_and_no_labels(tmp_path):
    cfg = reduced('cbt_mini_imagenet.py')
    classes = cfg.test_dataloader.dataset.metainfo.classes
    for name in classes:
        save(tmp_path / 'val' / name / f'{name}.png')
    cfg.test_dataloader.dataset.update(data_root=str(tmp_path), data_prefix='val')
    truth = truth_of(cfg)
    assert [Path(path).stem for path in truth.samples] == sorted(classes)
    assert truth.labels(truth.samples[0]) is None


@pytest.mark.parametrize('image, mask', [
    ('a/images/val/x.jpg', 'a/annotations/val/x.png'), ('a/images/x.jpg', 'a/annotations/x.tif'),
    ('a/x.jpg', 'a/annotations/x.png'), ('a/b/x.jpg', 'a/annotations/x.png'), ('a/x.jpg', 'a/annotations/y.png')])
def test_where_a_mask_may_lie(tmp_path, image, mask):
    for name in (image, mask):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert mask_beside(tmp_path / image) == (tmp_path / mask if Path(mask).stem == 'x' else None)


def test_a_mask_that_is_a_link_out_of_its_folder_is_none(tmp_path):
    secret, image = save(tmp_path / 'secret' / 's.png'), save(tmp_path / 'in' / 'x.png')
    (tmp_path / 'in' / 'annotations').mkdir()
    (tmp_path / 'in' / 'annotations' / 'x.png').symlink_to(secret)
    assert mask_beside(image) is None
