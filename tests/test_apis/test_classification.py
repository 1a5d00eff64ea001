"""Classification by the inference API and by mmpretrain's own inferencer."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.apis import ImageClassificationInferencer
from PIL import Image

from mmwhitebox.apis import ClsResult, build_model, inference_model, init_model, iter_inference, list_models
from mmwhitebox.errors import ImageReadError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.configs import ROOT, SIZE, reduced, reduced_arch


@pytest.fixture(autouse=True)
def classification_scope(fresh_state):
    """As in a process that has made no segmentor."""
    init_default_scope('mmpretrain')


@pytest.fixture
def photos(tmp_path):
    """A colour JPEG, a grey PNG of another size, and a 16-bit PNG."""
    rng = np.random.default_rng(0)
    for name, pixels in (('a.jpg', rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)),
                         ('b.png', rng.integers(0, 256, (80, 50), dtype=np.uint8)),
                         ('c.png', rng.integers(0, 65536, (40, 90), dtype=np.uint16))):
        Image.fromarray(pixels).save(tmp_path / name)
    return sorted(tmp_path.iterdir())


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return init_model(reduced('cbt/cbt_mini_imagenet.py'), device='cpu')


@pytest.mark.parametrize('arch', WhiteBoxTransformer.arch_zoo)
def test_mmpretrain_s_inferencer_takes_every_arch(arch, photos):
    cfg = Config.fromfile(ROOT / 'configs' / 'cbt/cbt_small_imagenet.py')
    backbone = dict(type='mmwhitebox.WhiteBoxTransformer', arch=reduced_arch(arch), img_size=SIZE)
    cfg.model.backbone = backbone
    cfg.model.head.in_channels = backbone['arch']['embed_dims']
    cfg.test_dataloader.dataset.pipeline[1:3] = [dict(type='Resize', scale=(SIZE, SIZE))]
    inferencer = ImageClassificationInferencer(cfg, pretrained=False, device='cpu')
    results = inferencer([str(photos[0]), np.zeros((30, 40, 3), np.uint8)], batch_size=2)
    assert len(results) == 2 and results[0]['pred_scores'].shape == (1000, )
    assert results[0]['pred_class'] == inferencer.classes[results[0]['pred_label']]


def test_result_of_a_path_holds_everything(model, photos):
    result = inference_model(model, photos[0])
    assert isinstance(result, ClsResult) and result.probabilities.shape == (12, )
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert result.image.shape == (48, 64, 3) and result.class_names[0] == 'bed'
    names, scores = zip(*result.top(3))
    assert names[0] == result.class_names[result.pred_label.item()]
    assert list(scores) == sorted(scores, reverse=True)
    assert len(result.top(100)) == 12


def test_every_mode_alone_or_in_a_batch_and_with_mmpretrain_s_inferencer(model, photos):
    alone = [inference_model(model, path).probabilities for path in photos]
    together = [result.probabilities for result in inference_model(model, photos, batch_size=3)]
    np.testing.assert_allclose(alone, together, atol=1e-5)
    theirs = ImageClassificationInferencer(model)([str(path) for path in photos[:2]])
    np.testing.assert_allclose([r['pred_scores'] for r in theirs], alone[:2], atol=1e-5)
    assert theirs[0]['pred_class'] == inference_model(model, photos[0]).top(1)[0][0]


def test_a_classifier_works_after_a_segmentor_was_made(model, photos):
    expected = inference_model(model, photos[0]).probabilities
    init_model(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py'), device='cpu')  # leaves another default scope
    assert np.array_equal(inference_model(model, photos[0]).probabilities, expected)


def test_unreadable_images_raise_or_are_reported(model, photos):
    photos[1].write_bytes(b'broken')
    with pytest.raises(ImageReadError, match='b.png'):
        inference_model(model, photos)
    failed = []
    done = list(iter_inference(model, photos, on_error=lambda path, error: failed.append(path)))
    assert [path for path, _ in done] == [photos[0], photos[2]] and failed == [photos[1]]


def test_dataset_without_names_gets_numbers():
    model = init_model(reduced('cbt/cbt_small_finetune_flowers102.py'), device='cpu')
    assert model.dataset_meta['classes'][:2] == ['0', '1']


def test_classifiers_by_name():
    assert 'cbt_small_finetune_pets' in list_models('cbt/*')
    model = build_model('cbt_small_finetune_pets', num_classes=5, arch='cbt-tiny', in_channels=192)
    assert model.head.fc.weight.shape == (5, 192)
