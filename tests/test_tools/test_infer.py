"""tools/infer.py: where its outputs go, videos, what it refuses at once."""
import runpy
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.configs import ROOT
from tests.test_interpret.small import save_images, save_model


@pytest.fixture
def infer(tmp_path, monkeypatch):
    """A function that runs the tool on a small segmentor; returns its status or message."""
    model = []

    def run(*args, name='segmenter/segmenter_linear_mini_ade20k.py'):
        model[:] = model or save_model(tmp_path, name)
        monkeypatch.setattr(sys, 'argv', ['infer.py', *model, *map(str, args), '--out', str(tmp_path / 'out')])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(ROOT / 'tools' / 'infer.py'), run_name='__main__')
        return done.value.code

    return run


def save_video(path, colours, size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 5, size)
    for colour in colours:
        writer.write(np.full((*size[::-1], 3), colour, np.uint8))
    writer.release()
    return path


def test_images_of_one_name_in_several_folders_and_kinds(infer, tmp_path):
    for place in ('east', 'west'):
        save_images(tmp_path / 'photos' / place, a=(40, 60))
    Image.open(tmp_path / 'photos' / 'east' / 'a.jpg').save(tmp_path / 'photos' / 'east' / 'a.png')
    (tmp_path / 'photos' / 'west' / 'broken.jpg').write_bytes(b'\0')
    assert infer(tmp_path / 'photos') == 1  # one is broken
    for folder, suffix in (('labels', 'png'), ('overlays', 'jpg')):
        out = tmp_path / 'out' / folder
        found = sorted(path.relative_to(out).as_posix() for path in out.rglob(f'*.{suffix}'))
        assert found == [f'east/a.{suffix}', f'east/a_2.{suffix}', f'west/a.{suffix}']


def test_a_video(infer, tmp_path, capsys):
    video = save_video(tmp_path / 'drive.mp4', (0, 100, 200))
    assert infer(video) == 0
    labels = sorted((tmp_path / 'out' / 'labels' / 'drive').iterdir())
    assert [path.name for path in labels] == ['000000.png', '000001.png', '000002.png']
    assert Image.open(labels[0]).size == (64, 48)
    film = cv2.VideoCapture(str(tmp_path / 'out' / 'overlays' / 'drive.mp4'))
    assert (film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)) == (3, 5)
    assert '3 of 3 images segmented' in capsys.readouterr().out


def test_a_video_and_an_image_are_classified(infer, tmp_path):
    video = save_video(tmp_path / 'drive.mp4', (0, 100))
    photos = save_images(tmp_path / 'photos', a=(40, 60))
    assert infer(video, photos, name='cbt/cbt_mini_imagenet.py') == 0
    rows = [line.split(',')[0] for line in (tmp_path / 'out' / 'predictions.csv').read_text().splitlines()[1:]]
    assert list(dict.fromkeys(rows)) == [f'{photos}/a.jpg', f'{video}#0', f'{video}#1']


def test_what_is_no_image_is_refused_at_once(infer, tmp_path, capsys):
    (tmp_path / 'notes.txt').write_text('Grüße\n' * 300)
    assert infer(tmp_path / 'notes.txt') == f'error: {tmp_path}/notes.txt: this is a text file, no image.'
    (tmp_path / 'film.mp4').write_bytes(b'\0\1\2')
    assert infer(tmp_path / 'film.mp4') == 1
    assert 'film.mp4: OpenCV cannot read this video' in capsys.readouterr().err
    assert infer(tmp_path / 'film.mp4', '--device', 'cuda:7').startswith('error: --device cuda:7: ')
    assert infer(tmp_path / 'film.mp4', '--device', 'gpu').startswith('error: --device gpu: ')
