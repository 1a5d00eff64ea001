"""The inference API: every kind of input, results that hold everything, models by name."""
import uuid

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from PIL import Image

from mmwhitebox.apis import (
    WhiteBoxSegInferencer,
    build_model,
    inference_model,
    init_model,
    iter_inference,
    list_images,
    list_models,
)
from mmwhitebox.apis.inference import test_pipeline as build_pipeline
from mmwhitebox.errors import CheckpointError, ImageReadError, UserError
from tests.configs import CONFIGS, reduced

NAME = 'cbt_decoder/cbt_decoder_mini_ade20k.py'


@pytest.fixture(scope='module')
def cfg() -> Config:
    return reduced(NAME)


@pytest.fixture(scope='module')
def model(cfg):
    torch.manual_seed(0)
    return init_model(cfg, device='cpu')


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (('a.jpg', (48, 64)), ('b.png', (48, 64)), ('sub/c.jpg', (40, 90))):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    (tmp_path / 'photos' / 'notes.txt').write_text('no image')
    return tmp_path / 'photos'


def test_result_of_a_path_holds_everything(model, folder):
    result = inference_model(model, folder / 'a.jpg')
    assert result.mask.shape == (48, 64) and result.mask.max() < 150
    assert result.probabilities.shape == (150, 48, 64)
    np.testing.assert_allclose(result.probabilities.sum(0), 1, rtol=1e-4)
    assert np.array_equal(result.probabilities.argmax(0), result.mask)
    assert result.class_names[0] == 'wall' and len(result.palette) == 150
    assert result.overlay.shape == (48, 64, 3) and result.overlay.dtype == np.uint8
    expected = 0.4 * np.asarray(Image.open(folder / 'a.jpg')) + 0.6 * np.array(result.palette)[result.mask]
    assert np.abs(result.overlay - expected).max() <= 1
    assert result.pred_sem_seg.data.shape == (1, 48, 64)  # still mmseg's data sample


def test_array_equals_path_and_list_equals_single(model, folder):
    array = np.asarray(Image.open(folder / 'b.png'))[..., ::-1]
    by_path = inference_model(model, str(folder / 'b.png'))
    by_array = inference_model(model, np.ascontiguousarray(array))
    assert np.array_equal(by_path.mask, by_array.mask) and np.array_equal(by_array.image, array[..., ::-1])
    first, second = inference_model(model, [folder / 'a.jpg', folder / 'b.png'], batch_size=2)
    assert np.array_equal(second.mask, by_path.mask)
    assert np.array_equal(first.mask, inference_model(model, folder / 'a.jpg').mask)


def test_folder_with_images_of_several_sizes(model, folder):
    results = inference_model(model, folder, batch_size=4)
    assert [result.mask.shape for result in results] == [(48, 64), (48, 64), (40, 90)]


def test_unreadable_images_raise_or_are_reported(model, folder):
    (folder / 'b.png').write_bytes(b'broken')
    with pytest.raises(ImageReadError, match='b.png'):
        inference_model(model, folder)
    failed = []
    done = list(iter_inference(model, list_images(folder), on_error=lambda path, error: failed.append(path)))
    assert len(done) == 2 and failed == [folder / 'b.png']


def test_list_images(folder):
    assert [p.name for p in list_images(folder)] == ['a.jpg', 'b.png', 'c.jpg']
    assert [p.name for p in list_images(f'{folder}/*.png')] == ['b.png']
    with pytest.raises(UserError, match='no image there'):
        list_images(folder / '*.gif')


def test_inferencer(cfg, folder, tmp_path):
    inferencer = WhiteBoxSegInferencer(cfg, device='cpu', show_progress=False)
    results = inferencer(str(folder), batch_size=2, out_dir=str(tmp_path / 'out'), return_vis=True)
    assert [p.shape for p in results['predictions']] == [(48, 64), (48, 64), (40, 90)]
    assert (tmp_path / 'out' / 'vis' / 'a.jpg').is_file()
    assert len(list((tmp_path / 'out' / 'pred').glob('*.png'))) == 3
    assert np.array_equal(results['predictions'][0], inference_model(inferencer.model, folder / 'a.jpg').mask)


def test_an_inferencer_leaves_nothing_to_a_training_in_the_same_process(folder, tmp_path):
    """mmengine keeps visualizers by their name: one without a folder would swallow the training's values."""
    cfg = reduced(NAME)
    wanted = {**cfg.visualizer, 'name': uuid.uuid4().hex}
    WhiteBoxSegInferencer(Config({**cfg, 'visualizer': {**wanted}}), device='cpu', show_progress=False)
    trainings = VISUALIZERS.build({**wanted, 'save_dir': str(tmp_path)})
    trainings.add_scalars(dict(loss=1.), step=1)
    assert (tmp_path / 'vis_data' / 'scalars.json').is_file()


