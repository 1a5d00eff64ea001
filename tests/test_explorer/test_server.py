"""What each address answers."""
import json
from urllib.parse import quote

import pytest

from mmwhitebox.explorer import server
from mmwhitebox.explorer.images import Pictures

from .conftest import explorer, run, save
from .stand_in import CLASSES


def test_models_say_what_they_are_and_why_one_is_not_there(shared):
    first, second = shared.get('/api/models').json()['models']
    assert (first['id'], first['ready'], first['classes'], first['name']) == ('0', True, CLASSES, 'model 0')
    assert (second['id'], second['ready']) == ('1', 'failed')
    assert second['message'] == 'the checkpoint is of another model'


def test_images_of_the_folder_have_names_ids_and_masks(shared):
    found = shared.get('/api/images').json()
    listed = [image for image in found['images'] if image['id'][0] == 'f']
    assert [(image['name'], image['ground_truth']) for image in listed] == [
        ('a.png', False), ('b.jpg', False), ('below/masked.png', True)]
    assert found['more'] == 0 and len({image['id'] for image in listed}) == 3


def test_ids_of_files_are_the_same_in_the_next_session(shared, folder):
    assert {*Pictures(folder.glob('*.*g'), folder).listed} < {*shared.names.values()}


def test_a_thumbnail_is_a_small_jpeg(shared):
    answer = shared.get(f'/api/images/{shared.names["b.jpg"]}/thumbnail')
    assert answer.headers['content-type'] == 'image/jpeg' and len(answer.content) < 20_000
    assert (answer.content[:3], answer.status_code) == (b'\xff\xd8\xff', 200)


def test_a_run_gives_what_the_model_says(shared):
    answer = run(shared, shared.names['a.png'], dict(kind='none', layer=1))
    assert (answer.status_code, answer.headers['content-type']) == (200, 'application/octet-stream')
    found = answer.json()
    assert (found['name'], found['what_if'], found['model']) == ('a.png', [dict(kind='none', layer=1)], 0)


def test_an_upload_is_run_by_its_id(shared, tmp_path):
    data = save(tmp_path / 'x.png', (30, 20)).read_bytes()
    answer = shared.post('/api/images', content=data, headers={'X-Name': quote('../../<b>ü.png')})
    uploaded = answer.json()
    assert answer.status_code == 201
    assert (uploaded['name'], uploaded['width'], uploaded['height']) == ('<b>ü.png', 30, 20)
    assert run(shared, uploaded['id']).json()['image'] == len(data)
    assert shared.get(f'/api/images/{uploaded["id"]}/thumbnail').status_code == 200
    assert uploaded['id'] in {image['id'] for image in shared.get('/api/images').json()['images']}


def test_only_the_last_uploads_are_kept(tmp_path):
    pictures = Pictures()
    ids = [pictures.upload(save(tmp_path / 'x.png', seed=i).read_bytes()).id for i in range(18)]
    assert list(pictures.uploads) == ids[2:]


def test_uploads_are_bounded_in_bytes(tmp_path, monkeypatch):
    data = save(tmp_path / 'x.png').read_bytes()
    monkeypatch.setattr('mmwhitebox.explorer.images.MAX_UPLOADED_BYTES', 3 * len(data))
    pictures = Pictures()
    ids = [pictures.upload(data).id for _ in range(5)]
    assert list(pictures.uploads) == ids[2:]


def test_an_undisturbed_run_is_remembered_and_a_disturbed_one_is_not(shared):
    image = shared.names['b.jpg']
    assert run(shared, image).json()['count'] == run(shared, image).json()['count']
    disturbed = [run(shared, image, dict(kind='none')).json()['count'] for _ in range(2)]
    assert disturbed[1] == disturbed[0] + 1


def test_what_is_remembered_is_bounded_in_bytes(folder, monkeypatch):
    monkeypatch.setattr('mmwhitebox.explorer.jobs.MAX_KEPT_BYTES', 400)
    with explorer(Pictures(sorted(folder.glob('*.*g')), folder)) as client:
        for image in client.pictures.listed:
            assert run(client, image).status_code == 200
            assert 0 < sum(map(len, client.jobs.kept.values())) <= 400
        assert len(client.jobs.kept) < 3


