"""The explorer's page in a real browser: what it shows is what the model computed, and everybody can use it."""
import io
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import parse_qs

import numpy as np
import pytest
import torch
from PIL import Image

from mmwhitebox.apis import explore
from mmwhitebox.apis.inference import test_pipeline as pipeline_of
from mmwhitebox.explorer.process import KILLED
from mmwhitebox.interpret.attention_map import (
    attention_row,
    has_attention_map,
    has_representatives,
    representative_footprints,
)
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.membership import gate_maps, has_gate, has_membership, membership_maps
from mmwhitebox.interpret.patch_maps import patch_grid, patch_size
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.models.segmentors.alignment import covered_size

from .browser import CONFIGS, HOSTILE, Masks, Tab, chromium, save_scene, served, small_model

PLACE = (0.4, 0.55)
NOISE = dict(kind='noise', layer=1, scale=1.5, seed=0)


@pytest.fixture(scope='module')
def models():
    return {name: small_model(name) for name in CONFIGS}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes')
    save_scene(root / 'a.png')
    save_scene(root / 'b.png', 80, 80)
    return root


@pytest.fixture(scope='module')
def address(models, folder):
    with served(list(models.values()), folder, folder / 'a.png') as address:
        yield address


@pytest.fixture(scope='module')
def browser():
    with chromium('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream') as browser:
        yield browser


@pytest.fixture
def opened(browser, address):
    """Opens tabs; those are closed and had no error."""
    tabs = []

    def open_tab(state: str = '', to: str | None = None, **context) -> Tab:
        tabs.append(Tab(browser, to + f'#{state}' if to else address + of_one_model(state), **context))
        return tabs[-1].wait()

    yield open_tab
    for tab in tabs:
        tab.close()


def of_one_model(state: str) -> str:
    return f'#{state}' if 'models=' in state else f'#models=["0"]&{state}'


@pytest.fixture(scope='module')
def kept(browser, address):
    tab = Tab(browser, address).wait()
    yield tab
    tab.close()


@pytest.fixture
def visit(kept):
    """Shows in one tab, which all these tests share, what an address says; it had no error."""
    yield lambda state='': kept.show(of_one_model(state))
    kept.check()


class Look:
    """What interpret says of a model and a picture."""

    def __init__(self, model, path) -> None:
        self.model = model
        packed = pipeline_of(model.cfg)(str(path))
        batch = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
        self.tensor, self.size = batch['inputs'], tuple(packed['inputs'].shape[-2:])
        self.grid, self.patch = patch_grid(model, self.tensor.shape[-2:]), patch_size(model)
        self.layers = attention_layers(model)
        parents = {f'{name}/layer': model.get_submodule(name.rpartition('.')[0]) for name in self.layers}
        with torch.inference_mode(), capture({**self.layers, **parents}) as self.calls:
            features = model.extract_feat(self.tensor)
            self.logits = model.decode_head(features) if hasattr(model, 'decode_head') else model.head(features)

    def cell(self, x: float, y: float) -> int:
        """Index of the patch at a place of the picture."""
        row, column = int(y * self.size[0] // self.patch[0]), int(x * self.size[1] // self.patch[1])
        return row * self.grid[1] + column

    def patches(self, values) -> np.ndarray:
        """(K, N) without the extra tokens, as maps."""
        return values[..., -self.grid[0] * self.grid[1]:].unflatten(-1, self.grid).numpy()


def close(shown, expected) -> None:
    """Equal to the quantisation of 16 bits."""
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-3 * np.abs(expected).max() + 1e-9)


