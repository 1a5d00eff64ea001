"""``check-data FOLDER``: what ``new`` understands is checked without a config; and the page that is written."""
import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwhitebox.cli.data_page import THUMBNAILS
from mmwhitebox.cli.main import main
from mmwhitebox.config.reading import load_config
from tests.own_folders import binary, class_folders, coloured, make_masks
from tests.test_datasets import own_folders
from tests.test_tools.test_check_data_remedies import COLOURS, NAMES, SAMPLES, config, copied, folder, stack_config


def check(capsys, target, *options) -> tuple[int, str]:
    """Status and what is printed."""
    with pytest.raises(SystemExit) as end:
        main(['check-data', str(target), '--workers', '0', *map(str, options)])
    return end.value.code, capsys.readouterr().out


def state(root: Path) -> dict:
    return {path: path.stat().st_mtime_ns for path in sorted(root.rglob('*'))}


FOLDERS = {
    'indices': lambda root: own_folders.in_splits(root, 'images/{split}/{i:03}.jpg', 'masks/{split}/{i:03}.png'),
    '0 and 255': binary, 'colours': coloured, 'coco': own_folders.coco, 'yolo': own_folders.yolo,
    'labelme': own_folders.labelme, 'one mask a class': own_folders.per_class, 'class folders': class_folders,
    'table': own_folders.table,
}


@pytest.mark.parametrize('kind', FOLDERS)
def test_a_sound_folder_of_every_kind_has_no_fault_and_nothing_is_written(kind, tmp_path, capsys, monkeypatch):
    root = FOLDERS[kind](tmp_path / 'data')
    (tmp_path / 'cwd').mkdir()
    monkeypatch.chdir(tmp_path / 'cwd')
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'cwd'))
    monkeypatch.setattr('tempfile.tempdir', None)
    before = state(tmp_path)
    status, said = check(capsys, root)
    assert status == 0 and '0 fault(s)' in said, said
    assert {path for path in state(tmp_path)} == set(before)
    assert state(root) == {path: when for path, when in before.items() if path.is_relative_to(root) and path != root}


def test_the_usual_answers_are_said(tmp_path, capsys):
    root = make_masks(tmp_path / 'data', lambda labels: np.where(labels == 1, 255, labels).astype(np.uint8), count=3)
    status, said = check(capsys, root)
    assert status == 0
    assert 'taken for granted: 0 in the masks is a class of its own; 255 in the masks is ignored' in said


def test_faults_of_a_folder(tmp_path, capsys):
    root = folder(tmp_path / 'data')
    SAMPLES['leak'](root)
    copied(root, 'train/train2.png', 'train/train3.png')
    SAMPLES['unreadable mask'](root)
    (root / 'masks/val/val0.png').unlink()
    status, said = check(capsys, root, '--out', tmp_path / 'found.json')
    assert status == 1 and '3 fault(s)' in said
    found = json.loads((tmp_path / 'found.json').read_text())
    assert [(row['kind'], Path(row['file']).name) for row in found['findings']] == [
        ('folder', 'data'), ('unreadable mask', 'train3.png'), ('duplicate', 'train3.png'), ('leak', 'val1.png')]
    assert '1 images without a mask (images/val/val0.png)' in found['findings'][0]['message']
    assert "leak, add to the config: own_data.setdefault('left_out', []).extend(['images/val/val1.png'])" in said
    assert f'What to add is for the config that this writes: mmwhitebox new {root}' in said
    out = tmp_path / 'mine.py'
    main(['new', str(root), '--out', str(out)])
    out.write_text(out.read_text() + "own_data.setdefault('left_out', []).extend(['images/val/val1.png', "
                   "'images/train/train2.png'])\n")
    with pytest.raises(SystemExit, match='has no images'):  # the only one of val
        main(['check-data', str(out), '--workers', '0'])