def test_an_export_is_a_file_to_save(shared):
    runs = [dict(model='0', image=image) for image in shared.names.values()]
    answer = shared.post('/api/export', json=dict(runs=runs))
    assert answer.headers['content-type'].startswith('text/html')
    assert answer.headers['content-disposition'] == 'attachment; filename="explorer.html"'
    assert answer.text.count('"model"') == 3


@pytest.mark.parametrize('body, status', [
    (b'', 400), (b'{', 400), (b'[]', 400), (b'"x"', 400), (b'\xff\xfe', 400), (b'[' * 100_000, 400), (b'9' * 9999, 400),
    (b'{"model": "0", "image": NaN}', 400), (b'{"model": "0", "image": 1e999}', 400), (b'{}', 400),
    (b'{"model": "0"}', 400), (b'{"image": "f"}', 400), (b'{"model": 0, "image": "f"}', 400),
    (b'{"model": ["0"], "image": "f"}', 400), (b'{"model": "0", "image": {}}', 400),
    (b'{"model": "-1", "image": "f"}', 404), (b'{"model": "2", "image": "f"}', 404),
    (b'{"model": "\\ud800", "image": "f"}', 404), (b'{"model": "0", "image": "\\ud800"}', 404),
    (b'{"model": "0", "image": "../../etc/passwd"}', 404), (b'x' * 300_000, 413),
])
def test_a_run_that_is_none_is_refused_in_a_sentence(shared, body, status):
    answer = shared.post('/api/run', content=body)
    assert answer.status_code == status and list(answer.json()) == ['error'], answer.text
    assert '\n' not in answer.json()['error'] and len(answer.json()['error']) < 200


@pytest.mark.parametrize('what_if', ['noise', {'kind': 'noise'}, ['noise'], [[]], [{}] * 65, 1, 0, False, '', {}, None])
def test_disturbances_that_are_none_are_refused(shared, what_if):
    answer = shared.post('/api/run', json=dict(model='0', image=shared.names['a.png'], what_if=what_if))
    assert answer.status_code == 400 and 'what_if' in answer.json()['error']


@pytest.mark.parametrize('key', ['what_iff', 'layer', '\n', 'x' * 1000, '\ud800'])
def test_keys_that_would_not_be_heeded_are_refused_by_name(shared, key):
    asked = {'model': '0', 'image': shared.names['a.png']}
    for path, body in (('run', {**asked, key: []}), ('export', {'runs': [{**asked, key: []}]}),
                       ('export', {'runs': [asked], key: []})):
        answer = shared.post(f'/api/{path}', content=json.dumps(body))
        assert answer.status_code == 400 and repr(key)[:30] in answer.json()['error'], answer.text
        assert '\n' not in answer.json()['error'] and len(answer.json()['error']) < 200


@pytest.mark.parametrize('runs', [None, [], {}, [{}] * 17, 'x'])
def test_exports_of_nothing_and_of_too_much_are_refused(shared, runs):
    assert shared.post('/api/export', json=dict(runs=runs)).status_code == 400


@pytest.mark.parametrize('runs, status', [([1], 400), ([{}], 400), ([{'model': '0', 'image': 'gone'}], 404)])
def test_runs_of_an_export_are_checked(shared, runs, status):
    assert shared.post('/api/export', json=dict(runs=runs)).status_code == status


def test_a_model_that_failed_says_why(shared):
    answer = run(shared, shared.names['a.png'], model='1')
    assert answer.status_code == 422
    assert answer.json()['error'] == 'The model could not be loaded: the checkpoint is of another model'


@pytest.mark.parametrize('kind, status, said', [
    ('memory', 507, 'memory'), ('refused', 422, 'layer 9 has no head 7.'), ('unread', 415, 'cut off'),
    ('large', 413, 'too large'), ('defect', 500, 'KeyError')])
def test_a_run_that_fails_says_so_in_a_sentence_and_the_next_one_works(shared, kind, status, said):
    answer = run(shared, shared.names['a.png'], dict(kind=kind))
    assert answer.status_code == status and said in answer.json()['error']
    assert 'Traceback' not in answer.text and 'secret' not in answer.text
    assert run(shared, shared.names['a.png'], dict(kind='none')).status_code == 200


