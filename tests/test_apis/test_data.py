"""Classes, palette and pipeline of a config: wherever its datasets are, and without any."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import ADE20KDataset

from mmwhitebox.apis import init_model
from mmwhitebox.apis.data import describe_data
from mmwhitebox.apis.inference import test_pipeline as build_pipeline
from mmwhitebox.errors import UserError
from tests.configs import reduced

META = ADE20KDataset.METAINFO


@pytest.fixture
def cfg():
    return reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')


def set_classes(cfg: Config, classes: list, dataset_classes: bool = True) -> None:
    cfg.model.decode_head.num_classes = len(classes)
    for split in ('train', 'val', 'test'):
        if dataset_classes:
            cfg[f'{split}_dataloader'].dataset.metainfo = dict(classes=classes)


@pytest.mark.parametrize('wrapper', [
    lambda d: dict(type='ConcatDataset', datasets=[d, d]),
    lambda d: dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[d])),
])
def test_wrapped_datasets(cfg, wrapper):
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset = wrapper(cfg.test_dataloader.dataset)
    found = describe_data(cfg)
    assert found.classes == list(META['classes']) and found.palette == list(map(list, META['palette']))
    assert found.pipeline == pipeline
    assert build_pipeline(cfg)(np.zeros((40, 50, 3), np.uint8))['inputs'].shape[0] == 3


def test_without_test_data(cfg):
    cfg.val_dataloader.dataset.pipeline = [*cfg.val_dataloader.dataset.pipeline]
    cfg.test_dataloader = None
    assert describe_data(cfg).pipeline == cfg.val_dataloader.dataset.pipeline
    cfg.val_dataloader = None
    cfg.pop('test_pipeline', None)
    model = init_model(cfg, device='cpu')  # can be exported
    assert model.dataset_meta['classes'] == list(META['classes'])
    with pytest.raises(UserError, match='set test_pipeline'):
        build_pipeline(cfg)


def test_a_subset_keeps_its_own_colours(cfg):
    set_classes(cfg, ['sky', 'wall', 'my own class'])
    found = describe_data(cfg)
    assert found.palette[:2] == [META['palette'][META['classes'].index(name)] for name in ('sky', 'wall')]
    assert len(found.palette) == 3 and found == describe_data(cfg)


def test_names_of_a_checkpoint_have_the_colours_of_the_dataset(cfg):
    cfg.model.decode_head.num_classes = 2
    found = describe_data(cfg, dict(dataset_meta=dict(classes=['sky', 'wall'])))
    assert found.palette == [META['palette'][META['classes'].index(name)] for name in ('sky', 'wall')]


def test_checkpoints_of_mmseg_0(cfg):
    cfg.model.decode_head.num_classes = 2
    found = describe_data(cfg, dict(CLASSES=('a', 'b'), PALETTE=[[1, 2, 3], [4, 5, 6]]))
    assert found.meta == dict(classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]])


def test_colours_are_generated_as_by_mmseg(cfg):
    """mmseg's rule: numpy's generator with seed 42, integers below 255."""
    cfg.model.decode_head.num_classes = 5
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.update(type='BaseSegDataset', metainfo=dict(classes=tuple('abcde')))
    state = np.random.get_state()
    np.random.seed(42)
    expected = np.random.randint(0, 255, size=(5, 3)).tolist()
    np.random.set_state(state)
    found = describe_data(cfg)
    assert found.classes == list('abcde') and found.palette == expected
    assert np.random.get_state()[1].tolist() == state[1].tolist()


def test_checkpoint_and_head_where_no_dataset_fits(cfg):
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'] = None
    cfg.model.decode_head.num_classes = 3
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c'), palette=[[1, 2, 3]] * 3))
    assert describe_data(cfg, meta).classes == ['a', 'b', 'c'] and describe_data(cfg, meta).palette == [[1, 2, 3]] * 3
    found = describe_data(cfg, dict(dataset_meta=dict(classes=('a', ))))  # of another head
    assert found.classes == ['0', '1', '2'] and len(found.palette) == 3
    cfg.model.decode_head.update(num_classes=1, out_channels=1)
    assert describe_data(cfg).classes == ['0', '1']


def test_the_scope_of_the_process_stays(cfg):
    def current():
        return DefaultScope.get_current_instance() and DefaultScope.get_current_instance().scope_name

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        init_model(cfg, device='cpu')
        assert current() == 'mmpretrain'
