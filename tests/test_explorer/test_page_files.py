"""The files of the explorer's page: they join to one script, and nothing in them needs a looser policy."""
import re
from collections import Counter

import pytest

from mmwhitebox.apis.explorer_page import STATIC, joined_modules

MODULES = sorted(path.name for path in STATIC.iterdir() if path.name.endswith('.js'))
NAME = re.compile(r'^(?:async )?(?:function\*?|class|const|let) (\w+)', re.MULTILINE)
IMPORT = re.compile(r"^import \{([\w, ]+)\} from '\./([\w.]+)';$", re.MULTILINE)
EXPORT = re.compile(r'^export (?:async )?(?:function\*?|class|const|let) (\w+)', re.MULTILINE)


def text_of(name: str) -> str:
    return STATIC.joinpath(name).read_text(encoding='utf-8')


def test_names_are_unique_in_the_joined_script():
    joined = joined_modules('main.js')
    twice = [name for name, count in Counter(NAME.findall(joined)).items() if count > 1]
    assert not twice
    assert not re.search(r'^(import|export)\b', joined, re.MULTILINE)


def test_every_module_is_part_of_the_page():
    joined = joined_modules('main.js')
    assert not [name for name in MODULES if text_of(name).splitlines()[0] not in joined]


@pytest.mark.parametrize('name', MODULES)
def test_a_module_imports_what_others_export_and_uses_it(name):
    text = text_of(name)
    body = IMPORT.sub('', text)
    for names, other in IMPORT.findall(text):
        for imported in names.split(', '):
            assert imported in EXPORT.findall(text_of(other)), f'{other} exports no {imported}'
            assert re.search(rf'\b{imported}\b', body), f'{imported} is not used'
    assert not re.search(r'^import ', body, re.MULTILINE), 'an import of another form'


@pytest.mark.parametrize('name', [*MODULES, 'index.html', 'style.css'])
def test_nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup(name):
    text = text_of(name).replace('http://www.w3.org/2000/svg', '')
    assert not re.search(r'https?:|//[\w-]+\.\w|@import', text)
    if name.endswith('.js'):
        assert not re.search(r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|</script|\bimport\(|'
                             r'export default|new Function|setAttribute\(\'(style|on)', text)
    if name == 'index.html':
        assert not re.search(r'\s(style|on\w+)=', text) and text.count('<script') == 1 and '<style' not in text
