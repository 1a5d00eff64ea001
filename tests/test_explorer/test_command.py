"""The command: what it refuses, what it prints, how it ends."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from mmwhitebox.cli import explore
from mmwhitebox.cli.main import main
from mmwhitebox.explorer.listening import address_of, listen
from tests.configs import ROOT
from tests.test_interpret.small import save_ade, save_model

from .conftest import wait_until


def refused(capsys, *words) -> str:
    """What the command says before it ends with status 1."""
    with pytest.raises(SystemExit) as ended:
        main(['explore', '--no-browser', *map(str, words)])
    assert isinstance(ended.value.code, str) and ended.value.code.startswith('error: ')
    assert capsys.readouterr().out == ''
    return ended.value.code


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A config and a checkpoint that are there."""
    monkeypatch.chdir(tmp_path)
    Path('c.pth').touch()
    return 'cbt_decoder_mini_ade20k', 'c.pth'


def test_without_a_model_it_says_how_to_get_one(capsys, files):
    said = refused(capsys)
    assert 'CONFIG CHECKPOINT' in said and 'tools/quickstart.sh' in said


def test_the_model_of_the_quickstart_is_taken(files):
    folder = Path('work_dirs/quickstart')
    folder.mkdir(parents=True)
    (folder / 'cbt_decoder_mini_ade20k.py').touch()
    (folder / 'last_checkpoint').write_text('/there/iter_330.pth\n')
    assert explore.quickstart() == ('work_dirs/quickstart/cbt_decoder_mini_ade20k.py', '/there/iter_330.pth')


def test_a_pretrained_folder_is_config_and_checkpoint(tmp_path, monkeypatch):
    folder = str(tmp_path / 'pretrained')
    monkeypatch.setattr('mmwhitebox.config.pretrained.is_pretrained', lambda word: word == folder)
    assert explore.pairs_of(['a.py', 'a.pth', folder, 'b.py', 'b.pth']) == [
        ('a.py', 'a.pth'), (folder, f'{folder}/model.safetensors'), ('b.py', 'b.pth')]


def test_a_config_without_checkpoint_is_refused(capsys, files):
    assert 'other.py has no partner: give CONFIG CHECKPOINT' in refused(capsys, *files, 'other.py')


def test_what_is_refused_is_told_in_a_line(capsys, files):
    assert '\n' not in refused(capsys) + refused(capsys, 'c.py') + refused(capsys, 'c.py', 'gone.pth')


def test_a_checkpoint_that_is_not_there_is_refused(capsys, files):
    assert 'Checkpoint gone.pth does not exist' in refused(capsys, files[0], 'gone.pth')


@pytest.mark.parametrize('name', ['starlette', 'uvicorn'])
def test_without_the_packages_it_says_how_to_get_them(capsys, files, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert f"needs {name}: pip install 'mmwhitebox[explorer]'" in refused(capsys, *files)


def test_a_port_that_is_taken_is_refused(capsys, files):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert f'Port {port} of 127.0.0.1 is taken' in refused(capsys, *files, '--port', port)


@pytest.mark.parametrize('words', [('--port', 'x'), ('--port', '65536'), ('--port', '-1'), ('--nothing', )])
def test_arguments_that_are_none_are_refused(capsys, files, words):
    with pytest.raises(SystemExit) as ended:
        main(['explore', *files, *words])
    assert ended.value.code == 2


@pytest.mark.parametrize('host', ['no.such.host.invalid', '192.0.2.1', 'a b'])
def test_a_host_that_is_none_of_this_computer_is_refused(capsys, files, host):
    assert f'--host {host}:' in refused(capsys, *files, '--host', host)


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, 'platform', 'linux')
    assert not explore.has_screen()
    monkeypatch.setenv('WAYLAND_DISPLAY', 'wayland-0')
    assert explore.has_screen()