@pytest.mark.parametrize('number', range(len(CONFIGS)), ids=[name.split('/')[1] for name in CONFIGS])
def test_maps_are_those_of_interpret(number, models, folder, visit):
    look = Look(models[CONFIGS[number]], folder / 'a.png')
    tab = visit(f'models=["{number}"]&heads="all"&layer=99')
    tab.point(*PLACE, click=True)
    compared = set()
    for index, (name, layer) in reversed(list(enumerate(look.layers.items()))):
        tab.page.select_option('#layer', str(index))
        tab.settle()
        args = look.calls[name].args
        with torch.inference_mode():
            if has_attention_map(layer) and getattr(layer, 'updates_all_tokens', True):
                row = attention_row(layer, args, look.grid, 'patch', look.cell(*PLACE), look.calls[name].kwargs)
                close(tab.map('attention', look.grid), look.patches(row[0]))
                compared.add('attention')
            if has_representatives(layer):
                a = representative_footprints(layer, args)[0]
                main = a[..., a.shape[-1] - look.grid[0] * look.grid[1] + look.cell(*PLACE)].sum(0).argmax()
                close(tab.map('footprint', look.grid), look.patches(a[:, main]))
                compared.add('footprint')
            if has_membership(layer):
                close(tab.map('membership', look.grid), membership_maps(layer, args)[0])
                compared.add('membership')
                assigned = membership_maps(layer, args)[0].argmax(0).numpy()
                assert (tab.map('assignment', look.grid)[0] == assigned).mean() > 0.98  # but for ties
            if has_gate(layer):
                close(tab.map('gate', look.grid), gate_maps(layer, args)[0])
                compared.add('gate')
        if getattr(layer, 'updates_all_tokens', True):
            tokens = look.calls[f'{name}/layer'].output[0].double()
            own = tokens[len(tokens) - look.grid[0] * look.grid[1] + look.cell(*PLACE)]
            cosine = torch.cosine_similarity(own[None], tokens)
            np.testing.assert_allclose(tab.map('similarity', look.grid)[0], look.patches(cosine), atol=1e-3)
            compared.add('similarity')
    assert compared == [{'attention', 'footprint', 'similarity'}, {'attention', 'footprint', 'similarity'},
                        {'attention', 'similarity'}, {'membership', 'similarity'},
                        {'membership', 'gate', 'similarity'}][number]


def test_values_of_the_layer_strip_are_named_by_the_unit_of_their_layer(models, folder, visit):
    header = explore(models[CONFIGS[0]], folder / 'a.png').header
    named = {'gram': 'AᵀA'}
    units = {f'{layer["number"]} {layer["attention"]}': named.get(layer['maps']['attention']['form'], 'share')
             for layer in header['layers'] if layer['maps'].get('attention')}
    assert {*units.values()} == {'AᵀA', 'share'}
    tab = visit('strip="attention"')
    shown = {(row['map'], row['unit']) for row in tab.numbers('strip')}
    assert shown == set(units.items())
    assert 'share or AᵀA' in tab.figure('strip').locator('.bar').text_content()


def test_the_numbers_of_all_footprints_are_named_by_representative_and_patch(models, folder, visit):
    look = Look(models[CONFIGS[0]], folder / 'a.png')
    name, layer = next((name, layer) for name, layer in look.layers.items() if has_representatives(layer))
    tab = visit(f'layer={list(look.layers).index(name)}')
    rows = tab.numbers('footprints')
    with torch.inference_mode():
        maps = look.patches(representative_footprints(layer, look.calls[name].args)[0].mean(0))
    assert [(row['map'], int(row['row']), int(row['column'])) for row in rows] == [
        (f'no. {j}', *place) for j in range(len(maps)) for place in np.ndindex(look.grid)]
    close([float(row['value']) for row in rows], maps.ravel())


def test_probabilities_follow_the_cursor(models, folder, visit):
    look = Look(models[CONFIGS[0]], folder / 'a.png')
    tab = visit()
    height, width = look.size
    covered = covered_size(models[CONFIGS[0]].backbone, tuple(look.tensor.shape[-2:]))
    full = torch.nn.functional.interpolate(look.logits, covered, mode='bilinear',
                                           align_corners=models[CONFIGS[0]].align_corners).softmax(1)[0]
    for x, y in (PLACE, (0.9, 0.1)):
        tab.point(x, y)
        shown = np.array([float(row['probability']) for row in tab.numbers('probabilities')])
        near = full[:, max(0, int(y * height) - 1):int(y * height) + 2, max(0, int(x * width) - 1):int(x * width) + 2]
        best = (near.flatten(1) - torch.tensor(shown)[:, None]).abs().amax(0).min()
        assert best < 1e-4


