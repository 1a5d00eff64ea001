"""The report: one page that holds all it shows, says what the model is, and passes the answers on."""
import base64
import html
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.apis.array_container import unpack
from mmwhitebox.apis.export import default_size
from mmwhitebox.apis.page_budget import LIMIT
from mmwhitebox.cli import report_measures, report_model
from mmwhitebox.cli.report_body import Body
from mmwhitebox.errors import NotApplicableError, UserError
from mmwhitebox.interpret.complexity import count_flops
from mmwhitebox.models.access import Network
from tests.test_explorer.browser import HOSTILE, chromium
from tests.test_interpret.small import command, save_ade, save_images, save_model

NAME = 'cbt_decoder/cbt_decoder_mini_ade20k.py'
KINDS = {  # the sections of these that apply
    'cbt_decoder/cbt_decoder_mini_ade20k.py': {'rank'}, 'crate/crate_mini_imagenet.py': set(),
    'tost/tost_mini_imagenet.py': {'membership'},
    'segmenter/segmenter_linear_mini_ade20k.py': set()}


def sections(*tools):
    return [each for each in report_measures.SECTIONS if each.tool in tools]


def shown(page):
    """Ids of the parts of a page."""
    return re.findall('<h2 id="([^"]+)"', page)


def facts(page):
    """The lists of a page: name -> text."""
    return {name: html.unescape(value) for name, value in re.findall('<dt>(.*?)</dt><dd>(.*?)</dd>', page)}


def explored(page):
    """(header, arrays) of each image in the explorer of a page."""
    inner = html.unescape(re.search('srcdoc="([^"]*)"', page)[1])
    return [unpack(base64.b64decode(data)) for data in re.findall('id="run-[0-9]+"[^>]*>([^<]+)</script>', inner)]


def keep_validation(config, checkpoint):
    """What a training keeps: 60 pixels of the first class right, 20 taken for the second, whose 20 are right."""
    classes = [HOSTILE, *map(str, range(149))]
    saved = torch.load(checkpoint)
    saved['meta'] = dict(iter=7, time='20260131_180500')
    best = checkpoint.replace('.pth', '_best.pth')
    torch.save(saved, best)
    entry = dict(step=7, unit='iteration', path=best, scores=dict(aAcc=80., mIoU=62.5), confusion=dict(
        classes=classes, unit='pixels', cells=[0, 1, 152], counts=[60, 20, 20]))
    with open(f'{checkpoint.rpartition("/")[0]}/validation_classes.json', 'w') as file:
        json.dump(dict(best=dict(mIoU=entry)), file)
    return [config, best]


def test_one_self_contained_page(tmp_path, monkeypatch, capsys):
    data_root = save_ade(tmp_path / 'ade', a=(48, 64), b=(48, 64))
    images = save_images(tmp_path / 'photos', a=(48, 64), b=(64, 48))
    model = keep_validation(*save_model(tmp_path, NAME, data_root=data_root))
    monkeypatch.setattr(report_measures, 'SECTIONS',
                        [each for each in report_measures.SECTIONS if each.tool != 'synthetic'])
    out = tmp_path / 'report'
    assert command('report')([*model, images, '--out', str(out), '--device', 'cpu', '--background', 'wall']) == 0
    page = (out / 'report.html').read_text()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f'report: {out}/report.html ({len(page.encode()) / 1e6:.1f} MB)'
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 7 and all(base64.b64decode(p).startswith(b'\x89PNG') for p in pictures)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched
    assert HOSTILE not in page
    parts = ['model', 'accuracy', 'examples', 'explorer', 'coding_rate', 'rate_reduction', 'rank', 'attention_map',
             'zero_shot_segmentation', 'perturbation', 'subspaces']
    assert shown(page) == parts == re.findall('<a href="#([^"]+)"', page)
    assert re.findall('Not shown: (.*?) [(]', page) == ['Which subspace a token belongs to']
    assert 'Reduction of the coding rate in nats' in page and page.count('<details>') >= 4
    assert 'Jaccard index by the best head' in page and (out / 'zero_shot_segmentation' / 'zero_shot.json').is_file()
    known = facts(page)
    assert known['Trained'] == 'iteration 7, 2026-01-31 18:05' and known['mIoU'] == '62.50'
    rows = re.findall('<tr><th scope="row">(.*?)</th>((?:<td>.*?</td>)+)</tr>', page)
    columns = re.findall('<th scope="col">(.*?)</th>', page)[1:]
    table = {html.unescape(label): dict(zip(columns, re.findall('<td>(.*?)</td>', cells))) for label, cells in rows}
    assert {label: row['IoU'] for label, row in table.items()} == {HOSTILE: '75.00', '0': '50.00'}
    assert '2 classes of 150, the others do not occur' in page
    assert str(tmp_path) not in page.split('id="coding_rate"')[0]  # of the folders of this computer nothing is said
    assert [header['image']['name'] for header, _ in explored(page)] == ['a.jpg', 'b.jpg']


