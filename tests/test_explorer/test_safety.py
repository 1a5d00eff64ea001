"""Who may ask: this computer, its own pages, and whoever has the token."""
import os

import pytest
from starlette.testclient import TestClient

from mmwhitebox.explorer.images import NoSuchImageError, Pictures
from mmwhitebox.explorer.jobs import Jobs
from mmwhitebox.explorer.safety import HEADERS, host_name, is_loopback, new_token
from mmwhitebox.explorer.server import explorer_app

from .conftest import explorer, run, save
from .stand_in import StandIn

GUARDED = ('/', '/api/models', '/api/images', '/nothing', '/static/x.js')


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.1:7860', 'localhost:7860', 'LOCALHOST:1', '[::1]:7860',
                                  'localhost:8888'])  # the last one through a tunnel
def test_names_of_this_computer_are_answered(shared, host):
    assert shared.get('/api/models', headers={'Host': host}).status_code == 200


@pytest.mark.parametrize('host', [
    'evil.example', 'evil.example:7860', '127.0.0.1.evil.example', 'localhost.evil.example', '192.168.0.2:7860', '',
    'localhost@evil.example', 'evil.example/localhost', '127.0.0.1 ', '[::1', '0.0.0.0', '127.0.0.1:7860@evil.example',
    'localhost\\.evil.example', '2130706433', '127.1'])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_another_name_that_leads_here_is_refused(shared, host, method):
    for path in GUARDED:
        answer = shared.request(method, path, headers={'Host': host})
        assert answer.status_code == 403 and 'own address' in answer.json()['error']


@pytest.mark.parametrize('headers', [
    {'Origin': 'http://evil.example'}, {'Origin': 'null'}, {'Origin': 'http://127.0.0.1:9999'}, {'Origin': ''},
    {'Origin': 'http://evil.example', 'Sec-Fetch-Site': 'none'}, {'Sec-Fetch-Site': 'cross-site'},
    {'Sec-Fetch-Site': 'same-site'}, {'Sec-Fetch-Site': 'cross-site', 'Origin': 'http://127.0.0.1:7860'}])
@pytest.mark.parametrize('path', ['/api/run', '/api/images', '/api/export'])
def test_what_another_site_posts_is_refused(shared, headers, path):
    answer = shared.post(path, content=b'{}', headers=headers)
    assert answer.status_code == 403 and answer.json()['error'] == 'Another site made this request.'


@pytest.mark.parametrize('headers', [
    {}, {'Origin': 'http://127.0.0.1:7860'}, {'Origin': 'http://127.0.0.1:7860', 'Sec-Fetch-Site': 'same-origin'},
    {'Origin': 'https://explorer.example.org', 'Sec-Fetch-Site': 'same-origin'}])  # the last one through a proxy
def test_what_the_page_or_a_program_posts_is_answered(shared, headers):
    assert run(shared, shared.names['a.png'], headers=headers).status_code == 200


def test_another_site_reads_nothing_but_may_link_to_the_page(shared):
    elsewhere = {'Sec-Fetch-Site': 'cross-site'}
    thumbnail = f'/api/images/{shared.names["a.png"]}/thumbnail'
    assert {shared.get(path, headers=elsewhere).status_code for path in ('/api/images', thumbnail)} == {403}
    assert shared.get('/', headers=elsewhere).status_code != 403


@pytest.mark.parametrize('path', [*GUARDED, '/api/images/x/thumbnail'])
def test_every_answer_keeps_the_browser_from_running_what_is_not_the_pages(shared, path):
    for answer in (shared.get(path), shared.post(path), shared.get(path, headers={'Host': 'evil.example'})):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert 'access-control-allow-origin' not in answer.headers
    assert 'unsafe' not in HEADERS['Content-Security-Policy']


def test_names_that_are_scripts_are_sent_as_json_alone(shared):
    answer = shared.get('/api/models')
    assert '<script>' in answer.text and answer.headers['content-type'] == 'application/json'


def test_bound_elsewhere_without_a_token_is_no_app():
    with pytest.raises(ValueError, match='token'):
        explorer_app(Pictures(), Jobs([], StandIn), '0.0.0.0')


@pytest.fixture(scope='module')
def elsewhere():
    """An explorer for other computers; it has a token."""
    token = new_token()
    with explorer(host='0.0.0.0', token=token) as client:
        client.token = token
        yield client