def test_shares_of_classes_and_the_truth(models, folder, visit):
    found = explore(models[CONFIGS[0]], folder / 'a.png', ground_truth=Masks(folder / 'a.png').array)
    header, logits = found.header, torch.tensor(found.arrays['logits'])[None]
    height, width = header['image']['height'], header['image']['width']
    labels = torch.nn.functional.interpolate(logits, header['prediction']['covers'], mode='bilinear',
                                             align_corners=header['prediction']['align_corners'])
    labels = labels[0, :, :height, :width].argmax(0).numpy()
    truth = found.arrays['ground_truth']
    tab = visit()
    rows = tab.numbers('classes')
    shares = np.bincount(labels.ravel(), minlength=len(rows)) / labels.size
    np.testing.assert_allclose([float(row['share']) for row in rows], shares, atol=2e-3)
    for index in (0, 1):
        valid = truth != 255
        both = ((labels == index) & (truth == index) & valid).sum()
        either = (((labels == index) | (truth == index)) & valid).sum()
        assert float(rows[index]['IoU']) == pytest.approx(both / either, abs=3e-3)
    tab.page.get_by_label('Overlay').select_option('difference')
    tab.settle()
    right = ((labels == truth) & valid).sum() / valid.sum()
    said = re.search(r'([\d.]+) % of the labelled', tab.figure('picture').locator('.readout').inner_text())
    assert float(said[1]) == pytest.approx(100 * right, abs=0.3)


def test_rates_are_those_of_the_layers(models, folder, visit):
    header = explore(models[CONFIGS[1]], folder / 'a.png').header
    tab = visit('models=["1"]')
    rows = tab.numbers('curves')
    for row in rows:
        layer = header['layers'][int(row['layer'])]
        assert float(row['value']) == pytest.approx(layer['rates'][row['quantity']][row['stage']], rel=1e-6)
    assert {row['quantity'] for row in rows} >= {'compression', 'compression_normalized', 'expansion', 'sparsity'}


def test_a_disturbance_changes_the_answer_and_the_old_one_stays_behind(models, folder, visit):
    tab = visit('layer=1')
    before = tab.numbers('probabilities')
    tab.page.locator('#noise').fill(str(NOISE['scale']))
    tab.page.locator('#disturbances button').wait_for()
    tab.settle()
    assert tab.page.locator('#disturbances').inner_text().startswith('noise 1.5 on layer 1')
    base, disturbed = (explore(models[CONFIGS[0]], folder / 'a.png', items).header for items in ((), (NOISE, )))
    for row in tab.numbers('curves'):
        rates = [header['layers'][int(row['layer'])]['rates'][row['quantity']][row['stage']]
                 for header in (disturbed, base)]
        assert [float(row['value']), float(row['undisturbed'])] == pytest.approx(rates, rel=1e-6)
    after = tab.numbers('probabilities')
    assert [row['undisturbed'] for row in after] == [row['probability'] for row in before]
    assert [row['probability'] for row in after] != [row['probability'] for row in before]
    tab.page.get_by_role('button', name='Undisturbed').click()
    tab.settle()
    assert tab.numbers('probabilities') == before


@pytest.mark.parametrize('press, kind', [
    (lambda page: page.get_by_role('button', name='Head 1 off').click(), 'head 1 of layer 1 off'),
    (lambda page: page.locator('#skip').check(), 'layer 1 skipped'),
    (lambda page: page.locator('#contraction').select_option('softmax'), 'contraction of layer 1: softmax'),
], ids=['head', 'skip', 'contraction'])
def test_every_disturbance(press, kind, visit):
    tab = visit('layer=1')
    before = tab.numbers('probabilities')
    press(tab.page)
    tab.settle()
    assert kind in tab.page.locator('#disturbances').inner_text()
    after = tab.numbers('probabilities')  # in another order, where the likeliest class is another
    assert sorted(row['undisturbed'] for row in after) == sorted(row['probability'] for row in before)
    assert tab.page.locator('#error').is_hidden()


