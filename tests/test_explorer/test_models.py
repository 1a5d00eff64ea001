"""What the process of the models does, with small models."""
import io
import json
import re
import tempfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from PIL import Image

from mmwhitebox.apis import init_model
from mmwhitebox.apis.array_container import unpack
from mmwhitebox.apis.explore import explore
from mmwhitebox.apis.model_facts import describe_model
from mmwhitebox.errors import CheckpointError, ImageReadError, UserError
from mmwhitebox.explorer import memory, process
from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.models import Models
from mmwhitebox.explorer.runs import Asked
from mmwhitebox.models.optimization import MARK
from tests.configs import reduced
from tests.test_interpret.small import save_ade, save_config, save_model
from tests.test_tools.test_hostile_checkpoint import Hostile

from .conftest import explorer, run, save
from .stand_in import held_models


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Two small models and the data of one."""
    folder = tmp_path_factory.mktemp('models')
    ade = save_ade(folder / 'data', a=(64, 80), b=(80, 64))
    return SimpleNamespace(folder=folder, sources=[
        tuple(save_model(folder, 'cbt_decoder_mini_ade20k.py', data_root=ade)),
        tuple(save_model(folder, 'cbt_mini_imagenet.py', data_root=str(folder / 'gone')))])


@pytest.fixture(scope='module')
def models(place):
    """Both, loaded."""
    models = Models(place.sources, 'cpu')
    models.found = [models.load(number) for number in range(2)]
    return models


def asked(models, what_if=(), number=0, model=0) -> Asked:
    """A run on a sample."""
    return Asked(model, 'f0', 'below/a.jpg', models.found[0]['samples'][number], what_if)


def test_what_a_loaded_model_says_of_itself(models, place):
    found = models.found[0]
    assert found['facts'] == describe_model(init_model(*place.sources[0], 'cpu'))
    assert found['masks'] == found['samples'] and len(found['samples']) == 2
    elsewhere = str(place.folder / 'data/none.jpg')
    assert models.load(0, [elsewhere, found['samples'][1]])['masks'] == [found['samples'][1], *found['samples']]
    assert json.dumps(found) and models.found[1]['masks'] == models.found[1]['samples'] == []


def test_a_run_is_that_of_the_python_interface_with_its_ids_and_ground_truth(models, place):
    header, arrays = unpack(models.explore(asked(models)))
    assert (header['model']['id'], header['image']['id'], header['image']['name']) == ('0', 'f0', 'below/a.jpg')
    for number, found in enumerate(models.found):  # not those of its equal for inference, which has fewer parameters
        told = models.exploration(asked(models, model=number)).header['model']
        assert told == {**found['facts'], 'id': str(number)}
    run, loaded = models.exploration(asked(models)), models.load(0)
    run.header['model']['facts']['metrics'] = loaded['facts']['facts']['version'] = 'changed'
    assert 'changed' not in str(models.exploration(asked(models)).header['model'])
    assert any(key.endswith(MARK) for key in models.loaded[0][0].state_dict())
    assert set(np.unique(arrays[header['ground_truth']])) == {0, 1}
    expected = explore(init_model(*place.sources[0], 'cpu'), asked(models).image)
    assert expected.header['ground_truth'] is None
    names = [layer['tokens'] for layer in header['layers']]
    assert names and all(np.abs(arrays[name] - expected.arrays[name]).max() <= 2e-4 * np.abs(arrays[name]).max()
                         for name in names)


def test_a_disturbance_changes_the_answer_and_leaves_the_model_as_it_was(models):
    plain = models.explore(asked(models))
    header, _ = unpack(models.explore(asked(models, [dict(kind='skip', layer=0)])))
    assert header['what_if'][0]['kind'] == 'skip'
    assert models.explore(asked(models)) == plain


def test_a_classifier_sees_the_same_picture(models):
    header, _ = unpack(models.explore(asked(models, model=1)))
    assert header['prediction']['kind'] == 'classification' and header['ground_truth'] is None


def test_an_upload_is_seen_as_the_file(models, tmp_path):
    data = (tmp_path / 'x.png')
    Image.open(asked(models).image).save(data)
    header, arrays = unpack(models.explore(Asked(0, 'u0', '<b>.png', data.read_bytes())))
    same, others = unpack(models.explore(asked(models)))
    assert header['image']['name'] == '<b>.png' and header['ground_truth'] is None
    assert np.array_equal(arrays['image'], others['image'])


def test_a_mask_that_does_not_fit_costs_the_ground_truth_and_not_the_run(models, tmp_path):
    image = save(tmp_path / 'a.png', (40, 30))
    (tmp_path / 'annotations').mkdir()
    Image.fromarray(np.ones((3, 3), np.uint8)).save(tmp_path / 'annotations' / 'a.png')
    header, _ = unpack(models.explore(Asked(0, 'f1', 'a.png', str(image))))
    assert header['ground_truth'] is None and 'no ground truth' in header['notes'][-1]


def test_an_error_names_the_image_as_people_do(models, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'nothing')
    with pytest.raises(UserError) as told:
        models.explore(Asked(0, 'f1', 'below/a.png', str(tmp_path / 'a.png')))
    assert 'below/a.png' in str(told.value) and str(tmp_path) not in str(told.value)


def test_an_upload_that_the_model_cannot_take_is_named_without_a_path_of_the_server(models):
    class Unequal(BaseTransform):
        def transform(self, results):
            raise cv2.error('bad size')

    pipeline = models.loaded[0][0].test_pipeline
    picture = io.BytesIO()
    Image.new('RGB', (64, 64)).save(picture, 'PNG')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, 'transforms', [pipeline.transforms[0], Unequal(), *pipeline.transforms[1:]])
        with pytest.raises(ImageReadError) as told:
            models.explore(Asked(0, 'u1', 'holiday.png', picture.getvalue()))
    said = str(told.value)
    assert said.startswith('holiday.png: Unequal of the test pipeline cannot take an image of 64 x 64 pixels')
    assert tempfile.gettempdir() not in said and 'bytes' not in said
    with pytest.raises(ImageReadError, match='^holiday.png: cannot read this image') as told:
        models.explore(Asked(0, 'u1', 'holiday.png', b'nothing'))
    assert tempfile.gettempdir() not in str(told.value)


@pytest.mark.parametrize('what_if', [
    [dict(kind='noise', layer=99, scale=1, seed=0)], [dict(kind='magic')], [dict()],
    [dict(kind='erase', patches=[10**9])], [dict(kind='head', layer=0, head=-1)],
    [dict(kind='noise', layer='0', scale='x', seed=None)],
    [dict(kind='contraction', layer=0, value='exp')], [dict(kind='skip', layer=True, extra=1)]])
def test_disturbances_that_the_model_does_not_have_are_refused_in_a_line(models, monkeypatch, what_if):
    monkeypatch.setattr(process, '_work', models)
    done = process._do('explore', (asked(models, what_if), ))
    assert done.status == 422 and '\n' not in done.result


def test_the_page_of_several_runs_holds_them_all(models):
    text = models.page([asked(models, number=number, model=model) for number in (0, 1) for model in (0, 1)]).decode()
    assert len(re.findall(r'<script[^>]+ id="run-\d"', text)) == 4 and text.startswith('<!DOCTYPE html>')


def test_checkpoints_that_do_not_fit_are_told(models, place):
    swapped = Models([(place.sources[0][0], place.sources[1][1])], 'cuda:99')
    with pytest.raises(UserError, match='cuda:99'):
        swapped.load(0)
    swapped.device = 'cpu'
    with pytest.raises(CheckpointError):
        swapped.load(0)


def test_a_checkpoint_that_would_run_code_is_refused_unless_it_is_trusted(place, tmp_path):
    torch.save(dict(state_dict={}, extra=Hostile(tmp_path / 'victim')), tmp_path / 'hostile.pth')
    source = (place.sources[0][0], str(tmp_path / 'hostile.pth'))
    with pytest.raises(CheckpointError, match='was refused'):
        Models([source], 'cpu').load(0)
    assert not (tmp_path / 'victim').exists()
    with pytest.raises(CheckpointError, match='not of this model'):
        Models([source], 'cpu', trust_checkpoint=True).load(0)
    assert (tmp_path / 'victim').exists()


class Greedy:
    """A model that takes more memory than there is."""

    def explore(self, asked):
        return torch.empty(2**45)


def test_want_of_memory_is_told_as_such(monkeypatch):
    monkeypatch.setattr(process, '_work', Greedy())
    assert process._do('explore', (None, ))[0] == 507


def test_the_memory_of_the_process_is_limited_to_what_is_free():
    assert 0 < memory.free_memory() < 2**50


@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
def test_images_of_many_bands_are_shown(tmp_path):
    import tifffile

    array = np.random.default_rng(0).integers(0, 4000, (30, 40, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / 'x.tif', array, photometric='minisblack', planarconfig='contig')
    pictures = Pictures([tmp_path / 'x.tif'], tmp_path)
    data = (tmp_path / 'x.tif').read_bytes()
    with pytest.raises(UserError, match='x.tif: this is no image'):
        pictures.thumbnail(next(iter(pictures.listed)))
    pictures.learn([], [], dict(channels=5, display=[1, 2, 3], channel_axis=None, value_range=None))
    assert pictures.thumbnail(next(iter(pictures.listed)))[:2] == b'\xff\xd8'
    assert pictures.upload(data).size == (40, 30)
    for broken in (data[:300], b'II*\0' + b'\xff' * 20, b'text'):
        with pytest.raises(UserError, match='^image: '):
            pictures.upload(broken)


@pytest.mark.slow
def test_a_picture_that_needs_more_memory_than_there_is_ends_in_a_sentence(place, tmp_path):
    """The next picture is answered by the same process."""
    cfg = reduced('cbt_decoder_mini_ade20k.py')
    cfg.test_dataloader.dataset.pipeline = [
        step for step in cfg.test_dataloader.dataset.pipeline if step['type'] != 'Resize']
    source = tuple(save_config(tmp_path, 'unresized.py', cfg))
    Image.new('RGB', (3000, 3000)).save(tmp_path / 'large.png')
    pictures = Pictures([save(tmp_path / 'small.png', (64, 64)), tmp_path / 'large.png'], tmp_path)
    with explorer(pictures, factory=held_models, args=([source], 2**28)) as client:
        small, large = pictures.listed
        pid = client.jobs.home.process.pid
        answer = run(client, large)
        assert answer.status_code == 507 and 'memory' in answer.json()['error'], answer.text
        assert run(client, small).status_code == 200 and client.jobs.home.process.pid == pid
