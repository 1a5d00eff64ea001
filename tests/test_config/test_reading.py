"""What is wrong in a config file is told in one line, with the file and the line."""
import re

import pytest

from mmwhitebox.config.reading import read_config
from mmwhitebox.errors import ConfigError
from tests.configs import ROOT

BASE = ROOT / 'configs' / 'cbt_decoder/cbt_decoder_mini_ade20k.py'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'needs_another.py').write_text('\nimport nothing_of_this_name\n')
    (tmp_path / 'fails.py').write_text('x = 1 / 0\n')
    (tmp_path / 'unclosed.py').write_text('a = 1\nb = dict(c=1\nd = 2\n')
    (tmp_path / 'raises.py').write_text('a = 1\nb = a + nothing\n')
    return tmp_path


@pytest.mark.parametrize('text, message', [
    (f"a = 1\n_base_ = '{ROOT}/configs/cbt_decoder_ade20.py'",
     r'{me}, line 2: the base .*cbt_decoder_ade20\.py does not exist\. Did you mean .*/cbt_decoder_ade20k\.py\?'),
    (f"_base_ = [\n    '{BASE}',\n    'raise.py',\n]",
     r'{me}, line 3: the base .*raise\.py does not exist\. Did you mean .*raises\.py\?'),
    ("_base_ = 'mmwhitebox::cbt_decoder_ad20k.py'",
     r'{me}, line 1: mmwhitebox has no config cbt_decoder_ad20k\.py; similar: cbt_decoder_ade20k\.py'),
    ("_base_ = 'mmdet::faster_rcnn/x.py'", r'{me}, line 1: .*mmdet is not installed'),
    ("b = dict(c=1\nd = 2", r"{me}, line 1: this is no Python: '\(' was never closed in 'b = dict\(c=1'\."),
    ("a = 1\nb = dict(c=1, c=2)\nif b\n    pass", r"{me}, line 3: this is no Python: expected ':' in 'if b'\."),
    ("_base_ = 'unclosed.py'", r"\S+unclosed\.py, line 2: this is no Python: '\(' was never closed"),
    ("a = 1\n\nb = foo", r"{me}, line 3: NameError: name 'foo' is not defined"),
    ("_base_ = 'raises.py'\na = 2", r"\S+raises\.py, line 2: NameError: name 'nothing' is not defined"),
    (f"_base_ = '{BASE}'\na = {{{{_base_.modle}}}}", r'{me}, line 2: KeyError: modle'),
    (f"_base_ = '{BASE}'\ncustom_imports = dict(imports=['my_modle'])",
     r"{me}, line 2: custom_imports names 'my_modle': there is no such module\. .*PYTHONPATH=FOLDER"),
    (f"_base_ = '{BASE}'\ncustom_imports = dict(imports='fails.sub')",
     r"{me}, line 2: custom_imports names 'fails.sub': it cannot be imported\. ZeroDivisionError.*fails\.py:1\]"),
    ("custom_imports = dict(imports=['needs_another'])",
     r"{me}, line 1: custom_imports names 'needs_another': it cannot be imported\. "
     r"ModuleNotFoundError: No module named 'nothing_of_this_name' \[\S+needs_another\.py:2\]"),
    ("with read_base():\n    from mmwhitebox.configs.cbt_decoder_ade20 import *",
     r'{me}, line 1: ConfigParsingError: \S+cbt_decoder_ade20\.py not found!'),
])
def test_one_line_with_file_and_line(folder, text, message):
    path = folder / 'mine.py'
    path.write_text(text + '\n')
    with pytest.raises(ConfigError) as caught:
        read_config(str(path))
    assert re.match(message.format(me=re.escape(str(path))) if '{me}' in message else message, str(caught.value))
    assert '\n' not in str(caught.value)


def test_missing_and_unreadable_files(folder):
    with pytest.raises(ConfigError, match='is a folder; name a config file in it'):
        read_config(folder)
    with pytest.raises(ConfigError, match=r'There is no config file \S+raise\.py\. Did you mean \S+raises\.py\?$'):
        read_config(str(folder / 'raise.py'))
    (folder / 'latin.py').write_bytes(b'# caf\xe9\n')
    with pytest.raises(ConfigError, match=r'latin\.py cannot be read as a config: .*utf-8'):
        read_config(str(folder / 'latin.py'))


def test_a_right_config_is_read(folder):
    (folder / 'mine.py').write_text(f"_base_ = '{BASE}'\nmodel = dict(decode_head=dict(num_layers=7))\n")
    assert read_config(str(folder / 'mine.py')).model.decode_head.num_layers == 7
