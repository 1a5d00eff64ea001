"""Every command line of the documentation and of the messages is one that its command takes, with files that exist; the
quick ones are run as they are typed."""
import argparse
import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.cli import options
from mmwhitebox.cli.main import build_parser
from mmwhitebox.config.check import check_config
from mmwhitebox.engine.setup import use_amp
from tests.configs import ROOT

PAGES = [ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md')), *sorted(ROOT.glob('configs/**/README.md'))]
SOURCES = sorted(path for folder in ('mmwhitebox', 'tools', 'benchmarks', 'projects', 'examples')
                 for path in (ROOT / folder).rglob('*.py') if 'configs' not in path.parts)
FOREIGN = {'source', 'pip', 'export', 'mkdir'}  # programs that are not ours
# Of pip, srun, pytest, git.
FOREIGN_FLAGS = {'--help', '--force-reinstall', '--no-deps', '--signal', '--hypothesis-profile', '--short'}
MADE_BY_THE_READER = ('my_decoder.py', 'CONFIG')
# Commands run as documented, in a folder laid out as the pages say; the slow ones with what makes them short.
NO_WORKERS = [f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
              for key in ('num_workers=0', 'persistent_workers=False')]
QUICK = {
    'python tools/print_config.py my_decoder.py': [],
    'python tools/print_config.py CONFIG': [],
    'python tools/analysis_tools/complexity.py CONFIG': [],
    'python tools/infer.py configs/cbt_decoder/cbt_decoder_mini_ade20k.py': [],
}
SLOW = {
    'python tools/train.py configs/cbt_decoder/cbt_decoder_mini_ade20k.py': [
        '--amp', '--cfg-options', 'optim_wrapper.dtype=bfloat16', 'train_cfg.max_iters=1',
        'train_dataloader.batch_size=2', *NO_WORKERS],
    'python tools/test.py configs/cbt_decoder/cbt_decoder_mini_ade20k.py': ['--cfg-options', *NO_WORKERS],
}
TOOLS = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / 'tools').rglob('*.py'))
         if re.search(r'ArgumentParser\(|cli.main|run_module', path.read_text())]
MINI = 'configs/cbt_decoder/cbt_decoder_mini_ade20k.py'


def command_lines(text: str) -> list[list[str]]:
    """The commands of a shell text, its own variables filled in, without their settings of the environment."""
    variables: dict[str, str] = {}
    commands = []
    for line in text.replace('\\\n', ' ').splitlines():
        line = re.sub(r'\$(\w+)|\$\{(\w+)\}', lambda m: variables.get(m[1] or m[2], m[0]), line)
        words = shlex.split(line, comments=True)
        while words and re.match(r'\w+=', words[0]):
            name, _, value = words.pop(0).partition('=')
            if not words:
                variables[name] = value
        if words:
            commands.append(words)
    return commands