def test_patches_are_erased_by_the_brush(visit):
    tab = visit()
    before = tab.numbers('probabilities')
    tab.page.locator('#brush-size').select_option('3')
    tab.page.locator('#brush').click()
    tab.point(*PLACE, click=True)
    assert '9 patches erased' in tab.page.locator('#disturbances').inner_text()
    assert tab.numbers('probabilities') != before
    assert not tab.page.locator('#unpin').is_visible()  # the brush does not pin
    tab.page.locator('#restore').click()
    tab.settle()
    assert not tab.page.locator('#disturbances button').count()


def test_pins(models, folder, visit):
    look = Look(models[CONFIGS[0]], folder / 'a.png')
    tab = visit('layer=1')
    tab.point(*PLACE, click=True)
    pinned = tab.map('similarity', look.grid)
    tab.point(0.9, 0.1)
    np.testing.assert_array_equal(tab.map('similarity', look.grid), pinned)  # the cursor goes on, the query stays
    tab.page.locator('#compare').click()
    tab.point(0.9, 0.1, click=True)
    both = tab.map('similarity', look.grid)
    np.testing.assert_array_equal(both[:1], pinned)
    assert len(both) == 2 and not np.allclose(both[0], both[1])
    tab.page.locator('#unpin').click()
    tab.point(0.9, 0.1)
    np.testing.assert_array_equal(tab.map('similarity', look.grid), both[1:])


def test_layers_by_wheel_and_arrows(visit):
    tab = visit('layer=0')
    strip = tab.panel.locator('.strip')
    strip.hover()
    tab.page.mouse.wheel(0, 100)
    tab.settle()
    assert tab.page.locator('#layer').input_value() == '1'
    strip.focus()
    tab.page.keyboard.press('ArrowLeft')
    tab.settle()
    assert strip.get_attribute('aria-valuenow') == '0' and 'layer 0' in strip.get_attribute('aria-valuetext')


def test_a_class_as_the_query(models, folder, visit):
    look = Look(models[CONFIGS[0]], folder / 'a.png')
    name, layer = list(look.layers.items())[-1]
    tab = visit('layer=99&heads="all"')
    tab.figure('classes').get_by_text('more classes, not in').click()
    tab.figure('classes').get_by_role('button', name='building', exact=True).click()
    tab.settle()
    with torch.inference_mode():
        row = attention_row(layer, look.calls[name].args, look.grid, 'class', 1)
    tab.page.mouse.move(0, 0)
    close(tab.map('attention', look.grid), look.patches(row[0]))


def upload(tab: Tab, name: str, data: bytes) -> None:
    tab.page.locator('#open input').set_input_files(dict(name=name, mimeType='image/png', buffer=data))
    tab.page.locator('#progress').wait_for(state='hidden')


def picture_bytes(size=(70, 50)) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(stream, 'PNG')
    return stream.getvalue()


def test_an_upload_and_names_that_are_markup(opened):
    tab = opened()
    name = f'{HOSTILE}.png'
    upload(tab, name, picture_bytes())
    tab.page.get_by_role('heading', name=name).wait_for()
    assert tab.page.locator('#thumbnails button[aria-pressed=true]').inner_text() == name
    assert tab.panel.get_by_text(HOSTILE, exact=True).count()  # the class of that name
    assert tab.page.title() == 'mmwhitebox explorer' and not tab.page.locator('img[src=x]').count()


def test_what_is_no_picture_is_said_in_a_sentence(opened):
    tab = opened()
    upload(tab, 'broken.png', b'no picture')
    tab.page.locator('#error p').wait_for()
    assert re.fullmatch(r'[^\n]*broken\.png[^\n]*\.?', tab.page.locator('#error p').inner_text())
    tab.errors = [text for text in tab.errors if '415' not in text]  # the browser writes down the refused request
    tab.page.locator('#error button').click()
    assert tab.page.locator('#error').is_hidden()