@pytest.mark.parametrize('name', KINDS)
def test_the_model_of_each_kind(tmp_path, monkeypatch, name):
    monkeypatch.setattr(report_measures, 'SECTIONS', sections('rank', 'membership'))
    config, checkpoint = save_model(tmp_path, name)
    images = save_images(tmp_path / 'photos', a=(64, 80))
    assert command('report')([config, checkpoint, images, '--out', str(tmp_path / 'out'), '--device', 'cpu']) == 0
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert set(shown(page)) == {'model', 'examples', 'explorer', *KINDS[name]}  # nothing was scored
    model = init_model(config, checkpoint, 'cpu')
    parameters = sum(value.numel() for value in torch.load(checkpoint)['state_dict'].values()) - sum(
        buffer.numel() for key, buffer in model.named_buffers() if key in model.state_dict())
    flops = count_flops(Network(model), torch.zeros(1, 3, *default_size(model.cfg)))
    known = facts(page)
    assert f'({parameters:,})' in known['Parameters'] and f'({flops:,})' in known['FLOPs']
    result = inference_model(model, f'{images}/a.jpg')
    if 'decode_head' in model.cfg.model:
        label = np.bincount(result.mask.ravel()).argmax()
        share = (result.mask == label).mean()
        assert f'</i>{result.class_names[label]} {share:.1%}</span>' in page
    else:
        assert [f'{label}: {score:.1%}' for label, score in result.top()] == re.findall('<li>(.*?)</li>', page)
    (header, arrays), = explored(page)
    with Image.open(f'{images}/a.jpg') as file:
        assert header['image']['original'] == list(file.size)
    assert header['model']['facts']['parameters'] == parameters and header['layers']


@pytest.mark.slow
def test_scores_of_the_test_set(tmp_path, monkeypatch):
    data_root = save_ade(tmp_path / 'ade', a=(48, 64), b=(48, 64))
    monkeypatch.setattr(report_measures, 'SECTIONS', [])
    model = save_model(tmp_path, NAME, data_root=data_root)
    assert command('report')([*model, '--out', str(tmp_path / 'out'), '--device', 'cpu', '--test']) == 0
    page = (tmp_path / 'out' / 'report.html').read_text()
    loaded = init_model(*model, 'cpu')
    masks = np.stack([inference_model(loaded, f'{data_root}/images/validation/{name}.jpg').mask for name in 'ab'])
    truth = np.zeros(masks.shape)
    truth[..., 32:] = 1
    assert facts(page)['aAcc'] == f'{100 * (masks == truth).mean():.2f}'
    iou = [((masks == label) & (truth == label)).sum() / ((masks == label) | (truth == label)).sum()
           for label in (0, 1)]
    assert [f'<th scope="row">{name}</th><td>{100 * value:.2f}</td>' in page
            for name, value in zip(('wall', 'building'), iou)] == [True, True]
    assert page.count('<p>ground truth</p>') == 2


def test_a_missing_checkpoint_ends_at_once(tmp_path):
    config, _ = save_model(tmp_path, NAME)
    with pytest.raises(UserError, match='none.pth does not exist'):
        command('report')([config, str(tmp_path / 'none.pth'), '--out', str(tmp_path / 'report')])