def documented() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in a ```bash block or in running text."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL):
            found += [(page.name, words) for words in command_lines(block)]
        prose = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
        for code in re.findall(r'`((?:bash|python3?) [^`]+)`', prose):
            found += [(page.name, words) for words in command_lines(code.replace('\n', ' '))]
    quickstart = (ROOT / 'tools' / 'quickstart.sh').read_text().replace('"${resume[@]}"', '--resume')
    return found + [('quickstart.sh', ['python', *words[1:]]) for words in command_lines(
        '\n'.join(line for line in quickstart.splitlines() if re.match(r'\w+=[\w/.]+$|"\$PYTHON" tools', line)))]


COMMANDS = documented()


class Parsed(Exception):
    """Carries what a command's own parser made of its arguments."""


def parse(monkeypatch, script: str, args: list[str]) -> argparse.Namespace:
    """Run a script as far as its parser; ``mmwhitebox`` is the command itself."""
    if script == 'mmwhitebox':
        return options.parse(build_parser(), args)

    def stop(method):
        def parsed(self, *given, **kwargs):
            raise Parsed(method(self, *given, **kwargs))
        return parsed

    with monkeypatch.context() as patch:
        for name in ('parse_args', 'parse_intermixed_args'):
            patch.setattr(argparse.ArgumentParser, name, stop(getattr(argparse.ArgumentParser, name)))
        patch.setattr(sys, 'argv', [script, *args])
        patch.setattr(sys, 'path', [str((ROOT / script).parent), *sys.path])
        with pytest.raises(Parsed) as caught:
            runpy.run_path(str(ROOT / script), run_name='__main__')
    return caught.value.args[0]


def python_command(words: list[str]) -> list[str]:
    """What a documented line runs with python, ``[script, *arguments]``; shell scripts are asked, with ``echo`` as
    their python."""
    if words[0] == 'mmwhitebox':
        return words
    if words[0] in ('python', 'python3'):
        return words[1:]
    script = ROOT / words[1]
    if 'setup_env.sh' in script.read_text():
        return [words[1].replace('.sh', '.py'), *words[2:]]
    printed = subprocess.run(['bash', script, *words[2:]], text=True, capture_output=True, check=True,
                             env={**os.environ, 'PYTHON': 'echo'}).stdout.split()
    at = next(i for i, word in enumerate(printed) if re.search(r'tools/(train|test)\.py$', word))
    return [str(Path(printed[at]).relative_to(ROOT)), *printed[at + 1:]]


@pytest.mark.parametrize('page, words', COMMANDS, ids=[f'{page}: {" ".join(words[1:3])}' for page, words in COMMANDS])
def test_a_documented_command_is_taken_by_its_parser(monkeypatch, page, words):
    if words[0] in FOREIGN:
        return
    assert words[0] in ('bash', 'python', 'python3', 'mmwhitebox'), f'{page}: {words[0]} is no program of ours'
    for word in words[1:]:
        if word.startswith(('configs/', 'tools/', 'docs/', 'projects/')):
            assert (ROOT / word).exists(), f'{page}: {word} does not exist'
    if words[1] in ('tools/run_tests.sh', 'tools/quickstart.sh', 'tools/stress.sh'):
        return
    script, *args = python_command(words)
    if script == '-m':
        assert (ROOT / f'{args[0].replace(".", "/")}.py').is_file() or (ROOT / args[0] / '__main__.py').is_file()
        return
    parsed = parse(monkeypatch, script, args)
    if getattr(parsed, 'cfg_options', None) and parsed.config not in MADE_BY_THE_READER:
        cfg = Config.fromfile(ROOT / parsed.config)
        cfg.merge_from_dict(parsed.cfg_options)
        check_config(cfg)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The folder that the pages speak of: the checkout with data, a checkpoint, photographs and the reader's config."""
    place = tmp_path_factory.mktemp('place')
    for name in ('configs', 'tools'):
        (place / name).symlink_to(ROOT / name)
    block = re.search(r'```python\n# my_decoder.py\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)[1]
    (place / 'my_decoder.py').write_text(block)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run(patch, 'tools/make_mini_ade20k.py', '--out data/mini_ade20k --train 4 --val 2 --size 64'.split())
        cfg = Config.fromfile(MINI)
        cfg.model.backbone.pretrained = False
        init_default_scope('mmseg')
        checkpoint = Path('work_dirs/quickstart/iter_330.pth')
        checkpoint.parent.mkdir(parents=True)
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), checkpoint)
        Path('my_photos').symlink_to(place / 'data' / 'mini_ade20k' / 'images' / 'validation')
    return place


def run(monkeypatch, script: str, args: list[str]) -> None:
    """Run a command in this process; it must end with status 0."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, 'argv', [script, *args])
        patch.setattr(sys, 'path', [str((ROOT / script).parent), *sys.path])
        try:
            runpy.run_path(str(ROOT / script), run_name='__main__')
        except SystemExit as ended:
            assert not ended.code, ended.code


@pytest.mark.parametrize('command', [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_quick_commands_run_as_they_are_typed(place, monkeypatch, command):
    typed = [words for _, words in COMMANDS if ' '.join(words).startswith(command)]
    assert typed
    monkeypatch.chdir(place)
    checkpoint = 'work_dirs/quickstart/iter_330.pth'
    _, script, *args = [{'CONFIG': MINI, '$checkpoint': checkpoint}.get(word, word) for word in typed[0]]
    run(monkeypatch, script, [arg for arg in args if arg != '--resume'] + (QUICK | SLOW)[command])


@pytest.mark.parametrize('script', TOOLS)
def test_help(monkeypatch, capsys, script):
    run(monkeypatch, script, ['--help'])
    assert 'usage: ' in capsys.readouterr().out


def test_commands_are_found():
    assert {page for page, _ in COMMANDS} >= {'README.md', 'performance.md', 'results.md', 'quickstart.sh'}
    assert len(COMMANDS) > 40
    assert command_lines('a=b\nX=1 python t.py $a \\\n  c # d\n') == [['python', 't.py', 'b', 'c']]


def strings(path: Path) -> list[str]:
    """The texts in a Python file, f-strings with ``PATH`` for their values."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.append(''.join(part.value if isinstance(part, ast.Constant) else 'PATH' for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


TEXTS = {path: strings(path) for path in SOURCES}
OPTIONS = sorted({option for text in [*(page.read_text() for page in PAGES), *sum(TEXTS.values(), [])]
                  for option in re.findall(r"--cfg-options\s+((?:[a-z]\w*\.)*[a-z]\w*=[^\s`'\"),;]+)", text)})


@pytest.mark.parametrize('option', OPTIONS)
def test_an_option_that_texts_recommend_passes_the_check(option, monkeypatch):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg = Config.fromfile(ROOT / 'configs' / 'cbt_decoder_ade20k.py')
    cfg.merge_from_dict(parser.parse_args(['--cfg-options', option.rstrip('.')]).cfg_options)
    if 'dtype' in option:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        use_amp(cfg)
    check_config(cfg)


def test_options_are_found():
    assert {'optim_wrapper.dtype=bfloat16.', 'train_dataloader.batch_size=4'} <= set(OPTIONS)


def test_flags_that_texts_mention_exist():
    defined = {text for texts in TEXTS.values() for text in texts if re.fullmatch(r'--[a-z][\w-]*', text)}
    texts = {**TEXTS, **{page: [page.read_text()] for page in PAGES}}
    unknown = {(path.name, flag) for path, found in texts.items() for text in found
               for flag in re.findall(r'(?<![\w-])--[a-z][a-z0-9_-]+', text)} - {
                   (path.name, flag) for path in texts for flag in defined | FOREIGN_FLAGS}
    assert not unknown