@pytest.mark.parametrize('event', ['drop', pytest.param('paste', marks=pytest.mark.slow)])
def test_a_picture_that_is_dropped_or_pasted(event, opened):
    tab = opened()
    tab.page.evaluate('''([event, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'given.png', {type: 'image/png'}));
        document.dispatchEvent(event === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})
            : new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
    }''', [event, list(picture_bytes())])
    tab.page.get_by_role('heading', name='given.png').wait_for()


@pytest.mark.slow
def test_the_camera(opened):
    tab = opened(permissions=['camera'])
    tab.page.get_by_role('button', name='Camera').click()
    tab.page.get_by_role('button', name='Take the picture').click()
    tab.page.get_by_role('heading', name='camera.png').wait_for()


def test_the_exported_file_shows_the_same_numbers_without_a_server(opened, tmp_path):
    state = 'layer=1&pins=[{"x":0.4,"y":0.55}]&heads="all"'
    tab = opened(state)
    tab.page.locator('#noise').fill('1.5')
    tab.settle()
    names = ('attention', 'footprint', 'footprints', 'similarity', 'pca', 'curves', 'classes', 'probabilities')
    tab.page.mouse.move(0, 0)
    served_numbers = {name: tab.numbers(name) for name in names}
    with tab.page.expect_download() as download:
        tab.page.locator('#export').click()
    path = tmp_path / 'page.html'
    download.value.save_as(path)

    alone = opened(state, to=path.as_uri(), offline=True)
    for hidden in ('#export', '#what-if', '#bring'):
        assert alone.page.locator(hidden).is_hidden()
    alone.page.locator('#stored-choice').select_option(label='noise 1.5 on layer 1')
    alone.settle()
    alone.page.mouse.move(0, 0)
    for name in names:
        assert alone.numbers(name) == served_numbers[name], name


def test_a_notebook_shows_the_page(models, folder, browser):
    found = explore(models[CONFIGS[0]], folder / 'a.png')
    classes = dict(sky=dict(IoU=50., Acc=60.), sea=dict(Acc=7.))
    found.header['model']['facts']['metrics'] = dict(mIoU=41.5, classes=classes)
    page = browser.new_page()
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.set_content(found._repr_html_())
    page.frame_locator('iframe').locator('[data-figure=attention] canvas').first.wait_for()
    page.frame_locator('iframe').get_by_role('heading', name='a.png').wait_for()
    about = page.frame_locator('iframe').locator('.about')
    assert 'mIoU41.50' in about.text_content()
    assert [row.locator('th, td').all_text_contents() for row in about.locator('tr').all()] == [
        ['class', 'IoU', 'Acc'], ['sky', '50.00', '60.00'], ['sea', '–', '7.00']]
    page.close()
    assert not errors


def test_figures_are_saved_as_pictures(visit):
    tab = visit('layer=1')
    for name in ('picture', 'strip', 'curves', 'attention', 'footprints', 'classes', 'probabilities'):
        with Image.open(tab.saved(name, 'png')) as image:
            assert min(image.size) > 100 and len(image.convert('RGB').resize((64, 64)).getcolors(64 * 64)) > 5, name
        root = ET.parse(tab.saved(name, 'svg')).getroot()
        assert root.tag == '{http://www.w3.org/2000/svg}svg' and 'var(' not in ET.tostring(root, 'unicode')


def test_the_address_holds_what_is_seen(opened):
    tab = opened('layer=1')
    tab.point(*PLACE, click=True)
    tab.page.locator('#heads').select_option('1')
    tab.page.locator('#noise').fill('0.5')
    tab.settle()
    numbers = tab.numbers('attention')
    tab.page.wait_for_function("() => location.hash.includes('noise')")
    again = opened(tab.page.url.partition('#')[2])
    assert again.page.locator('#noise').input_value() == '0.5' and again.numbers('attention') == numbers


