"""``--resume``: what it takes, what it says of the rest, and errors that say what to do."""
import pytest
import torch
from mmengine.config import Config

from mmwhitebox.engine import resume
from mmwhitebox.engine.resume import resolve_resume
from mmwhitebox.engine.setup import use_schedule
from mmwhitebox.errors import CheckpointError, UserError
from tests.test_engine.small import make_runner


@pytest.fixture
def work_dir(tmp_path):
    make_runner(tmp_path, max_iters=4).train()
    return tmp_path


def config(work_dir, **checkpoint):
    return Config(dict(work_dir=str(work_dir), default_hooks=dict(checkpoint=checkpoint)))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3000])


def test_a_fresh_training_is_left_alone(work_dir):
    cfg = config(work_dir)
    resolve_resume(cfg, None)
    assert 'resume' not in cfg


def test_the_newest_and_a_line_for_each_that_is_passed_over(work_dir, monkeypatch):
    lines = []
    monkeypatch.setattr(resume, 'print_log', lambda line, **options: lines.append(line))
    truncate(work_dir / 'iter_4.pth')
    cfg = config(work_dir)
    resolve_resume(cfg, 'auto')
    assert cfg.resume and cfg.load_from == str(work_dir / 'iter_2.pth')
    assert len(lines) == 2 and 'iter_4.pth' in lines[0] and f'continuing from {work_dir}/iter_2.pth' in lines[1]


def test_nothing_to_continue_from(work_dir):
    truncate(work_dir / 'iter_2.pth')
    truncate(work_dir / 'iter_4.pth')
    with pytest.raises(UserError, match='no checkpoint in .* to continue from') as caught:
        resolve_resume(config(work_dir), 'auto')
    assert 'iter_2.pth' in str(caught.value) and 'iter_4.pth' in str(caught.value)


def test_another_folder_of_the_hook_is_searched(work_dir, tmp_path):
    out = tmp_path / 'out' / work_dir.name
    out.mkdir(parents=True)
    (work_dir / 'iter_4.pth').rename(out / 'iter_4.pth')
    cfg = config(work_dir, out_dir=str(tmp_path / 'out'))
    resolve_resume(cfg, 'auto')
    assert cfg.load_from == str(out / 'iter_4.pth')


def test_a_named_checkpoint(work_dir):
    cfg = config(work_dir)
    resolve_resume(cfg, str(work_dir / 'iter_2.pth'))
    assert cfg.load_from == str(work_dir / 'iter_2.pth')
    with pytest.raises(UserError, match='iter_9.pth does not exist'):
        resolve_resume(cfg, str(work_dir / 'iter_9.pth'))
    truncate(work_dir / 'iter_2.pth')
    with pytest.raises(CheckpointError, match='iter_2.pth'):
        resolve_resume(cfg, str(work_dir / 'iter_2.pth'))
    weights = torch.load(work_dir / 'iter_4.pth', weights_only=False)['state_dict']
    torch.save(weights, work_dir / 'weights.pth')
    with pytest.raises(UserError, match='does not say at which iteration.*load_from'):
        resolve_resume(cfg, str(work_dir / 'weights.pth'))


# --resume if-any


def test_if_any_begins_in_an_empty_work_dir(tmp_path):
    cfg = config(tmp_path)
    cfg.load_from = 'weights.pth'
    resolve_resume(cfg, 'if-any')
    assert 'resume' not in cfg and cfg.load_from == 'weights.pth'


def test_if_any_goes_on_where_there_is_one(work_dir):
    truncate(work_dir / 'iter_4.pth')
    cfg = config(work_dir)
    resolve_resume(cfg, 'if-any')
    assert cfg.resume and cfg.load_from == str(work_dir / 'iter_2.pth')


def test_if_any_never_restarts_in_silence(work_dir):
    """Damaged ones, weights alone, checkpoints that went elsewhere: the work dir has had a training."""
    for name in ('iter_2.pth', 'iter_4.pth'):
        truncate(work_dir / name)
    with pytest.raises(UserError, match='if-any.*nothing in it can be continued from') as caught:
        resolve_resume(config(work_dir), 'if-any')
    assert 'iter_2.pth' in str(caught.value) and 'iter_4.pth' in str(caught.value)
    for name in ('iter_2.pth', 'iter_4.pth'):
        (work_dir / name).unlink()
    with pytest.raises(UserError, match='last_checkpoint names .*iter_4.pth'):
        resolve_resume(config(work_dir), 'if-any')
    (work_dir / 'last_checkpoint').unlink()
    torch.save(dict(state_dict={}), work_dir / 'best.pth')
    with pytest.raises(UserError, match='best.pth was skipped'):
        resolve_resume(config(work_dir), 'if-any')


@pytest.mark.parametrize('choice', [None, 'config', 'checkpoint'])
def test_whose_schedule_is_followed(choice):
    for hooks in ({}, dict(schedule=dict(type='mmwhitebox.ScheduleHook', allow_zero_lr=True)), dict(schedule=None)):
        cfg = Config(dict(default_hooks=dict(hooks)))
        use_schedule(cfg, choice)
        if choice is not None:
            assert cfg.default_hooks.schedule.on_resume == choice
            assert cfg.default_hooks.schedule.get('allow_zero_lr') == (hooks.get('schedule') or {}).get('allow_zero_lr')
        elif hooks:
            assert cfg.default_hooks == hooks
        else:
            assert cfg.default_hooks.schedule.type == 'mmwhitebox.ScheduleHook'
