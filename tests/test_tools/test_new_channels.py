"""``mmwhitebox new`` on images of any channels and values: what it measures, states and refuses; trainings on them."""
import numpy as np
import pytest
import tifffile
import torch
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.apis.export import export_model, load_exported
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.config.reading import load_config
from mmwhitebox.engine.training import train
from mmwhitebox.errors import CheckpointError, ImageArrayError, UserError
from tests.own_bands import bands
from tests.test_tools.test_new import new, refused

NO_WORKERS = {f'{split}_dataloader.{key}': value for split in ('train', 'val', 'test')
              for key, value in (('num_workers', 0), ('persistent_workers', False))}
KINDS = {  # channels, type, lowest, highest, the range that new states
    'four of 16 bits': (4, 'u2', 100, 3000, (0, 4095)),
    'one of fractions': (1, 'f4', -20, 5, (-20., 2.5)),
    'five of 8 bits': (5, 'u1', 0, 255, None),
}


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'my_data.py'


@pytest.mark.parametrize('kind', KINDS)
def test_mean_and_std_are_those_of_the_training_images(kind, tmp_path, out, capsys):
    channels, dtype, low, high, span = KINDS[kind]
    images = bands(tmp_path / 'data', channels, dtype, low, high)
    cfg, _ = new(tmp_path / 'data', out)
    own = cfg.own_data
    assert own.channels == channels and own.get('value_range') == span
    check_config(cfg)
    check_consistency(cfg)
    with DefaultScope.overwrite_default_scope('mmseg'):
        samples = DATASETS.build(cfg.train_dataloader.dataset).load_data_list()
    seen = images[[int(sample['img_path'][-5]) for sample in samples]].astype(np.float64)
    assert len(seen) == 5
    if span:
        seen = (seen - span[0]) / (span[1] - span[0]) * 255
    assert own['mean'] == pytest.approx(seen.mean((0, 1, 2)).tolist(), rel=1e-6)
    assert own['std'] == pytest.approx(seen.std((0, 1, 2)).tolist(), rel=1e-6)
    assert 'all of their values are kept' in (said := capsys.readouterr().out)
    assert 'over all pixels of 5 training images' in said
    assert cfg.model.backbone.in_channels == channels
    assert cfg.model.data_preprocessor.mean == own['mean'] and cfg.model.data_preprocessor.std == own['std']
    assert not [step for step in cfg.train_pipeline if step.type == 'PhotoMetricDistortion']


@pytest.mark.parametrize('kind', ['four of 16 bits', *(
    pytest.param(kind, marks=pytest.mark.slow) for kind in ('one of fractions', 'five of 8 bits'))])