def anew(client, **kwargs) -> TestClient:
    """Another client without cookies of the same explorer, whose start and end are not its own."""
    return TestClient(client.app, 'http://192.168.0.2:7860', raise_server_exceptions=False, **kwargs)


@pytest.mark.parametrize('path', [*GUARDED, '/?token=', '/?token=x', '/?token=%ff', '/?token=ü', '/api/models?token='])
def test_elsewhere_nothing_is_answered_without_the_token(elsewhere, path):
    answer = anew(elsewhere).get(path)
    assert answer.status_code == 401 and 'token' in answer.json()['error'] and 'set-cookie' not in answer.headers


@pytest.mark.parametrize('headers', [
    {'Authorization': 'Bearer x'}, {'Authorization': 'Bearer'}, {'Authorization': 'Basic {}'}, {'Cookie': 'token={}'},
    {'Cookie': ';;;='}, {'Authorization': b'Bearer \xff'}])
def test_another_token_is_none(elsewhere, headers):
    headers = {key: value.format(elsewhere.token) if isinstance(value, str) else value
               for key, value in headers.items()}
    assert anew(elsewhere).get('/api/models', headers=headers).status_code == 401


def test_the_token_in_the_address_of_the_page_becomes_a_cookie(elsewhere):
    client = anew(elsewhere)
    assert client.get(f'/api/models?token={elsewhere.token}').status_code == 401  # of the page alone
    cookie = client.get(f'/?token={elsewhere.token}').headers['set-cookie']
    assert all(part in cookie for part in ('HttpOnly', 'SameSite=Strict', 'Path=/'))
    assert client.get('/api/models').status_code == 200


def test_a_program_sends_the_token_as_a_header(elsewhere):
    headers = {'Authorization': f'bearer {elsewhere.token}'}
    assert anew(elsewhere).get('/api/models', headers=headers).status_code == 200


def test_elsewhere_names_that_lead_here_are_refused_and_addresses_are_not(elsewhere):
    client = anew(elsewhere, headers={'Authorization': f'Bearer {elsewhere.token}'})
    status = {host: client.get('/api/models', headers={'Host': host}).status_code
              for host in ('10.0.0.1:7860', '[fe80::1]:80', os.uname().nodename, 'evil.example')}
    assert list(status.values()) == [200, 200, 200, 403]


@pytest.mark.parametrize('host, expected', [
    ('localhost', True), ('127.0.0.1', True), ('127.9.9.9', True), ('::1', True), ('0.0.0.0', False), ('::', False),
    ('example.org', False), ('10.0.0.1', False), ('', False)])
def test_what_is_loopback(host, expected):
    assert is_loopback(host) is expected


def test_host_names_have_no_ports():
    assert [host_name(host) for host in ('A.b:1', '[::1]:1', 'a', 'a@b', '')] == ['a.b', '::1', 'a', '', '']


def test_tokens_differ_and_are_long():
    assert new_token() != new_token() and len(new_token()) >= 32


def test_links_out_of_the_folder_are_left_out(tmp_path):
    secret = save(tmp_path / 'elsewhere' / 'secret.png')
    inside = save(tmp_path / 'pictures' / 'a.png')
    root = inside.parent
    (root / 'link.png').symlink_to(secret)
    (root / 'within.png').symlink_to(inside)
    (root / 'out').symlink_to(secret.parent)
    (root / 'hard').mkdir()
    paths = [inside, root / 'link.png', root / 'within.png', root / 'out' / 'secret.png',
             root / '..' / 'elsewhere' / 'secret.png']
    assert [image['name'] for image in Pictures(paths, root).facts['images']] == ['a.png', 'within.png']


def test_a_file_that_became_a_link_out_of_the_folder_is_left_out(tmp_path):
    secret, root = save(tmp_path / 'secret.png'), tmp_path / 'pictures'
    pictures = Pictures([save(root / 'a.png')], root)
    (root / 'a.png').unlink()
    (root / 'a.png').symlink_to(secret)
    with pytest.raises(NoSuchImageError):
        pictures[next(iter(pictures.listed))]


def test_a_file_that_has_gone_is_told(tmp_path):
    path = save(tmp_path / 'a.png')
    with explorer(Pictures([path], tmp_path)) as client:
        path.unlink()
        answer = run(client, next(iter(client.pictures.listed)))
        assert answer.status_code == 415 and answer.json()['error'].startswith('a.png: cannot be opened')
        assert str(tmp_path) not in answer.text
