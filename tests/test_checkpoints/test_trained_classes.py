"""A checkpoint whose outputs stand for the classes in another order is not taken for one of the data set."""
import pytest

from mmwhitebox.checkpoints import trained_classes
from mmwhitebox.checkpoints.trained_classes import compare_classes
from mmwhitebox.errors import CheckpointError
from tests.test_engine.trainings import train, write_images

META = dict(dataset_meta=dict(classes=('tree', 'sky', 'wall')))


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(trained_classes, 'print_log', lambda text, *args: lines.append(text))
    return lines


def test_another_order_is_refused(said):
    with pytest.raises(CheckpointError, match="label 0 is 'tree' there and 'sky' in the data set.*'tree', 'sky'"):
        compare_classes(META, ['sky', 'tree', 'wall'], 'a.pth')
    compare_classes(META, ['sky', 'tree', 'wall'], 'a.pth', refuse=False)
    assert len(said) == 1 and 'another order' in said[0]


def test_other_names_are_said_and_the_same_pass(said):
    compare_classes(META, ['tree', 'heaven', 'wall'], 'a.pth')
    assert said == ["Checkpoint a.pth was trained with other names of classes (label 1 is 'sky' there and 'heaven' in "
                    'the data set).']
    for meta, classes in ((META, ('tree', 'sky', 'wall')), (META, None), (META, ['x']), ({}, ['x']),
                          (dict(CLASSES=('a', 'b')), ['a', 'b']), (dict(dataset_meta=None), ['a'])):
        compare_classes(meta, classes, 'a.pth')
    assert len(said) == 1


@pytest.mark.slow
def test_a_training_is_not_resumed_with_other_targets(tmp_path):
    write_images(tmp_path / 'data')
    train(tmp_path / 'data', tmp_path / 'work')
    swapped = {f'{split}_dataloader.dataset.metainfo.classes': ('y', 'x', 'z') for split in ('train', 'val')}
    with pytest.raises(CheckpointError, match='another order'):
        train(tmp_path / 'data', tmp_path / 'again', resume=tmp_path / 'work/iter_5.pth', options=swapped)