def test_the_address_holds_a_place_to_the_pixel(visit):
    x = 76 / 131  # to five digits it is larger, and another pixel
    tab = visit(f'pins=[{{"x":{x},"y":0.55}}]')
    tab.page.keyboard.press(']')
    tab.page.wait_for_function("() => location.hash.includes('layer')")
    pins = json.loads(parse_qs(tab.page.url.partition('#')[2])['pins'][0])
    assert pins == [dict(x=x, y=0.55)]


@pytest.mark.parametrize('state', [
    'layer="<b>"&pins=[1]&heads=-1&whatIf=[{"kind":"x"},null]&hidden="a"&opacity=9',
    pytest.param('layer=%&pins=[{"token":"none"}]', marks=pytest.mark.slow),
    'whatIf=[{"kind":"erase","grid":[1000,1000],"patches":[5]}]&heads=99&layer=99'])
def test_a_broken_address_does_no_harm(state, visit):
    tab = visit(state)
    assert tab.figure('picture').is_visible()


def test_a_picture_that_is_gone_is_said(visit):
    tab = visit('image="gone"')
    assert 'no longer here' in tab.page.locator('#error p').inner_text()


def test_disturbances_of_layers_that_no_model_has_are_left_out_and_said(visit):
    tab = visit('whatIf=[{"kind":"skip","layer":99},{"kind":"skip","layer":1}]')
    tab.page.locator('#error p').wait_for()
    assert 'layer 99 skipped' in tab.page.locator('#error p').inner_text()
    assert tab.page.locator('#disturbances li').all_inner_texts() == ['layer 1 skipped ×']


def test_of_a_picture_without_an_answer_no_other_figures_stay(opened):
    tab = opened('layer=1')
    tab.page.route('**/api/run', lambda route: route.fulfill(status=415, json=dict(error='b.png: it is cut off.')))
    tab.page.locator('#thumbnails button').nth(1).click()
    tab.page.locator('#error p').wait_for()
    assert tab.panel.locator('.columns').is_hidden()
    assert tab.panel.locator('.notes').inner_text() == 'b.png: it is cut off.'
    tab.page.unroute('**/api/run')
    tab.page.locator('#noise').wait_for(state='hidden')
    tab.page.locator('#thumbnails button').nth(0).click()
    tab.panel.locator('.columns').wait_for()
    assert tab.panel.locator('.notes').inner_text() != 'b.png: it is cut off.'
    tab.errors = [text for text in tab.errors if '415' not in text]


def test_why_a_run_waits_is_said_and_one_that_ends_the_process_twice_is_given_up(visit):
    tab = visit('layer=1')
    reasons = ['The model is still being loaded.', KILLED, 'The model is still being loaded.', KILLED, 'too much']
    asked = []

    def refuse(route) -> None:
        asked.append(reasons[len(asked)])
        route.fulfill(status=503, headers={'Retry-After': '0.1'}, json=dict(error=asked[-1]))

    tab.page.route('**/api/run', refuse)
    tab.page.evaluate('''() => {
        const said = document.querySelector('#progress span');
        window.told = [];
        new MutationObserver(() => told.push(said.textContent)).observe(said, {childList: true});
    }''')
    tab.page.locator('#noise').fill('1.4')  # which no other test asks for
    tab.page.locator('#error p').wait_for()
    told = tab.page.evaluate('told')
    assert [reason for text in told for reason in reasons[:2] if text.endswith(reason)] == reasons[:3]
    assert KILLED in tab.page.locator('#error p').inner_text() and asked == reasons[:4]
    assert tab.panel.locator('.columns').is_visible()  # of the same picture, undisturbed
    tab.page.unroute('**/api/run')
    tab.errors = [text for text in tab.errors if '503' not in text]


def test_models_side_by_side_have_one_cursor(models, folder, visit):
    tab = visit('models=["0","2"]')
    tab.point(0.9, 0.1)
    for i, name in enumerate((CONFIGS[0], CONFIGS[2])):
        look = Look(models[name], folder / 'a.png')
        row, column = divmod(look.cell(0.9, 0.1), look.grid[1])
        said = tab.page.locator('[data-figure=picture] .readout').nth(i).inner_text()
        assert said == f'Patch row {row}, column {column}.'
    tab.page.locator('#models button').nth(1).click()
    tab.page.locator('.panel').nth(2).locator('.columns').wait_for()


