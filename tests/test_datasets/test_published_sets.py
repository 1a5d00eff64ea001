"""Every published data set with configs of its own, on a miniature of its layout and values: labels arrive as their
classes, and a training goes through."""
import json
import re
import shutil
import uuid

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.config.reading import load_config
from mmwhitebox.datasets import check_datasets, look_at_masks
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.engine.training import train
from mmwhitebox.errors import AnnotationError, DatasetLayoutError
from tests.configs import ROOT
from tests.published_sets import IGNORED, PUBLISHED, SAMPLES, truth, write

MODELS = ('cbt_decoder', 'depict_sa', 'segmenter_mask')
QUICK = ('cityscapes', 'pascal_voc12_aug', 'coco_stuff10k', 'isaid', 'stare')  # one of each kind; the others are slow


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """Folders of the miniatures, by the names of the data sets."""
    folder = tmp_path_factory.mktemp('published')
    for name, data in PUBLISHED.items():
        write(data, folder / name)
    return {name: folder / name for name in PUBLISHED}


def load(name: str, roots: dict, monkeypatch, model: str = 'cbt_decoder') -> Config:
    """A config of a data set, which lies where the environment says."""
    monkeypatch.setenv(PUBLISHED[name].root, str(roots[name]))
    cfg = load_config(f'{model}_small_{name}')
    init_default_scope(cfg.default_scope)
    return cfg


def built(dataset: dict, pipeline: list):
    return DATASETS.build({**dataset, 'pipeline': pipeline, 'serialize_data': False})


@pytest.mark.parametrize('name', PUBLISHED)
def test_labels_arrive_as_their_classes(name, roots, monkeypatch):
    cfg, data = load(name, roots, monkeypatch), PUBLISHED[name]
    parts = list(leaf_datasets(cfg.train_dataloader.dataset))
    assert len(parts) == 1 + len(data.more)
    for cfg_part, part in zip(parts, (data, *data.more)):
        dataset = built(cfg_part, cfg_part.pipeline[:2])
        assert len(dataset) == SAMPLES
        for index in range(SAMPLES):
            assert np.array_equal(dataset[index]['gt_seg_map'], truth(part, part.splits[0], index))
    dataset = built(cfg.val_dataloader.dataset, cfg.test_pipeline)
    assert cfg.val_dataloader.dataset.pipeline == cfg.test_pipeline and cfg.test_dataloader == cfg.val_dataloader
    for index in range(SAMPLES):
        labels = dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()
        assert np.array_equal(labels, truth(data, data.splits[1], index))
    value, meaning = data.known
    label = next(label for label in range(data.classes) if np.asarray(data.encode(np.uint8([[label]])))[0, 0] == value)
    assert dataset.metainfo['classes'][label] == meaning and len(dataset.metainfo['classes']) == data.classes


@pytest.mark.parametrize('name', PUBLISHED)
def test_crops_hold_these_labels_alone(name, roots, monkeypatch):
    cfg, data = load(name, roots, monkeypatch), PUBLISHED[name]
    steps, scale = cfg.train_pipeline, cfg.train_pipeline[2].scale
    assert scale == cfg.test_pipeline[1].scale
    assert all(part.pipeline == steps for part in leaf_datasets(cfg.train_dataloader.dataset))
    steps[2].update(scale=(2 * data.crop, data.crop), ratio_range=(1., 1.))
    packed = built(next(leaf_datasets(cfg.train_dataloader.dataset)), steps)[0]
    assert packed['inputs'].shape == (3, data.crop, data.crop)
    assert cfg.model.backbone.img_size == data.crop
    labels = set(packed['data_samples'].gt_sem_seg.data.unique().tolist())
    assert 1 < len(labels) and labels <= {*range(data.classes), *[IGNORED] * data.ignores}
    scales = [step.scale for step in cfg.tta_pipeline[1].transforms[0]]
    assert scales == [tuple(int(side * r) for side in scale) for r in (0.5, 0.75, 1., 1.25, 1.5, 1.75)]
    Compose(cfg.tta_pipeline)
    assert cfg.tta_pipeline[1].transforms[2][0].num_classes == data.classes


@pytest.mark.parametrize('name', PUBLISHED)
def test_its_models_fit_it(name, roots, monkeypatch):
    """The first passes the checks before a run, the two others differ in nothing but the model."""
    cfgs = [load(name, roots, monkeypatch, model) for model in MODELS]
    check_config(cfgs[0])
    check_consistency(cfgs[0])
    for cfg in cfgs:
        assert cfg.model.decode_head.num_classes == PUBLISHED[name].classes
    assert [cfg.model.decode_head.type for cfg in cfgs] == [
        'mmwhitebox.WhiteBoxMaskHead', 'mmwhitebox.WhiteBoxMaskHead', 'mmwhitebox.SegmenterMaskTransformerHead']
    check_datasets(cfgs[0])
    rest = [{key: value for key, value in cfg.to_dict().items() if key not in ('model', 'work_dir')} for cfg in cfgs]
    assert rest[0] == rest[1] == rest[2]


