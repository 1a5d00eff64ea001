"""The folder of configs: names follow the grammar of its README, the tables are those of the metafiles, and former
names resolve."""
import re
import subprocess
import sys
import warnings

import pytest
from mmengine.config import Config
from mmengine.fileio import load

from mmwhitebox.apis import build_model, config_path, init_model, list_models
from mmwhitebox.config.reading import read_config
from mmwhitebox.former_names import warn_former
from tests.config_tables import FOLDER, READMES, with_table
from tests.configs import CONFIGS, ROOT

NAMES = [name[:-3] for name in CONFIGS]
RENAMED = load(FOLDER / 'renamed.yml')
DECODERS = ['cbt_decoder', 'depict_ca', 'depict_sa', 'segmenter_linear', 'segmenter_mask']


def grammar():
    """The pattern of names that the README's table describes."""
    text = (FOLDER / 'README.md').read_text().partition('## Names\n')[2].partition('\n## ')[0]
    parts = {key: '|'.join(re.findall(r'`(\w+)`', line)) for key, line in re.findall(
        r'^\| (family|size|schedule|data) \| (.*) \|$', text, re.MULTILINE)}
    sizes, extra = parts['size'].split('|24|')
    return re.compile(f'({parts["family"]})_({sizes})(_(24|{extra}))?(_({parts["schedule"]}))?_({parts["data"]})')


def test_names_follow_the_grammar():
    root = [name for name in NAMES if '/' not in name]
    assert root == [f'{decoder}_ade20k' for decoder in DECODERS]
    assert len({name.rsplit('/')[-1] for name in NAMES}) == len(NAMES)
    families = set()
    for name in set(NAMES) - set(root):
        folder, _, stem = name.partition('/')
        match = grammar().fullmatch(stem)
        assert match and stem.startswith(folder), name
        families.add(match[1])
    assert families | set(DECODERS) == set(grammar().pattern[1:].split(')')[0].split('|'))


@pytest.mark.parametrize('path', READMES, ids=lambda path: path.parent.name)
def test_tables_are_those_of_the_metafile(path):
    assert path.read_text() == with_table(path), 'run python -m tests.config_tables'
    assert '\n| [' in path.read_text()


def test_every_family_has_a_readme_and_a_metafile():
    folders = sorted({name.partition('/')[0] for name in NAMES if '/' in name})
    assert [path.parent.name for path in READMES] == folders
    assert all((FOLDER / folder / 'metafile.yml').is_file() for folder in folders)


def test_former_names_are_of_configs():
    moved = {new for new in RENAMED.values() if new.startswith('../projects/')}  # of a checkout
    assert set(RENAMED.values()) - moved <= set(NAMES) and not set(RENAMED) & set(NAMES)
    assert moved and all((FOLDER / f'{new}.py').is_file() for new in moved)


@pytest.fixture
def unwarned():
    warn_former.cache_clear()


@pytest.mark.parametrize('old', ['depict_sa_t_ade20k', 'finetune/cbt_small_pets', 'dmst_ablation/gate_st_svhn'])
def test_a_former_name_works_everywhere_and_warns_once(old, unwarned, tmp_path, monkeypatch):
    new = Config.fromfile(FOLDER / f'{RENAMED[old]}.py').model
    monkeypatch.chdir(ROOT)
    with pytest.warns(FutureWarning, match=f'{old} is {RENAMED[old]} now'):
        assert read_config(f'configs/{old}.py').model == new
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        assert read_config(FOLDER / f'{old}.py').model == new
        assert config_path(old) == str(FOLDER / f'{RENAMED[old]}.py')
        assert list_models(old) == [RENAMED[old].rsplit('/')[-1]]
        monkeypatch.chdir(tmp_path)
        for i, text in enumerate([f"_base_ = '{FOLDER}/{old}.py'", f"_base_ = 'mmwhitebox::{old}.py'",
                                  'from mmengine.config import read_base\nwith read_base():\n    '
                                  f'from mmwhitebox.configs.{old.replace("/", ".")} import *']):
            (tmp_path / f'{i}.py').write_text(text + '\n')
            assert Config.fromfile(f'{i}.py').model == new


def test_models_by_former_names(unwarned):
    with pytest.warns(FutureWarning):
        model = build_model('cbt_imagenet_mini')
    assert model.head.fc.out_features == 12
    assert init_model(str(FOLDER / 'cbt_imagenet_mini.py'), device='cpu').head.fc.out_features == 12


@pytest.mark.slow
def test_a_command_takes_a_former_name():
    done = subprocess.run([sys.executable, 'tools/print_config.py', 'configs/depict_sa_t_ade20k.py'], cwd=ROOT,
                          text=True, capture_output=True)
    assert done.returncode == 0 and 'vit_tiny_patch16_384' in done.stdout
    assert done.stderr.count('is depict/depict_sa_tiny_ade20k now') == 1
