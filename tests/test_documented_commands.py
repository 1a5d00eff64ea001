"""Every command of the documentation and of the messages is one that its parser takes, with files that exist; it runs
as it is typed, on miniature data, or it is said here why not. The Python of the pages runs, their links lead on."""
import argparse
import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.run
from mmengine.config import DictAction
from PIL import Image

from mmwhitebox.apis import init_model, list_models, save_pretrained
from mmwhitebox.checkpoints.arrays import write_arrays
from mmwhitebox.cli import options
from mmwhitebox.cli.main import build_parser, main
from mmwhitebox.config import pretrained
from mmwhitebox.config.check import check_config
from mmwhitebox.config.reading import load_config
from mmwhitebox.engine.setup import use_amp
from mmwhitebox.errors import ConfigError
from tests.configs import ROOT
from tests.golden import Golden
from tests.published_sets import PUBLISHED, write

PAGES = [ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md')), *sorted(ROOT.glob('configs/**/README.md')),
         *sorted(ROOT.glob('projects/*/README.md'))]
SOURCES = sorted(path for folder in ('mmwhitebox', 'tools', 'benchmarks', 'projects', 'examples')
                 for path in (ROOT / folder).rglob('*.py') if 'configs' not in path.parts)
FOREIGN = {'source', 'pip', 'export', 'mkdir', 'eval', '.venv/bin/ruff'}  # programs that are not ours
# Of pip, srun, pytest, git, torchrun.
FOREIGN_FLAGS = {'--help', '--force-reinstall', '--no-deps', '--signal', '--hypothesis-profile', '--short',
                 '--nproc_per_node', '--onnx', '--saveEngine', '--minShapes', '--optShapes', '--maxShapes'}
A_FOLDER = 'work_dirs/my_data/pretrained'
MADE_BY_THE_READER = ('my_decoder.py', 'my_data.py', 'my_good_data.py', 'my_bands.py', 'my_classes.py', 'data/mine',
                       'CONFIG', 'work_dirs/my_data', A_FOLDER)
# Commands run as documented, in a folder laid out as the pages say: those that begin so, with what makes them short.
OPTIONS_OF = {split: [f'{split}_dataloader.{key}' for key in ('num_workers=0', 'persistent_workers=False')]
              for split in ('train', 'val', 'test')}