def test_checkpoint_round_trip_and_wrong_checkpoint(cfg, model, folder, tmp_path):
    path = tmp_path / 'model.pth'
    meta = dict(dataset_meta=dict(classes=[str(i) for i in range(150)], palette=model.dataset_meta['palette']))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    again = init_model(cfg, str(path), device='cpu')
    assert again.dataset_meta['classes'][3] == '3'
    assert np.array_equal(inference_model(again, folder / 'a.jpg').mask,
                          inference_model(model, folder / 'a.jpg').mask)
    with pytest.raises(CheckpointError, match='layers.1.norm.weight'):
        init_model(cfg, str(path), device='cpu', cfg_options={'model.decode_head.num_layers': 2})


def test_models_by_name():
    assert list_models() == sorted(name.rsplit('/')[-1][:-3] for name in CONFIGS)
    assert 'cbt_decoder_ade20k' in list_models('cbt_decoder*')
    model = build_model('cbt_decoder_tiny_ade20k', num_classes=5, num_layers=1, img_size=64,
                        backbone__model_kwargs=dict(depth=1))
    assert model.decode_head.cls_tokens.shape == (1, 5, 192) and len(model.decode_head.layers) == 1
    assert model.backbone.vit.patch_embed.img_size == (64, 64)


def test_unknown_names_list_similar_ones():
    with pytest.raises(KeyError, match="Unknown model 'cbt_decodr_ade20k'.*cbt_decoder_ade20k"):
        build_model('cbt_decodr_ade20k')
    with pytest.raises(KeyError, match="no argument 'num_clases' to override.*num_classes"):
        build_model('cbt_decoder_tiny_ade20k', num_clases=3)


@pytest.mark.parametrize('keep', [True, 'factors'])
def test_probabilities_are_the_softmax_of_the_resized_logits(cfg, model, folder, keep):
    again = init_model(cfg, device='cpu', cfg_options={'model.test_cfg.keep_logits': keep})
    again.load_state_dict(model.state_dict())
    result = inference_model(again, folder / 'a.jpg')
    image = build_pipeline(cfg)(folder / 'a.jpg')['inputs']
    with torch.no_grad():
        inputs = again.data_preprocessor(dict(inputs=[image], data_samples=[SegDataSample()]))['inputs']
        logits = F.interpolate(again(inputs), inputs.shape[2:], mode='bilinear')[..., :image.shape[1], :image.shape[2]]
        expected = F.interpolate(logits, (48, 64), mode='bilinear')[0].softmax(0)
    np.testing.assert_allclose(result.probabilities, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert ('seg_logits' in result) == (keep is True)


def test_probabilities_that_were_not_kept_say_how_to_get_them(cfg, folder):
    result = inference_model(init_model(cfg, device='cpu', cfg_options={'model.test_cfg.keep_logits': False}),
                             folder / 'a.jpg')
    assert result.mask.shape == (48, 64)
    with pytest.raises(UserError, match="keep_logits': 'factors'"):
        _ = result.probabilities


def test_bf16_reaches_the_network_and_hardly_changes_the_labels(cfg, model, folder):
    half = init_model(cfg, device='cpu', precision='bf16')
    half.load_state_dict(model.state_dict())
    dtypes = []
    half.backbone.register_forward_hook(lambda *_: dtypes.append(
        torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu')))
    found = inference_model(half, folder / 'a.jpg')
    assert dtypes == [torch.bfloat16] and not torch.is_autocast_enabled('cpu')
    assert found.probabilities.dtype == np.float32
    assert np.abs(found.probabilities - inference_model(model, folder / 'a.jpg').probabilities).max() < 0.05


@pytest.mark.parametrize('precision, message', [('fp16', 'fp16 needs a GPU'), ('fp8', 'one of fp32, bf16, fp16')])
def test_precisions_that_cannot_be_had(cfg, precision, message):
    with pytest.raises(UserError, match=message):
        init_model(cfg, device='cpu', precision=precision)


def test_overlay_of_many_rows_is_blended_everywhere(model):
    image = np.random.default_rng(0).integers(0, 256, (600, 8, 3), dtype=np.uint8)
    result = inference_model(model, image)
    expected = 0.4 * image[..., ::-1] + 0.6 * np.array(result.palette)[result.mask]
    assert np.abs(result.overlay - expected).max() <= 1


def test_images_too_narrow_for_a_patch_are_left_out_by_name(tmp_path):
    narrow = init_model('cbt_decoder_cbt_mini_ade20k', device='cpu')
    for name, size in (('a', (96, 64)), ('b', (2, 96)), ('c', (9000, 2)), ('d', (64, 96))):
        Image.new('RGB', size, 'red').save(tmp_path / f'{name}.png')
    errors = []
    done = [path.stem for path, _ in iter_inference(
        narrow, sorted(tmp_path.iterdir()), 2, lambda image, error: errors.append(str(error)))]
    assert done == ['a', 'd'] and len(errors) == 2 and 'b.png' in sorted(errors)[0] and 'c.png' in sorted(errors)[1]
    with pytest.raises(ImageReadError, match='b.png: too small or too narrow for the model'):
        inference_model(narrow, tmp_path / 'b.png')
