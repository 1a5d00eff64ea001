"""What commands print: nothing that was not asked for, and one message where something is wrong."""
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmwhitebox.cli import running
from mmwhitebox.engine.runner import ConsoleRunner, for_people
from mmwhitebox.errors import UserError
from tests.configs import ROOT
from tests.test_engine.trainings import make_config, write_images

COMMANDS = sorted(path.relative_to(ROOT).as_posix() for folder in ('', 'analysis_tools', 'model_converters')
                  for path in (ROOT / 'tools' / folder).glob('*.py'))
SLOW = {'benchmark', 'dist_launch', 'make_mini_ade20k', 'make_mini_imagenet', 'reproduce', 'stress'}


def test_help_does_not_import_torch(monkeypatch):
    """One process for all: it shows each help text, then asks what was imported."""
    code = ('import runpy, sys\n'
            'for path in sys.argv[1:]:\n'
            '    sys.argv = [path, "--help"]\n'
            '    try:\n'
            '        runpy.run_path(path, run_name="__main__")\n'
            '    except SystemExit as done:\n'
            '        assert done.code == 0, path\n'
            '    assert "torch" not in sys.modules, path\n')
    commands = [name for name in COMMANDS if name.rpartition('/')[2][:-3] not in SLOW]
    assert len(commands) > 12
    done = subprocess.run([sys.executable, '-c', code, *commands], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('usage: ') == len(commands) and done.stderr == ''


def test_print_config_prints_the_config_alone(fresh, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('answer = 42\n')
    done = fresh.run("import runpy, sys, warnings; warnings.filterwarnings('default', 'Fail to import')\n"
                     f"sys.argv = ['print_config.py', {str(config)!r}]\n"
                     f"runpy.run_path({str(ROOT / 'tools' / 'print_config.py')!r}, run_name='__main__')", tmp_path)
    assert done.stderr == ''
    namespace = {}
    exec(done.stdout, namespace)
    assert namespace['answer'] == 42


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_the_reader_of_the_output_may_leave(unbuffered, tmp_path):
    """A command that prints more than a pipe holds."""
    code = ("from mmwhitebox.cli import config, main; config.run = lambda args: print('a line\\n' * 99999); "
            "main.main(['config', 'x'])")
    done = subprocess.run(['bash', '-c', f'{sys.executable} -c "{code}" | head -n 1; exit ${{PIPESTATUS[0]}}'],
                          text=True, capture_output=True, cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': unbuffered})
    assert done.returncode == running.UNREAD and done.stderr == '' and done.stdout == 'a line\n'


@pytest.mark.parametrize('error, status', [(KeyboardInterrupt(), running.STOPPED), (BrokenPipeError('a worker'), None)])
def test_other_ends(error, status):
    def end():
        raise error

    with pytest.raises(SystemExit if status else BrokenPipeError) as caught:
        running.run_command(end)
    assert status is None or caught.value.code == status


def refuse():
    raise UserError('no data')


@pytest.mark.parametrize('rank, local_rank, seconds, message', [
    (0, 0, 0, 'error: no data'), (1, 1, 10, 'process 1: error: no data'), (4, 0, 5, 'process 4: error: no data')])
def test_the_first_process_speaks_at_once(monkeypatch, tmp_path, rank, local_rank, seconds, message):
    waited = [0]
    monkeypatch.setattr(time, 'sleep', waited.append)
    monkeypatch.setenv('RANK', str(rank))
    monkeypatch.setenv('LOCAL_RANK', str(local_rank))
    monkeypatch.setenv(running.REFUSED_NOTE, str(tmp_path / 'note'))
    with pytest.raises(SystemExit) as done:
        running.run_command(refuse)
    assert done.value.code == message and waited[-1] == seconds and (tmp_path / 'note').is_file()


def test_the_console_is_spared_of_what_the_file_holds():
    def shown(text):
        return for_people(logging.LogRecord('x', logging.INFO, '', 0, text, (), None))

    assert not shown('Config:\na = 1') and not shown('\n' + 60 * '-' + '\nSystem environment:\n    Python: 3')
    assert shown('Iter(train) [50/100]  eta: 0:00:09') and shown('Configured')


def test_a_training_shows_a_short_head_and_its_log_file_all(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr('mmengine.runner.runner.collect_env', lambda: {'Answer': '42'})
    write_images(tmp_path / 'data')
    runner = ConsoleRunner.from_cfg(make_config(tmp_path / 'data', tmp_path / 'work', options=dict(log_level='INFO')))
    runner.say_head()
    shown = ''.join(capfd.readouterr())
    held = Path(runner.logger.log_file).read_text()
    for text in ('System environment:', 'Answer: 42', 'Config:\n', 'Hooks will be executed'):
        assert text in held and text not in shown
    assert 'M parameters on cpu, 1 process(es)' in shown and runner.logger.log_file in shown
    assert len(shown.splitlines()) < 8