NO_WORKERS = [option for options in OPTIONS_OF.values() for option in options]
ONE_LAYER = ['model.backbone.pretrained=False', 'model.backbone.model_kwargs.depth=1']
SHORT = ['--cfg-options', 'train_dataloader.batch_size=2', *NO_WORKERS]
ONE_ITERATION = [*SHORT, 'train_cfg.max_iters=1']
BRIEF = ['--train', '4', '--val', '2', '--size', '64']
QUICK = {
    'python tools/make_mini_ade20k.py': BRIEF,
    'python -m mmwhitebox.doctor': [],
    'mmwhitebox --help': [],
    'mmwhitebox doctor': [],
    'mmwhitebox config': [],
    'mmwhitebox new': ['--force'],
    'mmwhitebox check-data': ['--workers', '0'],
    'mmwhitebox convert': [],
    'mmwhitebox convert crate_alpha': ['--num-heads', '3'],
    'mmwhitebox convert crate_mae': ['--num-heads', '3'],
    'mmwhitebox weights': [],
    'mmwhitebox infer cbt': [],
    'mmwhitebox infer my_data.py': [],
    'mmwhitebox explore cbt_decoder_mini_ade20k work_dirs/quickstart/iter_330.pth --images photo.jpg --export': [],
    'mmwhitebox infer work_dirs/my_data/pretrained': [],
    'mmwhitebox measure': [],
    'mmwhitebox measure attention_map': ['--max-images', '1'],
    'mmwhitebox measure complexity --curve': ['--dims', '16', '--num-heads', '2'],
    'mmwhitebox export cbt_decoder_mini_ade20k work_dirs/quickstart/iter_330.pth --format safetensors': [],
    'mmwhitebox export my_data.py': [],
}
SLOW = {
    'python tools/train.py configs/cbt_decoder/cbt_decoder_mini_ade20k.py': [
        '--amp', *ONE_ITERATION, 'optim_wrapper.dtype=bfloat16'],
    'python tools/test.py configs/cbt_decoder/cbt_decoder_mini_ade20k.py': ['--cfg-options', *NO_WORKERS],
    'python tools/make_mini_imagenet.py': ['--train', '36', '--val', '18', '--size', '64'],
    'mmwhitebox train cbt_decoder_mini_ade20k': ONE_ITERATION,
    'mmwhitebox train cbt_decoder_ade20k': [*ONE_ITERATION, *ONE_LAYER],
    'mmwhitebox train my_decoder.py': [*ONE_ITERATION, *ONE_LAYER],
    'mmwhitebox train my_data.py': ONE_ITERATION,
    'mmwhitebox train cbt_decoder_small_loveda': [*ONE_ITERATION, *ONE_LAYER],
    'mmwhitebox train cbt_mini_imagenet': [*SHORT, 'train_cfg.max_epochs=1'],
    'mmwhitebox train crate_mae_mini_imagenet': [*SHORT[:6], 'train_cfg.max_epochs=1'],
    'mmwhitebox train simdino_mini_imagenet': [*SHORT[:6], 'train_cfg.max_epochs=1'],
    'mmwhitebox train crate_srr_mini_imagenet': [*SHORT, 'train_cfg.max_epochs=1'],
    'mmwhitebox train my_classes.py': [*SHORT, 'train_cfg.max_epochs=1'],
    'torchrun': [*ONE_ITERATION, *ONE_LAYER],
    'mmwhitebox test': ['--cfg-options', *ONE_LAYER, *NO_WORKERS],
    'mmwhitebox report': ['--max-images', '1'],
    'mmwhitebox measure knn': ['--cfg-options', *OPTIONS_OF['train'], *OPTIONS_OF['val']],
    'mmwhitebox measure complexity --zoo': [],
    'mmwhitebox measure synthetic': [],
    'mmwhitebox export': [],
}
NOT_RUN = {
    'torchrun --nproc_per_node 8 -m mmwhitebox infer': 'eight GPUs; tests/test_tools/test_infer_at_scale.py',
    'mmwhitebox explore': 'serves until it is stopped; tests/test_explorer/test_command.py',
    'bash tools/quickstart.sh': 'its own commands are, one by one',
    'bash tools/run_tests.sh': 'these are the tests',
    'bash tools/stress.sh': 'half an hour; tests/stress/test_itself.py',
    'bash tools/dist_train.sh': 'eight GPUs; tests/test_tools/test_main_job.py',
    'bash tools/dist_test.sh': 'eight GPUs; tests/test_tools/test_main_job.py',
    'bash tools/reproduce.sh': 'hours; tests/test_projects/test_runs.py',
    **{f'mmwhitebox {words}': 'images of four channels; tests/test_tools/test_new_channels.py' for words in (
        'new data/fields', 'check-data my_bands.py', 'train my_bands.py', 'infer my_bands.py')},
    'mmwhitebox train projects/': 'CamVid; tests/test_projects/test_configs.py',
    'python tools/benchmark.py': 'hours; tests/test_benchmarks/test_benchmarks.py',
    'python -m benchmarks': 'hours; tests/test_benchmarks/test_benchmarks.py',
    'mmwhitebox train benchmarks/': 'half an hour; tests/test_benchmarks/test_deploy.py',
    'mmwhitebox export cbt_decoder_mini_ade20k work_dirs/quickstart/iter_330.pth --format onnx --dynamic --dtype int8':
        'a trained model; tests/test_apis/test_export_int8.py',
    'mmwhitebox test cbt_decoder_mini_ade20k cbt_decoder_int8.onnx': 'the file of the command before it; likewise',
    'mmwhitebox train cbt_small_imagenet': 'ImageNet; the miniature is',
    'mmwhitebox weights get': 'a network; tests/test_tools/test_weights.py',
    'mmwhitebox export work_dirs/my_data': 'the work dir of a training; tests/test_apis/test_pretrained_export.py',
}
TOOLS = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / 'tools').rglob('*.py'))
         if re.search(r'ArgumentParser\(|cli.main|run_module', path.read_text())]
MINI = 'configs/cbt_decoder/cbt_decoder_mini_ade20k.py'
MODELS = list_models()


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
        text, name = page.read_text(), page.relative_to(ROOT).as_posix()
        for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL):
            found += [(name, words) for words in command_lines(block)]
        prose = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
        for code in re.findall(r'`((?:bash|python3?|mmwhitebox [\w-]+) [^`]+)`', prose):
            found += [(name, words) for words in command_lines(code.replace('\n', ' '))]
    quickstart = (ROOT / 'tools' / 'quickstart.sh').read_text().replace('"${resume[@]}"', '--resume')
    return found + [('quickstart.sh', ['python', *words[1:]]) for words in command_lines(
        '\n'.join(line for line in quickstart.splitlines() if re.match(r'\w+=[\w/.]+$|"\$PYTHON" tools', line)))]


