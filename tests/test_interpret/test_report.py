"""The report: one page that holds its pictures, says what it cannot show, and passes the answers on."""
import base64
import re

import pytest

from mmwhitebox.cli import report_measures
from mmwhitebox.errors import UserError
from tests.test_interpret.small import command, save_ade, save_images, save_model

NAME = 'cbt_decoder/cbt_decoder_mini_ade20k.py'


def test_one_self_contained_page(tmp_path, monkeypatch, capsys):
    data_root = save_ade(tmp_path / 'ade', a=(48, 64), b=(48, 64))
    images = save_images(tmp_path / 'photos', a=(48, 64), b=(64, 48))
    model = save_model(tmp_path, NAME, data_root=data_root)
    main = command('report')
    monkeypatch.setattr(report_measures, 'SECTIONS',
                        [each for each in report_measures.SECTIONS if each.tool != 'synthetic'])
    out = tmp_path / 'report'
    assert main([*model, images, '--out', str(out), '--device', 'cpu', '--background', 'wall']) == 0
    page = (out / 'report.html').read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 7 and all(base64.b64decode(p).startswith(b'\x89PNG') for p in pictures)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched
    assert len(re.findall('<h2 ', page)) == 8
    assert re.search('Not for this model: .*membership', page)
    assert 'Reduction of the coding rate in nats' in page and page.count('<details>') >= 4
    assert 'Jaccard index by the best head' in page and (out / 'zero_shot_segmentation' / 'zero_shot.json').is_file()


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
    main = command('report')
    monkeypatch.setattr(report_measures, 'SECTIONS',
                        [each for each in report_measures.SECTIONS if each.tool in ('coding_rate', 'membership')])
    assert main([*model, str(tmp_path / 'broken.jpg'), '--out', str(tmp_path / 'report'), '--device', 'cpu']) == 1
    page = (tmp_path / 'report' / 'report.html').read_text()
    assert 'Failed: ' in page and 'Not for this model: ' in page
    assert 'coding_rate: ' in capsys.readouterr().err
