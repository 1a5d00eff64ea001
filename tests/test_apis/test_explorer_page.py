"""The explorer as one file: a program that its own policy lets run, data that nothing breaks out of, a size."""
import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mmwhitebox.apis import explore, explorer_page, init_model
from mmwhitebox.apis.array_container import ArrayBook, unpack
from mmwhitebox.apis.exploration import Exploration
from mmwhitebox.apis.page_budget import LIMIT, fitting
from mmwhitebox.errors import UserError, WriteError

EVIL = '</script><script>alert(1)</script><!--"\'&amp;'


class Tags(HTMLParser):
    """Elements of a page with what is between their tags."""

    def __init__(self, text):
        super().__init__(convert_charrefs=False)
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        self.found.append(('', {}, []))

    def handle_data(self, data):
        if self.found:
            self.found[-1][2].append(data)

    def of(self, tag):
        return [(attributes, ''.join(text)) for name, attributes, text in self.found if name == tag]


def layer(number, part, book, tokens, forms, rng):
    """A layer of random arrays, (name, shape) each."""
    maps = {}
    for key, shape in forms.items():
        maps[key] = book.add(f'layer{number}.{key}', rng.random(shape, dtype=np.float32), 1)
    form = 'gram' if 'a' in maps else 'softmax'
    return dict(number=number, part=part, extra=[], tokens=book.add(f'layer{number}.tokens', rng.random(
        tokens, dtype=np.float32), 1), maps=dict(attention=dict(form=form, **maps)),
        pca=book.add(f'layer{number}.pca', rng.random((tokens[0], 3), dtype=np.float32)))


def exploration(name='model', image='image', layers=4, tokens=(65, 16), forms=None, what_if=(), key='0'):
    book, rng = ArrayBook(), np.random.default_rng(0)
    book.add('image', np.zeros((4, 6, 3), np.uint8))
    book.add('logits', rng.random((5, 8, 8), dtype=np.float32), 1)
    described = [layer(i, 'encoder' if i < layers - 2 else 'decoder', book, tokens, forms or dict(a=(2, 4, 65)), rng)
                 for i in range(layers)]
    return Exploration(dict(model=dict(name=name, classes=[EVIL], facts=dict(checkpoint=None)),
                            image=dict(name=image, key=key, original=[6, 4]), grid=[8, 8], layers=described,
                            what_if=list(what_if), notes=[]), book.arrays, book.group_axes)


@pytest.fixture
def static(tmp_path, monkeypatch):
    files = {
        'index.html': '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>t</title>\n'
                      '<link rel="stylesheet" href="static/style.css">\n'
                      '<script type="module" src="static/main.js"></script>\n</head>\n<body></body>\n</html>\n',
        'style.css': 'body { color: red; }\n',
        'main.js': "import {one} from './a.js';\nimport {\n  two,\n} from './b.js';\nimport './c.js';\n\none(two);\n",
        'a.js': "import {two, THREE} from './b.js';\n\nexport function one() { return two + THREE; }\n"
                "const text = 'export const x';\n",
        'b.js': "export const two = 2;\nexport let THREE = 3;\nexport async function four() {}\nexport class Five {}\n",
        'c.js': 'globalThis.ready = true;\n'}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(explorer_page, 'STATIC', tmp_path)


def test_modules_are_joined_in_the_order_of_their_needs(static):
    assert explorer_page.joined_modules('main.js') == '\n'.join([
        'const two = 2;\nlet THREE = 3;\nasync function four() {}\nclass Five {}\n',
        "\nfunction one() { return two + THREE; }\nconst text = 'export const x';\n",
        'globalThis.ready = true;\n', '\none(two);\n'])