def shrink(cfg: Config, crop: int = 64) -> None:
    """A model of the same kind of a few thousand parameters, on crops and images that are small."""
    cfg.model.backbone = dict(
        type='mmwhitebox.WhiteBoxTransformer', img_size=crop, patch_size=16, out_type='featmap', drop_path_rate=0.,
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, attention=dict(type='CBSA', pool_size=2),
                  feedforward=dict(type='ISTA')))
    cfg.model.decode_head.update(in_channels=16, channels=16, num_layers=1)
    cfg.model.decode_head.attention.update(num_heads=2, head_dims=8, pool_size=2)
    cfg.model.data_preprocessor.size = (crop, crop)
    cfg.model.test_cfg.update(crop_size=(crop, crop), stride=(crop, crop), val=dict(stride=(crop, crop)))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for part in leaf_datasets(loader.dataset):
            part.serialize_data = False
            for step in part.pipeline:
                step.update({key: (crop, crop) for key in ('scale', 'crop_size') if key in step})
    for key in ('train_pipeline', 'test_pipeline', 'tta_pipeline', 'sizes'):  # the dump of a config takes its time
        cfg.pop(key)
    cfg.train_dataloader.batch_size = 1
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.default_hooks.checkpoint.update(save_last=False, save_best=None)


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PUBLISHED])
def test_an_iteration_and_a_validation(name, roots, monkeypatch, tmp_path):
    cfg = load(name, roots, monkeypatch)
    shrink(cfg)
    cfg.work_dir = str(tmp_path)
    cfg.visualizer.name = cfg.experiment_name = uuid.uuid4().hex  # mmengine would hand out those of the one before
    train(cfg)
    logged = [json.loads(line) for path in tmp_path.rglob('*.json') for line in path.read_text().splitlines()]
    scores = next(line for line in logged if 'mIoU' in line)
    assert 0 <= scores['mIoU'] <= 100 and ('mDice' in scores) == (PUBLISHED[name].classes == 2)


@pytest.mark.parametrize('name', PUBLISHED)
def test_absent_data_is_told_in_a_line(name, tmp_path, monkeypatch):
    cfg = load(name, dict.fromkeys(PUBLISHED, tmp_path / 'elsewhere'), monkeypatch)
    with pytest.raises(DatasetLayoutError, match=f'{tmp_path}/elsewhere.* not exist'):
        check_datasets(cfg, ('train', ))


@pytest.mark.parametrize('lost, message', [
    ('ImageSets/Segmentation/train.txt', 'PascalVOCDataset: .*/train.txt does not exist'),
    ('JPEGImages/2007_000001.jpg', '1 of the 2 names in .*train.txt have no image in .*JPEGImages: 2007_000001.jpg'),
    ('SegmentationClass/2007_000000.png', '1 of the 2 names in .* have no annotation in .*Class: 2007_000000.png')])
def test_what_a_list_names_must_be_there(lost, message, roots, tmp_path, monkeypatch):
    shutil.copytree(roots['pascal_voc12'], tmp_path / 'voc')
    (tmp_path / 'voc' / lost).unlink()
    cfg = load('pascal_voc12', dict(pascal_voc12=tmp_path / 'voc'), monkeypatch)
    with pytest.raises(DatasetLayoutError, match=message):
        check_datasets(cfg, ('train', ))


def test_an_empty_list_or_none_of_context(roots, tmp_path, monkeypatch):
    shutil.copytree(roots['pascal_context'], tmp_path / 'context')
    cfg = load('pascal_context', dict(pascal_context=tmp_path / 'context'), monkeypatch)
    listed = tmp_path / 'context/ImageSets/SegmentationContext/train.txt'
    listed.write_text('')
    with pytest.raises(DatasetLayoutError, match='train.txt is empty'):
        check_datasets(cfg, ('train', ))
    listed.unlink()
    with pytest.raises(DatasetLayoutError, match='train.txt does not exist'):
        check_datasets(cfg, ('train', ))
    check_datasets(cfg, ('val', ))


def test_vessels_that_were_not_converted_are_refused(tmp_path, monkeypatch):
    data = PUBLISHED['drive']
    write(data._replace(encode=lambda labels: Image.fromarray(labels * np.uint8(255))), tmp_path / 'drive')
    cfg = load('drive', dict(drive=tmp_path / 'drive'), monkeypatch)
    with pytest.raises(AnnotationError, match=r"mapping=\{0: 'background', 255: 'vessel'\}"):
        look_at_masks(cfg)
    for step in (cfg.train_pipeline[1], cfg.train_dataloader.dataset.pipeline[1]):
        step.mapping = {0: 'background', 255: 'vessel'}
    look_at_masks(cfg)
    dataset = built(cfg.train_dataloader.dataset, cfg.train_pipeline[:2])
    assert np.array_equal(dataset[0]['gt_seg_map'], truth(data, data.splits[0], 0))


def test_every_config_of_such_a_data_set_is_here():
    """And is two lines, the bases and the sizes; the data set's page names it."""
    page = (ROOT / 'docs/datasets.md').read_text()
    for name, data in PUBLISHED.items():
        assert f'`{name}`' in page and f'`{data.root}`' in page, name
        for model in MODELS:
            (path, ) = (ROOT / 'configs').glob(f'*/{model}_small_{name}.py')
            assert re.fullmatch(rf"_base_ = \['../_base_/models/{model}.py', '../_base_/datasets/{name}(_\d+)?.py'\]\n"
                                r'model = _base_\.sizes\n', path.read_text()), path
