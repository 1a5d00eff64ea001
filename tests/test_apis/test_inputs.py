"""Kinds of input, taken or refused by name; what can be done with a result."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from PIL import Image

from mmwhitebox.apis import (
    WhiteBoxSegInferencer,
    build_model,
    inference_model,
    init_model,
    iter_inference,
    load_exported,
)
from mmwhitebox.apis.inference import list_images
from mmwhitebox.errors import ConfigError, ImageReadError, UserError
from tests.configs import reduced


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return init_model(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py'), device='cpu')


@pytest.fixture
def file(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    return tmp_path / 'a.png'


def test_every_kind_gives_the_same(model, file):
    bgr = cv2.imread(str(file))
    expected = inference_model(model, file)
    for found in (inference_model(model, str(file)), inference_model(model, bgr),
                  inference_model(model, Image.open(file)), inference_model(model, file.read_bytes()),
                  inference_model(model, bgr[..., ::-1], rgb=True),
                  *inference_model(model, f'{file.parent}/*.png'), *inference_model(model, (p for p in [file]))):
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_array_equal(found.image, bgr[..., ::-1])


def test_a_turned_picture_is_turned_as_its_file_is(model, file, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file).save(tmp_path / 'turned.png', exif=exif)
    assert inference_model(model, Image.open(tmp_path / 'turned.png')).mask.shape == (64, 48)


@pytest.mark.parametrize('image, message', [
    (torch.zeros(3, 8, 8), 'torch tensor'), ('https://example.org/a.jpg', 'not fetched'),
    (None, 'NoneType is no image'), ('', "'' is no path"), (7, 'int is no image'), ({}, 'dict is no image'),
    ([{}], 'dict is no image'),
    (np.zeros((2, 8, 8, 3), np.uint8), 'several images are a list'),
    (np.array(['a', 'b']), 'of numbers'), ('absent*.png', 'no image there'), ('absent.png', 'no such image'),
])
def test_what_is_no_image_is_refused_by_name(model, image, message):
    with pytest.raises(UserError, match=message):
        inference_model(model, image)


@pytest.mark.parametrize('image', ['a.png', np.zeros((8, 8, 3), np.uint8), Image.new('RGB', (8, 8)), None, {}])
def test_several_images_are_not_one(model, image):
    with pytest.raises(UserError, match='several images are wanted'):
        list(iter_inference(model, image))


def test_batch_size_is_positive(model):
    with pytest.raises(UserError, match='batch_size=0'):
        list(iter_inference(model, [], batch_size=0))


def test_addresses_of_files_and_the_home_folder(model, file, monkeypatch):
    monkeypatch.setenv('HOME', str(file.parent))
    expected = inference_model(model, file).mask
    for found in (inference_model(model, file.as_uri()), inference_model(model, '~/a.png'),
                  *inference_model(model, '~')):
        np.testing.assert_array_equal(found.mask, expected)


@pytest.mark.parametrize('call', [init_model, build_model, list_images, load_exported])
@pytest.mark.parametrize('value', [None, np.zeros((4, 4, 3), np.uint8), []])
def test_what_is_no_path_and_no_name_is_refused_in_one_line(call, value):
    with pytest.raises(UserError, match='is no (path|name)') as caught:
        call(value)
    assert '\n' not in str(caught.value)


def test_pictures_of_mmseg_s_inferencer_are_in_the_colours_of_the_image(file, monkeypatch):
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    inferencer = WhiteBoxSegInferencer(cfg, device='cpu', show_progress=False)
    bgr, drawn = cv2.imread(str(file)), []
    monkeypatch.setattr(inferencer.visualizer, 'add_datasample', lambda name, image, *args, **kw: drawn.append(image))
    monkeypatch.setattr(inferencer.visualizer, 'get_image', lambda: None)
    inferencer([bgr, file.read_bytes(), file], return_vis=True)
    for image in drawn:
        np.testing.assert_array_equal(image, bgr[..., ::-1])
    assert len(drawn) == 3


def test_bytes_that_are_no_image(model):
    with pytest.raises(ImageReadError, match='These 4 bytes'):
        inference_model(model, b'abcd')
    with pytest.raises(UserError, match='not fetched'):
        list_images('s3://bucket/*.png')


def test_a_segmentation_is_short_in_print_and_can_be_saved(model, file, tmp_path):
    result = inference_model(model, file)
    assert result.mask.dtype == np.int64
    text = str(result)
    assert len(text.splitlines()) <= 5 and str(file) in text and '48 x 64' in text
    with Image.open(result.save(tmp_path / 'out' / 'labels.png')) as saved:
        np.testing.assert_array_equal(np.asarray(saved), result.mask)
        assert saved.getpalette()[:3] == list(result.palette[0])
    with Image.open(result.save(tmp_path / 'overlay.bmp')) as saved:
        np.testing.assert_array_equal(np.asarray(saved), result.overlay)
    with pytest.raises(UserError, match='no kind of picture'):
        result.save(tmp_path / 'labels.xyz')


def test_a_classification_likewise_and_show(tmp_path, monkeypatch):
    model = init_model(reduced('cbt/cbt_tiny_imagenet.py'), device='cpu')
    result = inference_model(model, np.zeros((40, 50, 3), np.uint8))
    assert len(str(result).splitlines()) <= 5 and result.top(1)[0][0] in str(result)
    assert result.save(tmp_path / 'a.png').is_file()
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda image: shown.append(image.size))
    result.show()
    assert len(shown) == 1


def test_one_channel_head(file):
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    cfg.model.decode_head = dict(type='FCNHead', in_channels=192, channels=8, num_convs=1, num_classes=2,
                                 out_channels=1, threshold=0.3,
                                 loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    cfg.model.pop('auxiliary_head', None)
    result = inference_model(init_model(cfg, device='cpu'), file)
    assert result.mask.dtype == np.int64 and set(np.unique(result.mask)) <= {0, 1}
    assert result.overlay.shape == (48, 64, 3) and len(result.class_names) == len(result.palette) == 2
    assert len(str(result).splitlines()) <= 5


def test_models_by_name_are_built_in_silence(capfd):
    level = MMLogger.get_instance('mmengine').level
    build_model('cbt_decoder_tiny_ade20k', num_classes=5, num_layers=1, img_size=64,
                backbone__model_kwargs=dict(depth=1))
    assert capfd.readouterr() == ('', '') and MMLogger.get_instance('mmengine').level == level
    model = init_model('cbt_tiny_imagenet', device='cpu', cfg_options={'model.backbone.img_size': 224})
    assert len(model.dataset_meta['classes']) == 1000
    with pytest.raises(ConfigError, match='no config file absent.py'):
        init_model('absent.py')
    with pytest.raises(UserError, match='Similar names: cbt_tiny_imagenet'):
        init_model('cbt_tiny_imagenett', device='cpu')


def test_mmpretrain_takes_our_classifier():
    from mmpretrain.apis import inference_model as inference_of_mmpretrain
    init_default_scope('mmpretrain')  # it builds its pipeline in the scope of the process
    image = np.full((40, 50, 3), 90, np.uint8)
    model = init_model(reduced('cbt/cbt_mini_imagenet.py'), device='cpu')
    theirs, ours = inference_of_mmpretrain(model, image), inference_model(model, image)
    assert theirs['pred_class'] in model.dataset_meta['classes']
    np.testing.assert_allclose(theirs['pred_scores'], ours.probabilities, rtol=1e-5)


@pytest.mark.parametrize('device', ['xyz', 'cuda:99'])
def test_a_device_that_is_not_there(device):
    with pytest.raises(UserError, match=f'device {device}: .*There is: cpu'):
        init_model(reduced('cbt/cbt_mini_imagenet.py'), device=device)


def test_a_place_that_cannot_be_written(tmp_path):
    model = init_model(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py'), device='cpu')
    result = inference_model(model, np.zeros((40, 50, 3), np.uint8))
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(UserError, match='cannot be written'):
        result.save(tmp_path / 'file' / 'a.png')