def test_from_a_folder_to_pictures(kind, tmp_path, out):
    """A training, its pictures, and predictions of files and arrays; what reaches the network, by NumPy."""
    channels, dtype, low, high, span = KINDS[kind]
    images = bands(tmp_path / 'data', channels, dtype, low, high)
    new(tmp_path / 'data', out, '--batch', 2)
    cfg = load_config(str(out), {
        **NO_WORKERS, 'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2,
        'default_hooks.visualization.draw': True, 'default_hooks.visualization.interval': 1,
        'visualizer.name': kind}, str(tmp_path / 'work'))
    train(cfg)
    picture, = (tmp_path / 'work').rglob('val_p*.png')
    assert np.asarray(Image.open(picture)).std() > 10

    model = init_model(load_config(str(out), {'recipe.scale': (48, 32)}), str(tmp_path / 'work' / 'iter_2.pth'), 'cpu')
    reached = []
    model.backbone.register_forward_pre_hook(lambda module, args: reached.append(args[0]))
    of_file = inference_model(model, tmp_path / 'data/images/p0.tif')
    of_array = inference_model(model, images[0])
    assert torch.equal(reached[0], reached[1]) and np.array_equal(of_file.mask, of_array.mask)
    values = images[0].astype(np.float64)
    if span:
        values = (values - span[0]) / (span[1] - span[0]) * 255
    expected = (values - cfg.own_data['mean']) / cfg.own_data['std']
    np.testing.assert_allclose(reached[0][0].permute(1, 2, 0).numpy()[:32, :48], expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(of_file.image, of_array.image) and of_file.image.shape == (32, 48, 3)
    if channels == 1:
        assert (of_file.image == of_file.image[..., :1]).all()
    if not span:
        assert np.array_equal(of_file.image, images[0][..., :3])
    assert ('channel 1: ' in of_file.note and 'shown: channel 1: ' in repr(of_file)) if span else True
    with pytest.raises(ImageArrayError, match=rf'must be \(H, W, {channels}\)'):
        inference_model(model, np.zeros((32, 48, channels + 1), images.dtype))
    with pytest.raises(UserError, match=f'rgb=True is for images of three channels; this model takes {channels}'):
        inference_model(model, images[0][..., [0] * 3], rgb=True)
    with pytest.raises(UserError, match='3 channels of 2 x 2 pixels, but'):
        path = tmp_path / 'rgb.png'
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
        inference_model(model, path)


def test_channels_that_overlays_show(tmp_path, out):
    images = bands(tmp_path / 'data', 5, 'u1', 0, 255)
    new(tmp_path / 'data', out)
    for display, picked in (((5, 1, 3), [4, 0, 2]), (4, [3, 3, 3])):
        model = init_model(load_config(str(out), {'own_data.display': display}), device='cpu')
        result = inference_model(model, tmp_path / 'data/images/p1.tif')
        assert np.array_equal(result.image, images[1][..., picked])
        assert result.note == '\n'.join(f'channel {i + 1}' for i in dict.fromkeys(picked))
    for wrong in ((1, 2), (1, 2, 6), 0, 'red'):
        with pytest.raises(UserError, match='own_data.display=.*from 1 to 5'):
            load_config(str(out), {'own_data.display': wrong})


def test_infer_shows_chosen_channels(tmp_path, out, capsys):
    from mmwhitebox.cli.main import main

    bands(tmp_path / 'data', 4, 'u2', 100, 3000, 2)
    new(tmp_path / 'data', out)
    torch.save(init_model(str(out), device='cpu').state_dict(), tmp_path / 'w.pth')
    with pytest.raises(SystemExit, match='0'):
        main(['infer', str(out), str(tmp_path / 'w.pth'), str(tmp_path / 'data/images/p1.tif'), '--out',
              str(tmp_path / 'out'), '--channels', '4', '3', '1', '--device', 'cpu'])
    overlay, = (tmp_path / 'out/overlays').rglob('p1.jpg')
    note = Image.open(overlay).info['comment'].decode()
    values = tifffile.imread(tmp_path / 'data/images/p1.tif')
    low, high = np.percentile(values[..., 3], (2, 98))
    assert note.splitlines()[0] == f'channel 4: {low:.4g} to {high:.4g}'
    assert [line.partition(':')[0] for line in note.splitlines()] == ['channel 4', 'channel 3', 'channel 1']


def test_export_of_four_channels(tmp_path, out):
    bands(tmp_path / 'data', 4, 'u2', 100, 3000, 2)
    new(tmp_path / 'data', out)
    model = init_model(str(out), device='cpu')
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    card = export_model(str(out), tmp_path / 'w.pth', tmp_path / 'm.safetensors', 'safetensors')
    assert card['channel_order'] == 'of the files' and len(card['mean']) == 4
    assert '(value - 0) * 255 / (4095 - 0) of the values of files' in card['input']
    assert load_exported(tmp_path / 'm.safetensors')(torch.zeros(1, 4, 32, 32)).shape[1] == 2


@pytest.mark.slow
def test_onnx_of_four_channels(tmp_path, out):
    bands(tmp_path / 'data', 4, 'u2', 100, 3000, 2)
    new(tmp_path / 'data', out)
    torch.save(init_model(str(out), device='cpu').state_dict(), tmp_path / 'w.pth')
    card = export_model(str(out), tmp_path / 'w.pth', tmp_path / 'm.onnx', 'onnx')
    assert card['agreement']
    assert load_exported(tmp_path / 'm.onnx')(torch.zeros(1, 4, 32, 32)).shape[1] == 2


def test_alpha_is_a_band_if_it_is_counted(tmp_path, out):
    def write(path, image):
        Image.fromarray(image, 'RGBA').save(path.with_suffix('.png'))

    images = bands(tmp_path / 'data', 4, 'u1', 0, 255, write=write)
    cfg, text = new(tmp_path / 'data', out)
    assert 'channels' not in cfg.own_data
    cfg, text = new(tmp_path / 'data', out, '--force', '--channels', 4)
    assert cfg.own_data.channels == 4 and len(cfg.own_data['mean']) == 4
    assert cfg.own_data['mean'][3] == pytest.approx(images[..., 3].mean(), rel=0.1)


@pytest.mark.slow
def test_wide_grey_and_colour(tmp_path, out, capsys):
    """Without --channels 8 bits are kept, as of photographs; with it all."""
    bands(tmp_path / 'data', 1, 'u2', 0, 1000)
    cfg, _ = new(tmp_path / 'data', out)
    assert cfg.own_data.bit_depth == 10 and 'channels' not in cfg.own_data
    assert '8 of 10 bits are kept; --channels 1 keeps them all' in capsys.readouterr().out
    cfg, _ = new(tmp_path / 'data', out, '--force', '--channels', 1)
    assert cfg.own_data.value_range == (0, 1023) and cfg.model.backbone.in_channels == 1
    cfg, _ = new(tmp_path / 'data', out, '--force', '--channels', 3, '--value-range', 0, 500)
    assert cfg.own_data.value_range == (0, 500) and cfg.model.backbone.in_channels == 3
    assert len(set(cfg.own_data['mean'])) == 1 and len(cfg.own_data['mean']) == 3


def test_what_new_refuses(tmp_path, out, capsys):
    root = tmp_path / 'data'
    bands(root, 4, 'f4', 0, 1)
    assert '--value-range 5 5: the first must be below' in refused(capsys, root, '--out', out, '--value-range', 5, 5)
    tifffile.imwrite(root / 'images/p3.tif', np.zeros((32, 48, 5), 'f4'), photometric='minisblack',
                     planarconfig='contig')
    assert '1 images have 5 channels (p3.tif), not 4 as the others' in refused(capsys, root, '--out', out)
    assert '5 images have 4 channels (p0.tif, p1.tif, p2.tif, ... (5 in all)), not 5 as --channels says' in refused(
        capsys, root, '--out', out, '--channels', 5)
    bands(root, 4, 'f4', 0, 1)
    tifffile.imwrite(root / 'images/p2.tif', np.zeros((32, 48, 4), 'u2'), photometric='minisblack',
                     planarconfig='contig')
    assert 'several types, 5 float32 (p0.tif, p1.tif, p3.tif, ... (5 in all)); 1 uint16 (p2.tif): save' in refused(
        capsys, root, '--out', out)
    new(root, out, '--value-range', 0, 1)
    image = bands(root, 4, 'f4', 0, 1)[1]
    image[3, 3, 3] = np.nan
    tifffile.imwrite(root / 'images/p1.tif', image, photometric='minisblack', planarconfig='contig')
    assert '1 images hold NaN or infinity (p1.tif): mend them, or say what is read instead' in refused(
        capsys, root, '--out', out, '--force')
    cfg, _ = new(root, out, '--force', '--replace-nan', 0)
    assert cfg.own_data.replace_nan == 0 and cfg.train_pipeline[0].replace_nan == 0
    for path in (root / 'images').iterdir():
        tifffile.imwrite(path, np.zeros((32, 48, 4), 'u2'), photometric='minisblack')
    assert "32 pages of 48 x 4 values" in (said := refused(capsys, root, '--out', out, '--force'))
    assert said.count('\n') == 0 and '--channel-axis' in said
    cfg, _ = new(root, out, '--force', '--channel-axis', 'last')
    assert cfg.own_data.channels == 4 and cfg.own_data['std'] == [1.] * 4
    assert 'channel 1, 2, 3, 4 is the same everywhere' in capsys.readouterr().out


@pytest.mark.slow
def test_weights_of_three_channels_are_not_tested_on_four(tmp_path, out):
    bands(tmp_path / 'data', 4, 'u2', 100, 3000, 2)
    cfg, _ = new(tmp_path / 'data', out)
    own = {'own_data.channels': 3, 'own_data.mean': [1, 2, 3], 'own_data.std': [1, 1, 1]}
    torch.save(init_model(load_config(str(out), own), device='cpu').state_dict(), tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='keys of another shape: backbone.*3'):
        init_model(cfg, str(tmp_path / 'w.pth'), device='cpu')