def test_what_is_no_image_ends_at_once(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.txt').write_text('not an image')
    for images, message in (('empty', 'no image there'), ('notes.txt', 'a text file'), ('none', 'no image there')):
        with pytest.raises(UserError, match=message):
            command('report')(['config.py', 'none.pth', str(tmp_path / images), '--out', str(tmp_path / 'report')])
    assert not (tmp_path / 'report').exists()


def test_a_section_that_fails_is_a_failure(tmp_path, monkeypatch, capsys):
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8\xff')
    model = save_model(tmp_path, NAME)
    monkeypatch.setattr(report_measures, 'SECTIONS', sections('coding_rate', 'membership'))
    argv = [*model, str(tmp_path / 'broken.jpg'), '--out', str(tmp_path / 'report'), '--device', 'cpu']
    assert command('report')(argv) == 1
    page = (tmp_path / 'report' / 'report.html').read_text()
    assert shown(page) == ['model', 'examples', 'explorer', 'coding_rate'] and page.count('Failed: ') == 3
    assert 'coding_rate: ' in capsys.readouterr().err


def test_what_does_not_apply_has_no_heading():
    body = Body()
    errors = dict(a=NotApplicableError('Not this <model>. Use another.'), b=UserError('Broken <file>.'))
    for name, error in errors.items():
        def fail(error=error):
            raise error
        body.add(name, f'Part <{name}>', fail)
    body.add('c', 'Empty', str)
    assert shown(body.html()) == ['b'] and list(body.links) == ['b'] and body.failed == ['b: Broken <file>.']
    assert 'Not shown: Part &lt;a&gt; (Not this &lt;model&gt;).' in body.html() and '<file>' not in body.html()


@pytest.mark.parametrize('number, text', [
    (12, '12'), (999, '999'), (1000, '1 k'), (266244, '266 k'), (999600, '1 M'), (2243262, '2.24 M')])
def test_large_numbers_have_three_digits(number, text):
    assert report_model.amount(number) == text
    assert report_model.amount(number * 10**6, 'FLOPs').endswith('FLOPs')


def test_figures_that_do_not_fit_are_counted(tmp_path):
    paths = [tmp_path / 'rank' / f'{i}.png' for i in range(4)]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(bytes(300))  # 400 characters
    shown, used = report_measures.figures(paths, 900)
    assert shown.count('<img ') == 2 and 800 < used <= 900 and '2 more are in the folder rank' in shown
    assert report_measures.figures(paths, 2000)[0].count('<img ') == 4


def test_the_explorer_takes_as_many_images_as_fit(monkeypatch):
    def page(explorations):
        if sum(explorations) > LIMIT:
            raise UserError('too much')
        return str(len(explorations))

    monkeypatch.setattr(report_model, 'explorer_page', page)
    assert report_model.fitting_page([LIMIT // 2, LIMIT // 3]) == '2'
    assert report_model.fitting_page([LIMIT // 2, LIMIT]) == '1'
    with pytest.raises(UserError, match='too much'):
        report_model.fitting_page([LIMIT + 1, 1])


def test_in_a_browser(tmp_path, monkeypatch):
    monkeypatch.setattr(report_measures, 'SECTIONS', sections('subspaces'))
    images = save_images(tmp_path / 'photos', a=(64, 80))
    model = keep_validation(*save_model(tmp_path, NAME, type='BaseSegDataset', metainfo=dict(
        classes=[HOSTILE] * 150, palette=[[0, 0, 0]] * 150), reduce_zero_label=True))
    with chromium() as browser:
        assert command('report')([*model, images, '--out', str(tmp_path / 'out'), '--device', 'cpu']) == 0
        page = browser.new_page(viewport=dict(width=390, height=800))
        said = []
        page.on('pageerror', lambda error: said.append(error.message))
        page.on('console', lambda message: said.append(message.text))
        page.goto(f'file://{tmp_path}/out/report.html')
        frame = page.frame_locator('iframe')
        frame.locator('.panel canvas').first.wait_for()
        assert frame.locator('.panel h2').inner_text() == 'cbt_decoder_mini_ade20k'
        assert page.locator('th', has_text=HOSTILE).count() == page.locator('.legend', has_text=HOSTILE).count() == 1
        assert page.title() != '1' and not said
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
