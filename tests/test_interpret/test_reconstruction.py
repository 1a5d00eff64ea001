"""Pictures of reconstructions: hidden patches grey, the rest as it was, predictions where something was removed."""
import numpy as np
import pytest
import torch

from mmwhitebox.apis import init_model
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.reconstruction import HIDDEN, reconstruction
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_config, save_images, save_model

NAME = 'crate_mae/crate_mae_mini_imagenet.py'


@pytest.mark.parametrize('norm_pix', [False, True])
def test_pictures_of_a_known_prediction(norm_pix):
    cfg = reduced(NAME)
    cfg.model.head.norm_pix = norm_pix
    model = init_model(cfg, device='cpu')
    raw = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    image = model.data_preprocessor(dict(inputs=[raw]))['inputs']
    mask = torch.zeros(1, 64, dtype=torch.bool)
    mask[0, 10] = True  # row 1, column 2
    seen = raw.flip(0).permute(1, 2, 0).numpy()  # read as BGR
    true = model.head.construct_target(image)
    perfect = reconstruction(model, image, mask, true)
    assert perfect.error < 1e-8
    np.testing.assert_array_equal(perfect.image, seen)
    np.testing.assert_allclose(perfect.painted.astype(int), seen, atol=1)
    hidden = np.zeros((64, 64), bool)
    hidden[8:16, 16:24] = True
    assert (perfect.shown[hidden] == HIDDEN).all() and (perfect.shown[~hidden] == seen[~hidden]).all()
    off = reconstruction(model, image, mask, true + 0.5)
    assert off.error == pytest.approx(0.25, rel=1e-4)
    assert (off.painted[~hidden] == seen[~hidden]).all() and (off.painted[hidden] >= seen[hidden]).all()
    assert (off.painted[hidden] > seen[hidden]).any()


def test_command(tmp_path, capsys):
    images = save_images(tmp_path / 'images', a=(64, 64), b=(70, 90))
    pair, out = save_config(tmp_path, NAME, reduced(NAME)), str(tmp_path / 'out')
    assert command('reconstruction')([*pair, images, '--out', out]) == 0
    rows = numbers(tmp_path / 'out', 'reconstruction')
    assert [(row['name'], row['removed'], row['patches']) for row in rows] == [('a', 48, 64), ('b', 48, 64)]
    assert (tmp_path / 'out' / 'a.png').stat().st_size and (tmp_path / 'out' / 'b.pdf').stat().st_size
    text = capsys.readouterr().out
    assert f'{np.mean([row["error"] for row in rows]):.4f} (of standardised patches)' in text
    command('reconstruction')([*pair, f'{images}/a.jpg', '--out', str(tmp_path / 'again')])
    assert numbers(tmp_path / 'again', 'reconstruction') == rows[:1]
    command('reconstruction')([*pair, images, '--out', str(tmp_path / 'other'), '--seed', '1', '--cfg-options',
                               'model.mask_ratio=0.5'])
    other = numbers(tmp_path / 'other', 'reconstruction')
    assert other[0]['removed'] == 32 and other[0]['error'] != rows[0]['error']


def test_other_measures_read_encoder_and_decoder(tmp_path):
    images = save_images(tmp_path / 'images', a=(64, 64))
    pair, out = save_config(tmp_path, NAME, reduced(NAME)), str(tmp_path / 'out')
    command('coding_rate')([*pair, images, '--out', out])
    assert {row['layer'] for row in numbers(tmp_path / 'out', 'coding_rate')} == {0, 1}
    command('attention_map')([*pair, images, '--out', out, '--layers', '1', '--query', 'class-token'])


def test_a_classifier_is_refused(tmp_path):
    pair = save_model(tmp_path, 'cbt/cbt_mini_imagenet.py')
    with pytest.raises(UserError, match='is a ImageClassifier, which paints nothing in: give a masked autoencoder'):
        command('reconstruction')([*pair, save_images(tmp_path / 'images', a=(64, 64)), '--out', str(tmp_path / 'o')])