COMMANDS = documented()


def kind(words: list[str]) -> str | None:
    """The longest beginning under which a command is told to be quick, slow or not run."""
    text = ' '.join(words)
    return max((name for name in (*QUICK, *SLOW, *NOT_RUN) if text.startswith(name)), key=len, default=None)


RUN = {' '.join(words): words for _, words in COMMANDS if words[0] not in FOREIGN and kind(words) not in NOT_RUN}


class Parsed(Exception):
    """Carries what a command's own parser made of its arguments."""


def parse(monkeypatch, script: str, args: list[str]) -> argparse.Namespace:
    """Run a script as far as its parser; ``mmwhitebox`` is the command itself."""
    if script == 'mmwhitebox':
        with monkeypatch.context() as patch:
            patch.setattr(pretrained, 'is_pretrained', lambda path: path == A_FOLDER)
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
    if words[0] == 'torchrun':
        launched = torch.distributed.run.parse_args(words[1:])
        assert launched.module
        return [launched.training_script, *launched.training_script_args]
    if words[0] in ('python', 'python3'):
        return words[1:]
    script = ROOT / words[1]
    if 'setup_env.sh' in script.read_text():
        return [words[1].replace('.sh', '.py'), *words[2:]]
    printed = subprocess.run(['bash', script, *words[2:]], text=True, capture_output=True, check=True,
                             env={**os.environ, 'PYTHON': 'echo'}).stdout.split()
    at = next(i for i, word in enumerate(printed) if re.search(r'tools/(train|test)\.py$', word))
    return [str(Path(printed[at]).relative_to(ROOT)), *printed[at + 1:]]


def check_options(monkeypatch, config: str, given: dict) -> None:
    """What a command does with its overrides before it builds anything."""
    cfg = load_config(config, given)
    if any('dtype' in key for key in given):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        use_amp(cfg)
    check_config(cfg)


@pytest.mark.parametrize('page, words', COMMANDS, ids=[f'{page}: {" ".join(words[1:3])}' for page, words in COMMANDS])
def test_a_documented_command_is_taken_by_its_parser(monkeypatch, page, words):
    if words[0] in FOREIGN:
        return
    assert words[0] in ('bash', 'python', 'torchrun', 'mmwhitebox'), f'{page}: {words[0]} is no program of ours'
    for word in words[1:]:
        if word.startswith(('configs/', 'tools/', 'docs/', 'projects/')):
            assert (ROOT / word).exists(), f'{page}: {word} does not exist'
    if words[1] in ('tools/run_tests.sh', 'tools/quickstart.sh', 'tools/stress.sh'):
        return
    script, *args = python_command(words)
    if script == '-m':
        assert (ROOT / f'{args[0].replace(".", "/")}.py').is_file() or (ROOT / args[0] / '__main__.py').is_file()
        return
    if args[-1:] == ['--help']:
        return
    parsed = parse(monkeypatch, script, args)
    config = getattr(parsed, 'config', None)
    if config in (None, *MADE_BY_THE_READER) or 'checkpoint' not in parsed and 'cfg_options' not in parsed:
        return  # none, or one that the command writes
    assert (ROOT / config).is_file() or config in MODELS, f'{page}: there is no config {config}'
    if getattr(parsed, 'cfg_options', None):
        check_options(monkeypatch, config if config in MODELS else str(ROOT / config), parsed.cfg_options)


def python_blocks(page: Path) -> list[str]:
    """The Python of a page, block by block; one that is a file begins with its name, ``# my_data.py``."""
    return re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)


def file_name(block: str) -> str | None:
    """Name of the file that a block is."""
    match = re.match(r'# (\w+\.py)\n', block)
    return match and match[1]


