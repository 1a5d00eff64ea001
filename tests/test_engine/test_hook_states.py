"""What hooks remember survives a stop: early stopping ends a resumed training where it ends an undisturbed one."""
import pytest
from mmengine.hooks import EarlyStoppingHook
from mmengine.registry import HOOKS

from mmwhitebox.checkpoints import verify_checkpoint
from mmwhitebox.engine.hooks.exact_resume import ExactResumeHook
from mmwhitebox.engine.hooks.hook_states import INEXACT
from tests.test_engine import small
from tests.test_engine.trainings import same, train

pytestmark = pytest.mark.usefixtures('quick')
SCORES = [50, 30, 60, 61, 55, 40, 45, 70, 80, 90]  # of the validations: the best is the fourth, until the eighth


def run(work_dir, resume=None, by_epoch=False, patience=3, **options):
    """Train up to ten validations; the number of iterations done, and the hook."""
    runner = small.make_runner(work_dir, resume, val=True, by_epoch=by_epoch, max_iters=40 if by_epoch else 20,
                               **options)
    stop = EarlyStoppingHook('mIoU', rule='greater', min_delta=0., patience=patience)
    runner.register_hook(ExactResumeHook())
    runner.register_hook(stop)
    runner.train()
    return runner.iter, stop


@pytest.fixture
def scores(monkeypatch):
    def use(by_epoch):
        step = 4 if by_epoch else 2
        monkeypatch.setattr(small, 'SCORES', {step * (i + 1): float(score) for i, score in enumerate(SCORES)})
    return use


@pytest.mark.parametrize('by_epoch, options', [
    (False, dict(save_best='mIoU', rule='greater')), (True, {})], ids=['iterations-best', 'epochs-regular'])
def test_patience_is_kept(tmp_path, scores, by_epoch, options):
    """It ends after the seventh validation, wherever it was stopped before; forgetful, it would go on."""
    scores(by_epoch)
    iterations = 28 if by_epoch else 14
    whole, hook = run(tmp_path / 'whole', by_epoch=by_epoch, **options)
    assert (whole, hook.best_score, hook.wait_count) == (iterations, 61., 3)
    for i in range(1, 8):
        checkpoint = tmp_path / 'whole' / (f'epoch_{i}.pth' if by_epoch else f'iter_{2 * i}.pth')
        verify_checkpoint(checkpoint)
        done, hook = run(tmp_path / f'from{i}', checkpoint, by_epoch, **options)
        assert (done, hook.best_score, hook.wait_count) == (iterations, 61., 3), i


def test_a_greater_patience_goes_on(tmp_path, scores):
    scores(False)
    run(tmp_path / 'whole')
    assert run(tmp_path / 'resumed', tmp_path / 'whole/iter_14.pth', patience=4)[0] == 20


def test_a_threshold_that_was_reached_ends_the_resumed_training(tmp_path, scores):
    """The checkpoint that knows of the best score is of the very iteration at which the training ended."""
    scores(False)

    def threshold(work_dir, resume=None):
        runner = small.make_runner(work_dir, resume, val=True, max_iters=20, save_best='mIoU', rule='greater')
        runner.register_hook(ExactResumeHook())
        runner.register_hook(EarlyStoppingHook('mIoU', rule='greater', min_delta=0., stopping_threshold=60.5))
        runner.train()
        return runner.iter

    assert threshold(tmp_path / 'whole') == 8
    assert threshold(tmp_path / 'resumed', tmp_path / 'whole/iter_8.pth') == 8


@pytest.mark.parametrize('hooks, by_epoch', [
    pytest.param([dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.1, gamma=5, begin_iter=3)], False,
                 marks=pytest.mark.slow),
    ([dict(type='EMAHook', ema_type='StochasticWeightAverage', interval=2, update_buffers=True)], True),
    pytest.param([dict(type='mmpretrain.EMAHook', momentum=0.1, evaluate_on_origin=True)], True,
                 marks=pytest.mark.slow),
    ([dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=2, batch_augments=None)])], True),
    ([dict(type='mmpretrain.PreciseBNHook', num_samples=6, priority='ABOVE_NORMAL'), dict(type='SyncBuffersHook'),
      dict(type='EmptyCacheHook'), dict(type='ProfilerHook', by_epoch=False, profile_times=2)], True),
], ids=['annealing', 'swa', 'mmpretrain', 'recipe', 'others'])
def test_hooks_that_keep_their_state_elsewhere(images, tmp_path, hooks, by_epoch):
    options = dict(custom_hooks=hooks, randomness=dict(seed=0))
    task = 'seg' if hooks[0]['type'] == 'mmpretrain.PreciseBNHook' else 'cls'  # the one with batch norm
    last = f'iter_{12 if by_epoch else 11}.pth'
    train(images, tmp_path / 'whole', task, by_epoch, options=options)
    train(images, tmp_path / 'resumed', task, by_epoch, resume=tmp_path / 'whole/iter_5.pth', options=options)
    assert same(tmp_path / 'whole' / last, tmp_path / 'resumed' / last)


def test_every_hook_of_the_stack_has_been_looked_at():
    """A new one in a later version shows here: does it remember what a training depends on?"""
    import mmpretrain.engine.hooks  # noqa: F401
    import mmseg.engine.hooks  # noqa: F401
    known = {
        # nothing, or nothing that matters
        'IterTimerHook', 'DistSamplerSeedHook', 'ParamSchedulerHook', 'SyncBuffersHook', 'EmptyCacheHook',
        'NaiveVisualizationHook', 'RuntimeInfoHook', 'LoggerHook', 'ProfilerHook', 'NPUProfilerHook', 'PrepareTTAHook',
        'SegVisualizationHook', 'VisualizationHook', 'ClassNumCheckHook', 'PreciseBNHook', 'SimSiamHook',
        'PrepareProtoBeforeValLoopHook',
        # set anew when training starts, from the data, the config or the number of the iteration
        'SetAdaptiveMarginsHook', 'DenseCLHook', 'WarmupParamHook', 'SwitchRecipeHook',
        # in the checkpoint by themselves
        'CheckpointHook', 'EMAHook', 'EarlyStoppingHook'}
    from mmpretrain.registry import HOOKS as PRETRAIN
    from mmseg.registry import HOOKS as SEG
    found = {name for registry in (HOOKS, SEG, PRETRAIN) for name, hook in registry.module_dict.items()
             if hook.__module__.startswith(('mmengine.', 'mmseg.', 'mmpretrain.'))}
    assert found <= known | set(INEXACT)
    assert {'EarlyStoppingHook', *INEXACT} <= found


def test_a_hook_that_cannot_is_named(tmp_path):
    class SwAVHook(EarlyStoppingHook):
        def after_val_epoch(self, runner, metrics=None):
            pass

    runner = small.make_runner(tmp_path, max_iters=2)
    runner.register_hook(ExactResumeHook())
    runner.register_hook(SwAVHook('mIoU'))
    lines = []
    runner.logger.warning = lines.append
    runner.train()
    assert sum('will not be exact: SwAVHook' in line for line in lines) == 1
