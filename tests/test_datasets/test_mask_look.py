"""Masks of 0 and 255 for two classes are found before training."""
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import TRANSFORMS as MMSEG_TRANSFORMS
from PIL import Image

from mmwhitebox.datasets import LoadSegAnnotation, look_at_masks
from mmwhitebox.datasets.mask_look import LOOKED_AT
from mmwhitebox.errors import AnnotationError


def make(root, values, count=3, classes=('rest', 'thing'), loader='mmwhitebox.LoadSegAnnotation', **options):
    """A set of masks that hold the values; ``count`` of them."""
    for folder in ('img', 'ann'):
        (root / folder).mkdir()
    for i in range(count):
        Image.new('RGB', (4, 4)).save(root / 'img' / f'{i:03}.jpg')
        Image.fromarray(np.resize(np.array(values, np.uint8), (4, 4))).save(root / 'ann' / f'{i:03}.png')
    step = dict(type=loader, **(dict(num_classes=len(classes)) if 'mmwhitebox' in str(loader) else {}))
    data = dict(type='BaseSegDataset', data_root=str(root), data_prefix=dict(img_path='img', seg_map_path='ann'),
                metainfo=dict(classes=classes), pipeline=[step], **options)
    return Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dict(
        type='RepeatDataset', times=2, dataset=data))))


@pytest.mark.parametrize('loader', ['mmwhitebox.LoadSegAnnotation', 'LoadAnnotations'])
def test_masks_of_0_and_255(tmp_path, loader):
    with pytest.raises(AnnotationError) as caught:
        look_at_masks(make(tmp_path, [0, 255], loader=loader))
    assert str(caught.value) == (
        'train_dataloader.dataset.dataset (BaseSegDataset): its 3 masks hold the labels 0, 255 alone, and 255 is '
        'ignored, so nothing of the 2 classes (rest, thing) could be told apart. If 255 means a class, save its label '
        'instead: numpy.where(mask == 255, 1, mask). Or leave the masks and say so: '
        "mapping={0: 'rest', 255: 'thing'} of mmwhitebox.LoadSegAnnotation.")


def test_reduced_until_nothing_is_left(tmp_path):
    with pytest.raises(AnnotationError, match='reduce_zero_label=True makes 0 to 255'):
        look_at_masks(make(tmp_path, [0, 1], reduce_zero_label=True))


@pytest.mark.parametrize('values, classes', [
    ([0, 1], 'ab'), ([0, 1, 255], 'ab'), ([0], 'ab'), ([0, 255], 'a'), ([0, 7], 'ab'), ([1, 2, 255], 'abc')])
def test_other_masks_pass(tmp_path, values, classes):
    look_at_masks(make(tmp_path, values, classes=tuple(classes)))


def test_one_mask_with_the_class_is_enough(tmp_path):
    cfg = make(tmp_path, [0, 255], count=LOOKED_AT + 8)
    rare = tmp_path / 'ann' / '002.png'  # not among those looked at first
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(rare)
    look_at_masks(cfg)
    rare.write_bytes(b'')  # broken masks are named by others
    with pytest.raises(AnnotationError):
        look_at_masks(cfg)


class Halves(LoadSegAnnotation):
    """A loader of a user's own, which makes 255 a class."""

    def read(self, results):
        results = super().read(results)
        results['gt_seg_map'] //= 255
        return results


@pytest.mark.slow
def test_what_the_loader_makes_of_the_masks_counts(tmp_path):
    cfg = make(tmp_path, [0, 255])
    cfg.train_dataloader.dataset.dataset.pipeline[0].type = Halves
    look_at_masks(cfg)


def test_data_that_is_not_there_is_named_by_others(tmp_path):
    cfg = make(tmp_path, [0, 255])
    cfg.train_dataloader.dataset.dataset.data_root = str(tmp_path / 'none')
    look_at_masks(cfg)
    look_at_masks(Config(dict(train_dataloader=None)))


@MMSEG_TRANSFORMS.register_module(force=True)
class ReadsBytesOfMasks:
    """A step of a user's own that reads masks, of no class that is known; it wants the image loaded."""

    def __call__(self, results):
        with Image.open(results['seg_map_path']) as mask:
            return {**results, 'gt_seg_map': np.asarray(mask).reshape(results['img'].shape[:2])}


def test_own_steps_that_read_masks_are_looked_through(tmp_path):
    for values, wrong in (([0, 255], True), ([0, 1], False)):
        (tmp_path / f'{wrong}').mkdir()
        cfg = make(tmp_path / f'{wrong}', values)
        cfg.train_dataloader.dataset.dataset.pipeline = [
            dict(type='LoadImageFromFile'), dict(type='ReadsBytesOfMasks'), dict(type='PackSegInputs')]
        if wrong:
            with pytest.raises(AnnotationError, match='labels 0, 255 alone'):
                look_at_masks(cfg)
        else:
            look_at_masks(cfg)


def test_coloured_masks_are_no_labels(tmp_path):
    cfg = make(tmp_path, [0, 1])
    for path in (tmp_path / 'ann').iterdir():
        Image.fromarray(np.random.default_rng(0).choice([0, 255], (4, 4, 3)).astype(np.uint8)).save(path)
    with pytest.raises(AnnotationError, match='a mask of 3 channels, where one of class indices is needed'):
        look_at_masks(cfg)
