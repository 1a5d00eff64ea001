"""The house: no import runs upward, importing the package costs nothing, names resolve from anywhere."""
import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.configs import ROOT

PACKAGE = ROOT / 'mmwhitebox'
# A room may import from its own floor only itself, and from all floors below.
FLOORS = (
    ('registry', 'errors', 'former_names', 'drawing', 'config_parts', 'stack'),
    ('ops', ),
    ('models', ),
    ('datasets', 'checkpoints', 'interpret'),
    ('config', ),
    ('engine', ),
    ('apis', ),
    ('explorer', 'timm'),
    ('cli', ),
)
ENTRANCES = ('__main__.py', 'doctor.py')  # they only call the command
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def rooms() -> list[Path]:
    """Files of the package, without its configs and the entrances."""
    return [path for path in sorted(PACKAGE.rglob('*.py'))
            if path.relative_to(PACKAGE).parts[0] not in ('configs', '__init__.py', *ENTRANCES)]


def imported(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, dotted, without the name of the package."""
    folder = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join([*folder[:len(folder) - node.level + 1], *([node.module] if node.module else [])]) \
                if node.level else node.module
            names = [f'{base}.{alias.name}' for alias in node.names]
        else:
            continue
        yield from (name.removeprefix('mmwhitebox.') for name in names if name.startswith('mmwhitebox.'))


def upward() -> list[str]:
    """Imports that run upward, or sideways to another room of the same floor."""
    found = []
    for path in rooms():
        room = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        for name in imported(path):
            other = name.partition('.')[0]
            if other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
                found.append(f'{path.relative_to(ROOT)} imports {name}')
    return found


def test_every_room_has_a_floor():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix('.py') for path in rooms()} == set(FLOOR)


def test_no_import_runs_upward():
    assert not upward()


def test_an_import_that_runs_upward_is_found(tmp_path, monkeypatch):
    for name, text in {'ops/a.py': 'from ..models import b\n', 'models/b.py': 'import mmwhitebox.ops.a\n',
                       'datasets/c.py': 'def f():\n    from mmwhitebox import checkpoints\n'}.items():
        path = tmp_path / 'mmwhitebox' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(f'{__name__}.ROOT', tmp_path)
    monkeypatch.setattr(f'{__name__}.PACKAGE', tmp_path / 'mmwhitebox')
    assert upward() == ['mmwhitebox/datasets/c.py imports checkpoints', 'mmwhitebox/ops/a.py imports models.b']


def test_no_file_outside_the_package_is_imported_by_it():
    outhouses = {'tools', 'benchmarks', 'projects', 'examples', 'tests'}
    assert not [path for path in rooms() for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom) and not node.level and node.module.split('.')[0] in outhouses
                or isinstance(node, ast.Import) and {alias.name.split('.')[0] for alias in node.names} & outhouses]


def test_importing_the_package_imports_nothing(tmp_path):
    code = 'import sys; before = set(sys.modules); import mmwhitebox; print(*sorted(set(sys.modules) - before))'
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True)
    assert done.stdout.split() == ['mmwhitebox'], done.stderr


@pytest.mark.parametrize('config', [
    "_base_ = 'mmwhitebox::_base_/default_runtime.py'\n"
    "default_scope = 'mmseg'\nmodel = dict(type='mmwhitebox.WhiteBoxTransformer', arch='cbt-tiny')\n",
    'from mmengine.config import read_base\n\nwith read_base():\n'
    '    from mmwhitebox.configs._base_.default_runtime import *\n'
    "model = dict(type='mmwhitebox.WhiteBoxTransformer', arch='cbt-tiny')\n",
], ids=['_base_', 'read_base'])
def test_a_name_resolves_in_a_fresh_process(config, fresh, tmp_path):
    (tmp_path / 'mine.py').write_text(config)
    code = ('import mmwhitebox.config; from mmengine.config import Config; from mmengine.registry import MODELS\n'
            "print(type(MODELS.build(Config.fromfile('mine.py').model)).__module__)")
    done = fresh.run(code, tmp_path)
    assert done.stdout.strip() == 'mmwhitebox.models.backbones.whitebox_transformer', done.stderr


REGISTERED = dict(
    MODELS='WhiteBoxMaskHead', DATASETS='CamVidDataset', TRANSFORMS='LoadSegAnnotation', HOOKS='AtomicCheckpointHook',
    METRICS='PerClassIoUMetric', OPTIM_WRAPPERS='BFloat16OptimWrapper', PARAM_SCHEDULERS='WarmupCosineLR',
    INFERENCERS='WhiteBoxSegInferencer', LOOPS='FeatureValLoop')


@pytest.mark.parametrize('owner', [
    owner if owner in ('MODELS', 'HOOKS') else pytest.param(owner, marks=pytest.mark.slow) for owner in REGISTERED])
def test_mmengine_alone_finds_what_is_registered(owner, fresh, tmp_path):
    """Each registry in a process of its own that knows nothing but mmengine."""
    code = ('from mmengine import registry\n'
            f"print(registry.{owner}.get('mmwhitebox.{REGISTERED[owner]}').__name__)")
    done = fresh.run(code, tmp_path)
    assert done.stdout.strip() == REGISTERED[owner], done.stderr