def test_everything_by_the_keyboard_alone(opened):
    tab = opened('layer=0')
    keys = tab.page.keyboard
    wanted = {'export', 'keys', 'theme', 'layer', 'query', 'noise', 'brush', 'stage', 'tiles strip', 'ask', 'png',
              'svg', 'csv'}
    for _ in range(120):
        keys.press('Tab')
        wanted.discard(tab.page.evaluate("() => document.activeElement.id || document.activeElement.className"))
        if not wanted:
            break
    assert not wanted
    keys.press('p')
    assert tab.page.evaluate("() => document.activeElement.className") == 'stage'
    keys.press('ArrowRight')
    tab.settle()
    first = tab.figure('picture').locator('.readout').inner_text()
    keys.press('ArrowDown')
    keys.press('Enter')
    tab.settle()
    assert tab.page.locator('#unpin').is_visible() and tab.figure('picture').locator('.readout').inner_text() != first
    keys.press(']')
    tab.settle()
    assert tab.page.locator('#layer').input_value() == '1'
    keys.press('e')
    keys.press('Enter')
    tab.settle()
    assert '1 patch erased' in tab.page.locator('#disturbances').inner_text()
    keys.press('u')
    tab.settle()
    assert not tab.page.locator('#disturbances button').count()
    keys.press('Escape')
    tab.settle()
    assert tab.page.locator('#unpin').is_hidden()
    keys.press('?')
    assert tab.page.get_by_role('dialog').is_visible()
    keys.press('Escape')
    tab.page.locator('#announcer', has_text=re.compile(r'^Layer 1, patch row \d+, column \d+, ')).wait_for()


def test_no_serious_barrier(visit):
    """In the light; in the dark the colours alone are others."""
    axe = pytest.importorskip('axe_playwright_python.sync_playwright', reason='axe-playwright-python is not installed')
    tab = visit('layer=1&heads="all"')
    tab.page.locator('#noise').fill('1')
    tab.figure('attention').locator('.ask').click()
    tab.settle()
    found = axe.Axe().run(tab.page).response['violations']
    tab.page.emulate_media(color_scheme='dark')
    found += axe.Axe().run(tab.page, options=dict(runOnly=['color-contrast'])).response['violations']
    tab.page.emulate_media(color_scheme='light')
    serious = [f'{item["id"]}: {item["nodes"][0]["html"][:200]}' for item in found
               if item['impact'] in ('serious', 'critical')]
    assert not serious, '\n'.join(serious)


@pytest.mark.parametrize('width', [390, pytest.param(3840, marks=pytest.mark.slow)])
def test_nothing_sticks_out(width, opened):
    tab = opened('layer=1&heads="all"', viewport=dict(width=width, height=900))
    assert tab.page.evaluate('() => document.documentElement.scrollWidth') <= width


def test_first_paint_and_hover_are_measured(visit, capsys):
    tab = visit('layer=1&heads="all"')
    paint = tab.page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    hover = tab.page.evaluate('''async () => {
        const canvas = document.querySelector('.stage canvas'), box = canvas.getBoundingClientRect(), times = [];
        for (let i = 0; i < 20; i++) {
            const start = performance.now();
            canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + (i + 1) * box.width / 22,
                clientY: box.top + (i * 7 % 20 + 1) * box.height / 22, bubbles: true}));
            await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[10];
    }''')
    with capsys.disabled():
        print(f'\nexplorer: first paint {paint:.0f} ms, hover {hover:.0f} ms (median)')
    assert paint < 5000 and hover < 1000  # a machine with a full load


@pytest.mark.slow
def test_requests_that_fail_are_said(browser, address):
    tab = Tab(browser, address + '#models=["0"]').wait()
    tab.context.set_offline(True)
    tab.page.locator('#thumbnails button').nth(1).click()
    tab.page.locator('#error p').wait_for()
    assert 'does not answer' in tab.page.locator('#error p').inner_text()
    tab.context.close()