def save_weights(config: str, checkpoint: str, **options) -> None:
    """A checkpoint of a config, as initialised."""
    Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
    model = init_model(config, device='cpu', cfg_options=options)
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The folder that the pages speak of: a checkout with data, checkpoints, photographs and the reader's configs."""
    place = tmp_path_factory.mktemp('place')
    for name in ('configs', 'tools'):
        (place / name).symlink_to(ROOT / name)
    for block in (block for page in PAGES for block in python_blocks(page) if file_name(block)):
        (place / file_name(block)).write_text(block)
    one_layer = {'model.backbone.pretrained': False, 'model.backbone.model_kwargs': dict(depth=1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run(patch, ['tools/make_mini_ade20k.py', '--out', 'data/mini_ade20k', *BRIEF])
        images = Path('data/mini_ade20k/images/validation')
        Path('my_photos').symlink_to(place / images)
        shutil.copy(next(images.iterdir()), 'photo.jpg')
        for split in ('train', 'val'):
            for folder in ('images', 'masks'):
                Path(f'data/mine/{folder}/{split}').mkdir(parents=True)
            for name in ('cat', 'dog'):
                Path(f'data/my_classes/{split}/{name}').mkdir(parents=True)
            for number, image in enumerate(sorted(images.iterdir())):
                name = f'data/mine/{{}}/{split}/{split}_{number}'
                picture = Image.open(image).rotate(180 * (split == 'val'))
                picture.save(name.format('images') + '.jpg')
                picture.save(f'data/my_classes/{split}/{("cat", "dog")[number % 2]}/{number}.jpg')
                mask = Image.new('L', picture.size)
                mask.paste(255, (8, 8, 24, 24 + number))
                mask.save(name.format('masks') + '.png')
        run(patch, ['mmwhitebox', 'new', 'data/my_classes', '--out', 'my_classes.py'])
        write(PUBLISHED['loveda'], Path('data/loveDA'))
        save_weights(MINI, 'work_dirs/quickstart/iter_330.pth')
        save_weights('cbt_decoder_ade20k', 'work_dirs/cbt_decoder_ade20k/iter_161664.pth', **one_layer)
        save_weights('crate_mae_mini_imagenet', 'work_dirs/crate_mae_mini_imagenet/epoch_24.pth')
        save_weights('my_data.py', 'work_dirs/my_data/iter_200.pth')
        save_pretrained(init_model('my_data.py', 'work_dirs/my_data/iter_200.pth', 'cpu'), A_FOLDER)
        save_weights('cbt_small_imagenet', 'work_dirs/cbt_small_imagenet/epoch_150.pth')
        torch.save(dict(state_dict=Golden('hybrid_model').params), 'cbt_small.pth')  # an official one
        torch.save(Golden('crate_alpha_model').params, 'crate_alpha_B16.pth')
        torch.save(dict(model=Golden('crate_mae_model').params), 'crate_mae_base.pth')
        write_arrays(Golden('crate_alpha_jax').params, 'crate_alpha_B8.npz')
    return place


@pytest.fixture
def at_place(place, monkeypatch):
    """The folder as the current one; ADE20K there is the miniature."""
    monkeypatch.chdir(place)
    monkeypatch.setenv('ADE20K_ROOT', 'data/mini_ade20k')


def run(monkeypatch, words: list[str]) -> None:
    """Run ``mmwhitebox ...``, ``-m MODULE ...`` or ``SCRIPT ...`` in this process; it must end with status 0."""
    with monkeypatch.context() as patch:
        try:
            if words[0] == 'mmwhitebox':
                main(words[1:])
            elif words[0] == '-m':
                patch.setattr(sys, 'argv', words[1:])
                runpy.run_module(words[1], run_name='__main__')
            else:
                patch.setattr(sys, 'argv', words)
                patch.setattr(sys, 'path', [str((ROOT / words[0]).parent), *sys.path])
                runpy.run_path(str(ROOT / words[0]), run_name='__main__')
        except SystemExit as ended:
            assert not ended.code, ended.code


@pytest.mark.parametrize('command', [
    pytest.param(text, id=text, marks=[pytest.mark.slow] if kind(words) in SLOW else [])
    for text, words in RUN.items()])
def test_commands_run_as_they_are_typed(at_place, monkeypatch, command):
    checkpoint = 'work_dirs/quickstart/iter_330.pth'
    words = [{'CONFIG': MINI, '$checkpoint': checkpoint}.get(word, word) for word in RUN[command]]
    words = [word for number, word in enumerate(words) if word != '--resume' or words[number + 1:]]
    words += (QUICK | SLOW)[kind(RUN[command])]
    if words[-1] == 'train_cfg.max_epochs=1' and not Path('data/mini_imagenet').exists():  # another page makes it
        maker = 'python tools/make_mini_imagenet.py'
        run(monkeypatch, [maker.split()[1], '--out', 'data/mini_imagenet', *(QUICK | SLOW)[maker]])
    if words[0] == 'torchrun':
        words[words.index('8')] = '2'
        subprocess.run([sys.executable, '-m', 'torch.distributed.run', *words[1:]], check=True,
                       env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'MASTER_PORT': '29617'})
        return
    run(monkeypatch, words[1:] if words[0] == 'python' else words)


def test_every_command_runs_or_it_is_said_why_not():
    kinds = [kind(words) for _, words in COMMANDS if words[0] not in FOREIGN]
    assert None not in kinds, [words for _, words in COMMANDS if words[0] not in FOREIGN and kind(words) is None]
    assert {*QUICK, *SLOW, *NOT_RUN} == set(kinds)


@pytest.mark.parametrize('page', [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(at_place, monkeypatch, page):
    monkeypatch.setattr(Image.Image, 'show', lambda self: None)
    names = {}
    for block in python_blocks(page):
        if file_name(block):
            check_config(load_config(file_name(block)))
        else:
            exec(compile(block, page.name, 'exec'), names)


@pytest.mark.parametrize('page', PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_links_lead_somewhere(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        if not re.match(r'https?:', link):
            path, _, anchor = link.partition('#')
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f'{page.name}: {link}'
            assert not anchor or anchor in anchors(target), f'{page.name}: {link}'


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links."""
    headings = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_the_front_page_is_short_and_every_page_is_in_the_list():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 100
    listed = set(re.findall(r'\]\((\w+\.md)\)', (ROOT / 'docs' / 'README.md').read_text()))
    assert listed == {page.name for page in (ROOT / 'docs').glob('*.md')} - {'README.md'}


@pytest.mark.parametrize('script', TOOLS)
def test_help(monkeypatch, capsys, script):
    run(monkeypatch, [script, '--help'])
    assert 'usage: ' in capsys.readouterr().out


def test_commands_are_found():
    found = {page for page, _ in COMMANDS}
    pages = {page.relative_to(ROOT).as_posix() for page in ROOT.glob('docs/*.md') if not python_blocks(page)}
    assert found >= {'README.md', 'configs/README.md', 'quickstart.sh', *pages - {'docs/README.md'}}
    assert len(COMMANDS) > 80 and len(RUN) > 35
    assert command_lines('a=b\nX=1 python t.py $a \\\n  c # d\n') == [['python', 't.py', 'b', 'c']]


def test_commands_that_texts_name_exist():
    texts = [*(page.read_text() for page in PAGES), *sum(TEXTS.values(), [])]
    named = {name for text in texts for name in re.findall(r'`mmwhitebox ([\w-]+)', text)}
    assert {'train', 'check-data'} <= named <= {*build_parser().commands, 'COMMAND'}


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


OF_MODELS = ('cbt_decoder_ade20k', 'crate_alpha_base_finetune_imagenet', 'crate_mae_base_imagenet')  # one takes it


@pytest.mark.parametrize('option', OPTIONS)
def test_an_option_that_texts_recommend_passes_the_check(option, monkeypatch):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    given = parser.parse_args(['--cfg-options', option.rstrip('.')]).cfg_options
    for last, config in enumerate(OF_MODELS, 1 - len(OF_MODELS)):
        try:
            return check_options(monkeypatch, config, given)
        except ConfigError:
            if not last:
                raise


def test_options_are_found():
    assert {'optim_wrapper.dtype=bfloat16.', 'train_dataloader.batch_size=4'} <= set(OPTIONS)


def test_flags_that_texts_mention_exist():
    defined = {text for texts in TEXTS.values() for text in texts if re.fullmatch(r'--[a-z][\w-]*', text)}
    defined |= {name for texts in TEXTS.values() for text in texts for name in re.findall(r'(--\w+): #', text)}  # CSS
    texts = {**TEXTS, **{page: [page.read_text()] for page in PAGES}}
    unknown = {(path.name, flag) for path, found in texts.items() for text in found
               for flag in re.findall(r'(?<![\w-])--[a-z][a-zA-Z0-9_-]+', text)} - {
                   (path.name, flag) for path in texts for flag in defined | FOREIGN_FLAGS}
    assert not unknown