@pytest.mark.parametrize('method, path, status', [
    ('GET', '/nothing', 404), ('GET', '/api/run', 405), ('DELETE', '/api/images', 405), ('PUT', '/', 405),
    ('GET', '/api/images/x/thumbnail', 404), ('GET', '/static/', 404), ('GET', '/static/../server.py', 404),
    ('GET', '/static/..%2fserver.py', 404), ('GET', '/static/%2e%2e/server.py', 404),
    ('GET', '/static//etc/passwd', 404), ('GET', '/static/%00', 404),
    ('POST', '/static/index.html', 405), ('OPTIONS', '/api/run', 405)])
def test_other_addresses_are_refused_in_a_sentence(shared, method, path, status):
    answer = shared.request(method, path)
    assert answer.status_code == status and list(answer.json()) == ['error']


def test_a_defect_of_the_server_is_told_without_its_traceback(shared, monkeypatch):
    monkeypatch.setattr(Pictures, 'facts', property(lambda self: 1 / 0))
    answer = shared.get('/api/images')
    assert answer.status_code == 500 and answer.headers['x-content-type-options'] == 'nosniff'
    assert answer.json()['error'].startswith('Something went wrong in the explorer (ZeroDivisionError)')


def test_large_bodies_are_refused_before_and_while_they_arrive(shared, monkeypatch):
    monkeypatch.setattr(server, 'MAX_IMAGE_BYTES', 1000)
    assert shared.post('/api/images', content=b'x' * 1001).status_code == 413
    assert shared.post('/api/images', content=iter([b'x' * 600] * 4)).status_code == 413  # chunked, no length told
    answer = shared.post('/api/images', content=b'x', headers={'Content-Length': '99999999999999999999'})
    assert answer.status_code == 413 and 'MiB' in answer.json()['error']


def test_bodies_that_arrive_together_are_bounded(shared, monkeypatch):
    monkeypatch.setattr(server, 'MAX_BYTES_AT_ONCE', 1000)
    answer = shared.post('/api/images', content=iter([b'x' * 600] * 2))
    assert answer.status_code == 503 and answer.headers['retry-after'] == '1'
    for _ in range(3):
        assert shared.post('/api/images', content=b'x' * 900).status_code == 415  # they are counted off again


def test_the_files_of_the_page_are_served_and_no_others(shared, monkeypatch):
    app = shared.app.app
    for name, content in server.static_files().items():
        answer = shared.get(f'/static/{name}')
        assert answer.content == content and answer.headers['content-type'].startswith(server.kind_of(name))
    assert app and '__init__.py' not in server.static_files()


def test_the_api_alone_has_no_page():
    with explorer(api_only=True) as client:
        assert client.get('/').status_code == client.get('/static/index.html').status_code == 404
        assert client.get('/api/models').json()['models'][0]['ready'] is True


def test_without_a_folder_the_samples_of_the_first_model_are_offered(tmp_path):
    samples = [str(save(tmp_path / name)) for name in ('masked.png', 'x.png')]
    with explorer(args=(samples, )) as client:
        images = client.get('/api/images').json()['images']
        assert [(image['name'], image['ground_truth']) for image in images] == [('masked.png', True), ('x.png', False)]
        assert run(client, images[0]['id']).status_code == 200


def test_masks_beside_pictures_are_not_offered_as_pictures(tmp_path):
    names = ['a.jpg', 'annotations/a.png', 'sub/b.jpg', 'sub/annotations/b.png', 'images/val/c.jpg',
             'annotations/val/c.tif', 'annotations/of_none.png', 'annotations/a.jpg', 'other/a.png']
    paths = [save(tmp_path / name) for name in names]

    def offered(paths, root) -> list[str]:
        return [picture['name'] for picture in Pictures(paths, root).facts['images']]

    masks = {'annotations/a.png', 'sub/annotations/b.png', 'annotations/val/c.tif'}
    assert offered(paths, tmp_path) == [name for name in names if name not in masks]
    assert offered(paths[1:2], tmp_path / 'annotations') == ['a.png']  # that folder itself was named
    assert offered(paths[:2], None) == ['a.jpg']


def test_long_folders_are_cut_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr('mmwhitebox.explorer.images.MAX_LISTED', 2)
    facts = Pictures([save(tmp_path / f'{i}.png') for i in range(5)], tmp_path).facts
    assert (len(facts['images']), facts['more']) == (2, 3)


def test_answers_are_ascii(tmp_path):
    path = save(tmp_path / '\udcff<img onerror=x>ü.png')
    text = json.dumps(Pictures([path], tmp_path).facts)
    assert text.isascii() and 'onerror' in text