def test_addresses():
    with listen('127.0.0.1', 0) as at:
        port = at.getsockname()[1]
        assert address_of(at, '127.0.0.1') == f'http://127.0.0.1:{port}/'
        assert address_of(at, '::1', 'abc') == f'http://[::1]:{port}/?token=abc'
        assert socket.gethostname() in address_of(at, '0.0.0.0', 'abc')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with a small model and its data."""
    folder = tmp_path_factory.mktemp('place')
    ade = save_ade(folder / 'data', a=(64, 80), b=(80, 64))
    save_model(folder, 'cbt_decoder_mini_ade20k.py', data_root=ade)
    return folder


MODEL = ('cbt_decoder_mini_ade20k.py', 'cbt_decoder_mini_ade20k.pth')


@pytest.mark.parametrize('words, said', [
    (('--images', 'nowhere'), 'nowhere: no image there'), (('--device', 'cuda:99'), '--device cuda:99'),
    (('--export', 'data', '--images', 'data/images/validation'), '--export data: this is a folder')])
def test_what_is_not_there_is_refused_before_anything_is_served(capsys, place, monkeypatch, words, said):
    monkeypatch.chdir(place)
    assert said in refused(capsys, *MODEL, '--port', 0, *words)


def test_a_config_that_is_wrong_is_refused(capsys, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / 'wrong.py').write_text("_base_ = 'cbt_decoder_mini_ade20k.py'\nmodel = dict(backbone=dict(depht=3))\n")
    assert 'depht' in refused(capsys, 'wrong.py', MODEL[1], '--port', 0)


def test_an_export_is_written_and_named(capsys, place, monkeypatch):
    monkeypatch.chdir(place)
    main(['explore', *MODEL, '--export', 'new/page.html', '--images', 'data/images/validation/*.jpg'])
    assert capsys.readouterr().out == 'new/page.html\n'
    assert len(re.findall('id="run-', (place / 'new' / 'page.html').read_text())) == 2


def test_an_export_takes_the_next_picture_where_one_cannot_be_read(capsys, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(explore, 'MOST_EXPORTED', 1)
    folder = place / 'mixed'
    folder.mkdir()
    (folder / '0.jpg').write_bytes(b'nothing')
    for picture in (place / 'data' / 'images' / 'validation').iterdir():
        shutil.copy(picture, folder)
    main(['explore', *MODEL, '--export', 'mixed.html', '--images', 'mixed'])
    out, err = capsys.readouterr()
    assert out == 'mixed.html\n' and len(re.findall('^left out: 0.jpg: ', err, re.MULTILINE)) == 1
    assert 'the first 1 of 2 pictures are taken' in err
    assert re.findall('id="run-.', (place / 'mixed.html').read_text()) == ['id="run-0']


def test_an_export_of_nothing_that_can_be_read_fails(capsys, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / 'none').mkdir()
    (place / 'none' / 'x.jpg').write_bytes(b'nothing')
    assert 'none.html is not written' in refused(capsys, *MODEL, '--export', 'none.html', '--images', 'none')
    assert not (place / 'none.html').exists()


def test_without_images_the_export_is_of_the_test_set(capsys, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(explore, 'MOST_EXPORTED', 1)
    main(['explore', *MODEL, '--export', 'page.html'])
    assert 'the first 1 of 2 pictures' in capsys.readouterr().err
    assert len(re.findall('id="run-', (place / 'page.html').read_text())) == 1


@pytest.mark.slow
def test_it_serves_survives_a_killed_process_and_ends_by_ctrl_c(place):
    """The command as it is typed: its address on standard output, nothing else; no traceback at its end."""
    words = [sys.executable, '-m', 'mmwhitebox', 'explore', *MODEL, '--port', '0', '--no-browser', '--device', 'cpu']
    # the background jobs of a script inherit that Ctrl-C is ignored
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}) as command, \
            httpx2.Client(base_url=command.stdout.readline().strip(), timeout=60) as client:

        def is_ready() -> bool:
            return client.get('api/models').json()['models'][0]['ready'] is True

        wait_until(is_ready)
        assert client.get('').text.startswith('<!DOCTYPE html>')
        images = client.get('api/images').json()['images']
        assert [image['ground_truth'] for image in images] == [True, True]
        asked = dict(model='0', image=images[0]['id'])
        assert client.post('api/run', json=asked).content[:4] == b'MMWB'
        for child in Path(f'/proc/{command.pid}/task/{command.pid}/children').read_text().split():
            if 'spawn_main' in Path(f'/proc/{child}/cmdline').read_text():
                worker = int(child)
        subprocess.run(['kill', '-9', str(worker)], check=True)
        disturbed = dict(asked, what_if=[dict(kind='skip', layer=0)])
        wait_until(lambda: client.post('api/run', json=disturbed).status_code == 503)
        wait_until(is_ready)
        assert client.post('api/run', json=disturbed).status_code == 200
        slow = socket.create_connection(('127.0.0.1', client.base_url.port))
        slow.sendall(b'POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nabc')
        time.sleep(0.2)
        command.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, err = command.communicate(timeout=60)
        slow.close()
        assert command.returncode == 130 and time.monotonic() - start < 30
    assert out == '' and 'Traceback' not in err