def test_colours_of_a_file_swapped_in_the_masks(tmp_path, capsys):
    root = folder(tmp_path / 'data', lambda array: COLOURS[array][..., ::-1])
    lines = [f'{name} {r} {g} {b}' for name, (r, g, b) in zip(NAMES, COLOURS.tolist())]
    (root / 'colours.txt').write_text('\n'.join(lines))
    status, said = check(capsys, root)
    assert status == 1 and '8 fault(s)' in said and 'swapped colours, add to the config: own_data[' in said
    assert "'road': (20, 60, 130)" in said


@pytest.mark.parametrize('args, message', [
    (('--page', 'page.txt'), '--page page.txt: the page is NAME.html'),
    (('--page', '/proc/no/page.html'), '--page /proc/no/page.html cannot be written'),
    (('--out', '/proc/found.csv'), '--out /proc/found.csv cannot be written'),
])
def test_a_page_that_cannot_be_is_refused_before_anything_is_read(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(['check-data', str(binary(tmp_path / 'data')), '--workers', '0', *args])
    assert str(end.value.code).startswith(f'error: {message}') and not capsys.readouterr().out


def test_reports_are_written_where_they_are(tmp_path, capsys):
    """Their mode stays, and links to files that are not there yet."""
    report, link = tmp_path / 'found.csv', tmp_path / 'page.html'
    report.write_text('old')
    report.chmod(0o600)
    link.symlink_to(tmp_path / 'elsewhere.html')
    status, _ = check(capsys, binary(tmp_path / 'data'), '--out', report, '--page', link)
    assert status == 0 and report.stat().st_mode & 0o777 == 0o600
    assert report.read_bytes().splitlines()[0] == b'split,kind,file,message'
    assert link.is_symlink() and (tmp_path / 'elsewhere.html').read_text().startswith('<!')


@pytest.mark.parametrize('make, message', [
    (lambda root: root.mkdir(), 'no image'),
    (lambda root: None, 'there is neither a folder nor a config of this name'),
    (lambda root: make_masks(root, lambda labels: labels * np.uint8(0)), 'one class alone'),
])
def test_no_data_set(make, message, tmp_path):
    make(tmp_path / 'data')
    with pytest.raises(SystemExit) as end:
        main(['check-data', str(tmp_path / 'data'), '--workers', '0'])
    assert str(end.value.code).startswith('error: ') and message in str(end.value.code)


class Page(HTMLParser):
    """A page that is read strictly: what is open is closed; its links, pictures and texts."""

    VOID = ('meta', 'img', 'br', 'link', 'input')

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.sources, self.targets, self.ids, self.words = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert tag not in ('script', 'iframe', 'link', 'object')
        self.sources += [values['src']] if 'src' in values else []
        self.targets += [values['href']] if 'href' in values else []
        self.ids += [values['id']] if 'id' in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_holds_all_it_shows(tmp_path, capsys):
    root = folder(tmp_path / 'data')
    evil = '<script>alert(1)</script> & "b".png'.replace('/', '_')
    copied(root, 'train/train1.png', f'val/{evil}')
    Image.open(root / 'masks/train/train1.png').save(root / 'masks/val' / evil)
    SAMPLES['near duplicate'](root), SAMPLES['size mismatch'](root)
    path = config(root, dict(mapping={0: 'background', 1: '<b>road', 2: 'car'}))
    status, said = check(capsys, path, '--page', tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    page = Page(text)
    words = ''.join(page.words)
    assert status == 1 and f'A page to look at is {tmp_path}/page.html' in said.replace('\n', '')
    assert page.sources and all(source.startswith('data:image/jpeg;base64,') for source in page.sources)
    assert page.targets == ['#set0', '#set1'] and set(page.ids) == {'set0', 'set1'}
    assert not re.search(r'https?:|url\(|@import', text) and '<script' not in text and '<b>' not in text
    for shown in (evil, '<b>road', 'leak: 1', 'near duplicate: 1', '64 x 64', "own_data.setdefault('left_out', [])"):
        assert shown in words
    assert text.count('<figure>') == 3 and len(page.sources) == 2 * 2 + 1  # both of a pair
    assert 'prefers-color-scheme: dark' in text and 'name="viewport"' in text


def test_a_page_of_many_findings_stays_small(tmp_path, capsys):
    root = folder(tmp_path / 'data')
    for i in range(40):
        copied(root, 'train/train1.png', f'train/copy{i:02}.png')
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(root / f'masks/train/copy{i:02}.png')
    status, _ = check(capsys, root, '--page', tmp_path / 'page.html')
    page = Page((tmp_path / 'page.html').read_text())
    assert status == 1 and 0 < len(page.sources) <= THUMBNAILS and 'duplicate: 40' in ''.join(page.words)
    assert (tmp_path / 'page.html').stat().st_size < 2 ** 20


def test_the_overlay_shows_classes_and_what_is_none(tmp_path, capsys):
    root = folder(tmp_path / 'data')
    for path in root.rglob('images/*/*.png'):
        Image.fromarray(np.full((64, 64, 3), 100, np.uint8)).save(path)
    wrong = np.zeros((64, 64), np.uint8)
    wrong[:32], wrong[32:, 32:] = 9, 255
    Image.fromarray(wrong).save(root / 'masks/train/train0.png')
    check(capsys, stack_config(root), '--page', tmp_path / 'page.html', '--no-config-check')
    text = (tmp_path / 'page.html').read_text()
    part = text[text.index('label out of range: 1'):]
    source = re.search(r'base64,([^"]+)"', part)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    for (y, x), colour in {(10, 10): (178, 50, 178), (50, 10): (50, 50, 50), (50, 50): (100, 100, 100)}.items():
        assert abs(picture[y, x] - colour).max() < 12


def test_images_that_become_too_narrow_for_the_test_are_named(tmp_path, capsys):
    root = make_masks(tmp_path / 'data', lambda labels: labels)
    main(['new', str(root), '--out', str(tmp_path / 'own.py')])
    for path in ('images/p03.jpg', 'masks/p03.png'):
        Image.open(root / path).crop((0, 0, 48, 2)).save(root / path)
    (root / 'train.txt').write_text('\n'.join(f'p{i:02}' for i in range(10) if i not in (3, 4)))
    (root / 'val.txt').write_text('p03\np04\n')
    status, said = check(capsys, tmp_path / 'own.py')
    assert status == 1 and 'small image' in said and 'of which the model gets 48 x 2' in said
    line = re.search(r'small image, add to the config: (.*)', said)[1]
    with open(tmp_path / 'own.py', 'a') as file:
        file.write(f'{line}\n')
    assert 'small image' not in check(capsys, tmp_path / 'own.py')[1]


def test_what_is_neither_folder_nor_config():
    with pytest.raises(SystemExit) as end:
        main(['check-data', 'cbt_mini_imagnet'])
    assert str(end.value.code).endswith('neither a folder nor a config file nor an installed config; did you mean '
                                        'cbt_mini_imagenet?')


def test_colours_of_a_file_with_red_and_blue_swapped(tmp_path, capsys):
    root = coloured(tmp_path / 'data')
    (root / 'class_dict.csv').write_text('name,r,g,b\nground,0,0,0\nroad,128,64,128\nsky,180,130,70\n')
    main(['new', str(root), '--out', str(tmp_path / 'own.py')])
    said = capsys.readouterr().out
    assert 'swapped colours' in said and list(load_config(str(tmp_path / 'own.py')).own_data.palette) == [
        'ground', 'road', 'sky']
    remedy = re.search(r"add to the config: (own_data.*)", said)[1]
    with open(tmp_path / 'own.py', 'a') as file:
        file.write(f'{remedy}\n')
    assert check(capsys, tmp_path / 'own.py')[0] == 0