def test_the_policy_lets_this_program_and_this_style_run_and_nothing_else(static):
    tags = Tags(explorer_page.page([exploration()]))
    (policy, ), = [[a['content'] for a, _ in tags.of('meta') if a.get('http-equiv') == 'Content-Security-Policy']]
    directives = dict(part.strip().split(' ', 1) for part in policy.split(';'))
    assert directives['default-src'] == "'none'" and directives['img-src'] == 'data: blob:'

    def hashed(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (attributes, program), = [item for item in tags.of('script') if item[0]['type'] == 'module']
    assert attributes == dict(type='module') and directives['script-src'] == hashed(program)
    assert directives['style-src'] == hashed(tags.of('style')[0][1]) and not tags.of('link')
    names = [name for name, *_ in tags.found if name]
    assert names[:names.index('title')] == ['html', 'head', 'meta', 'meta']  # the policy before anything is loaded


def test_data_are_blocks_that_say_of_which_model_and_image_they_are(static):
    noise = dict(kind='noise', layer=0, scale=1, seed=0)
    runs = [exploration(), exploration(what_if=[noise]), exploration(image='b'), exploration('other'),
            exploration(key='1')]
    blocks = [item for item in Tags(explorer_page.page(runs)).of('script') if item[0]['type'] != 'module']
    assert [a['id'] for a, _ in blocks] == [f'run-{i}' for i in range(5)]
    assert {a['type'] for a, _ in blocks} == {'application/octet-stream'}
    assert [(a['data-model'], a['data-image']) for a, _ in blocks] == [
        ('0', '0'), ('0', '0'), ('0', '1'), ('1', '0'), ('0', '2')]
    for run, (_, text) in zip(runs, blocks):
        assert base64.b64decode(text, validate=True) == run.to_bytes()


def test_no_name_breaks_out(static):
    text = explorer_page.page([exploration(EVIL, EVIL)])
    assert 'alert' not in text and text.count('<script') == text.count('</script') == 2
    header, _ = unpack(base64.b64decode(Tags(text).of('script')[0][1]))
    assert header['image']['name'] == header['model']['name'] == header['model']['classes'][0] == EVIL
    framed = exploration(EVIL, EVIL)._repr_html_()
    (attributes, _), = Tags(framed).of('iframe')
    assert attributes['srcdoc'] == text and attributes['sandbox'] == 'allow-scripts allow-downloads'


def test_saving(static, tmp_path):
    found = exploration()
    path = found.save(tmp_path / 'new' / 'page.html')
    assert path.read_text() == explorer_page.page([found])
    (tmp_path / 'file').write_text('')
    with pytest.raises(WriteError, match='file/page.html cannot be written'):
        found.save(tmp_path / 'file' / 'page.html')
    with pytest.raises(UserError, match='page.png: the page is a file NAME.html'):
        found.save(tmp_path / 'page.png')


def length(blocks):
    return sum(len(base64.b64encode(block)) for block in blocks)


def test_what_does_not_fit_is_left_out_in_order_and_said():
    found = exploration()
    sizes = {bits: length([found.to_bytes(bits)]) for bits in (16, 8)}
    assert fitting([found], sizes[16]) == [found.to_bytes()]
    header, arrays = unpack(fitting([found], sizes[16] - 1)[0])
    assert header['arrays']['layer0.a']['dtype'] == 'u1' and header['arrays']['logits']['dtype'] == 'u2'
    assert header['notes'] == ['So that this page is not too large, the numbers of its layers have 8 bits.']
    previous, seen = None, []
    for limit in range(sizes[8] + 200, 0, -500):
        try:
            block, = fitting([found], limit)
        except UserError as error:
            assert re.search(r'would have 0.0 MB.*choose fewer images or models', str(error))
            break
        assert length([block]) <= limit
        header, arrays = unpack(block)
        assert set(arrays) == set(header['arrays']) and {'image', 'logits', 'layer0.pca', 'layer3.pca'} <= set(arrays)
        state = tuple(entry['tokens'] is not None for entry in header['layers']), tuple(
            'attention' in entry['maps'] for entry in header['layers'])
        for entry in header['layers']:
            assert (entry['tokens'] is not None) == (f'layer{entry["number"]}.tokens' in arrays)
            assert ('attention' in entry['maps']) == (f'layer{entry["number"]}.a' in arrays)
        if state != previous:
            seen.append(state)
            previous = state
    # inner layers first, from the first on; layer 1 is the last of the encoder, layer 3 of the decoder
    assert seen[-1] == ((False, ) * 4, (False, ) * 4) and seen[0] == ((True, ) * 4, (True, ) * 4)
    order = [[i for part in state for i, there in enumerate(part) if not there] for state in seen]
    full = [0, 2, 1, 3]
    assert all(sorted(gone[:4]) == sorted(full[:len(gone)]) for gone in order if len(gone) <= 4)
    assert header['notes'] == ['So that this page is not too large, the numbers of its layers have 8 bits, and the '
                               'tokens of layers 0, 1, 2, 3 and the attention maps of layers 0, 1, 2, 3 are left out.']
    assert found.header['notes'] == [] and found.header['layers'][0]['tokens'] == 'layer0.tokens'  # itself untouched


def test_two_models_lose_the_same():
    runs = [exploration(), exploration('b')]
    headers = [unpack(block)[0] for block in fitting(runs, length([run.to_bytes(8) for run in runs]) - 1500)]
    assert [[entry['tokens'] is None for entry in header['layers']] for header in headers] == [[True] + 3 * [False]] * 2


N = 1025  # 512 x 512 pixels, patches of 16, a class token


@pytest.mark.parametrize('tokens, forms, bits, kept', [
    ((N, 384), dict(a=(6, 64, N)), 8, 12), ((N, 384), dict(q=(6, N, 64), k=(6, N, 64)), 8, 12),
    ((N, 192), dict(a=(3, 64, N)), 16, 12),
    pytest.param((N, 768), dict(a=(12, 64, N)), 8, 11, marks=pytest.mark.slow),
], ids=['CBT-S', 'ViT-S', 'CBT-T', 'CBT-B'])
def test_a_picture_of_512_pixels_and_12_layers_fits(static, tokens, forms, bits, kept):
    found = exploration(layers=12, tokens=tokens, forms=forms)
    text = explorer_page.page([found])
    assert len(text) <= LIMIT == 25_000_000
    header, arrays = unpack(base64.b64decode(Tags(text).of('script')[0][1]))
    assert header['arrays']['layer11.tokens']['dtype'] == dict([(8, 'u1'), (16, 'u2')])[bits]
    assert sum(entry['tokens'] is not None for entry in header['layers']) == kept
    assert all('attention' in entry['maps'] for entry in header['layers'])


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cbt_decoder_ade20k', 'depict_sa_crate_base_ade20k'])
def test_the_page_of_a_whole_model(name):
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    text = explorer_page.page([explore(init_model(name, device='cpu'), picture)])
    assert len(text) <= LIMIT
