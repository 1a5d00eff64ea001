"""A training that was stopped and resumed ends with the parameters that it would have had, bit for bit on a CPU.

mmengine keeps the model, its average, the optimizer, the schedulers, the loss scaler and the message hub. Here is the
rest: the place in the data, the randomness, gradients that wait for their update, what hooks remember. A validation
that was cut short is the affair of :class:`.checkpoint.AtomicCheckpointHook`, a schedule that the config has
changed that of :class:`.schedule.ScheduleHook`.

Randomness needs no state. Every sample draws from a seed of its place in the data (:mod:`..seeded_batches`), and every
iteration, in the main process, from a seed of its number. Neither the number of workers, nor what
they have read ahead, nor a validation in between has an influence.
"""
from functools import partial

from mmengine.dataset import InfiniteSampler
from mmengine.dist import gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import Tensor

from mmwhitebox.registry import HOOKS

from ..loops import EndlessBatches, index_sampler, own_loop
from ..runner_parts import bare_model, is_training, optim_wrappers, reads_endlessly
from ..seeded_batches import ITERATION, NumberedBatches, number_batches, seed_generators
from .checkpoint import saves_this_iteration
from .hook_states import hook_states, restore_hooks, warn_of_inexact_hooks

KEY = 'exact_resume'


def epoch_of_data(loop: BaseLoop) -> int:
    """Which pass over its loader a train loop is in."""
    return loop.epoch if isinstance(loop, EpochBasedTrainLoop) else loop.dataloader_iterator.epoch


def is_accumulating(runner: Runner) -> bool:
    """Whether gradients of past iterations wait for the next update."""
    return any(wrapper._accumulative_counts > 1 and not wrapper.should_update()
               for wrapper in optim_wrappers(runner).values())


def gather_gradients(runner: Runner) -> list[dict[str, Tensor]] | None:
    """The waiting gradients of all processes, by parameter name; None if there are none.

    All processes call it together; the first one gets the answer.
    """
    if not is_accumulating(runner):
        return None
    own = {name: parameter.grad.detach().cpu() for name, parameter in bare_model(runner.model).named_parameters()
           if parameter.grad is not None}
    return gather_object(own)


def restore_gradients(runner: Runner, gradients: list[dict[str, Tensor]]) -> None:
    """Give this process its waiting gradients back."""
    own = gradients[get_rank()]
    for name, parameter in bare_model(runner.model).named_parameters():
        if name in own:
            parameter.grad = own[name].to(parameter.device, copy=True)


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed training equal to an undisturbed one; on in every config of this repository.

    Bit for bit on a CPU, with the same number of processes, batch size and seed, from a checkpoint of any iteration.
    On a GPU the arithmetic itself repeats only with ``randomness=dict(deterministic=True)``, which also turns off
    ``env_cfg.cudnn_benchmark``. With more than two processes DistributedDataParallel sums the first gradients after a
    start in another order, so that last bits may differ. Not covered: samplers that depend on more than their seed
    and epoch, transforms that remember earlier samples, and the hooks that :mod:`.hook_states` names.

    A checkpoint written while gradients accumulate holds the waiting gradients of every process; a checkpoint
    interval that is a multiple of ``accumulative_counts`` avoids that.

    Args:
        enabled (bool): Off, a training draws and resumes as mmengine does. Defaults to True.
    """

    priority = 'HIGHEST'

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.loaded: dict | None = None  # what the checkpoint says
        self.batches: NumberedBatches | None = None  # None: the loader makes no batches of indices
        self.iteration = 0  # iterations done
        self.place: tuple[int, int] = (0, 0)  # epoch of the data, batches of it that are done
        self.gradients: list | None = None  # of all processes, gathered for the next checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what the checkpoint says."""
        self.loaded = checkpoint.get(KEY)

    def before_run(self, runner: Runner) -> None:
        """Let the train loop begin anywhere."""
        if self.enabled and is_training(runner):
            own_loop(runner)

    def before_train(self, runner: Runner) -> None:
        """Number the batches, and go to the place of the checkpoint."""
        if not self.enabled:
            return
        loop = runner.train_loop
        self.iteration = loop.iter
        warn_of_inexact_hooks(runner)
        try:
            if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
                raise TypeError(f'{type(loop).__name__} is a train loop of another kind')
            if isinstance(loop, IterBasedTrainLoop) and not reads_endlessly(loop):
                raise TypeError(f'{type(loop).__name__} reads its batches in its own way')
            self.batches = number_batches(loop.dataloader, runner.seed, partial(epoch_of_data, loop), runner.rank,
                                          runner.world_size)
            if isinstance(loop, IterBasedTrainLoop):
                loop.dataloader_iterator = EndlessBatches(loop.dataloader)
        except TypeError as error:
            runner.logger.warning(f'A resumed training will not be exact: {error}.')
        if loop.iter > 0 and self.loaded is not None and self.loaded['iteration'] == loop.iter:
            self.resume(runner, self.loaded)
            restore_hooks(runner, self.loaded.get('hooks', []))
        elif loop.iter > 0 and isinstance(loop, IterBasedTrainLoop):  # a checkpoint written without this hook
            infinite = isinstance(index_sampler(loop.dataloader), InfiniteSampler)
            self.go_to(loop, *((0, loop.iter) if infinite else divmod(loop.iter, len(loop.dataloader))))
        self.loaded = None

    def resume(self, runner: Runner, state: dict) -> None:
        """Go to the place of a checkpoint.

        Args:
            runner (Runner): The training, resumed by mmengine.
            state (dict): What :meth:`before_save_checkpoint` wrote.
        """
        loop = runner.train_loop
        if state['sampler_seed'] is not None:
            index_sampler(loop.dataloader).seed = state['sampler_seed']
        epoch, batch = state['place']
        then, now = tuple(state['batch']), self.batch(runner)
        if then != now:
            runner.logger.warning(f'The checkpoint is of {then[1]} process(es) with a batch of {then[0]}, this '
                                  f'training has {now[1]} with {now[0]}: it goes on at the same place of the data, '
                                  'but its result is another one.')
            batch = batch * then[0] * then[1] // (now[0] * now[1])
        self.go_to(loop, epoch, batch)
        if state['gradients'] is not None:
            if len(state['gradients']) == runner.world_size:
                restore_gradients(runner, state['gradients'])
                runner.logger.info('The gradients that wait for their update are in the checkpoint: none is lost.')
            else:
                runner.logger.warning('The gradients that wait for their update are lost: they are of '
                                      f'{len(state["gradients"])} process(es).')

    def go_to(self, loop: BaseLoop, epoch: int, batch: int) -> None:
        """Let the loader go on after ``batch`` batches of ``epoch``, in the same order."""
        self.place = epoch, batch
        if self.batches is None:
            return
        if isinstance(loop, EpochBasedTrainLoop):
            batch = batch if loop.epoch == epoch else 0
            loop.first_batch = batch
            self.batches.start = batch  # for a loop that iterates an epoch in its own way
        else:
            loop.fast_forward_on_resume = False  # it would warn that it does not
            loop.dataloader_iterator = EndlessBatches(loop.dataloader, epoch, batch)

    def batch(self, runner: Runner) -> tuple[int, int]:
        """Batch size of a process, number of processes."""
        return getattr(self.batches, 'batch_size', None) or 1, runner.world_size

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Seed the generators of this process for the iteration; the batch has been read."""
        if self.enabled:
            self.gradients = None
            seed_generators(runner.seed, ITERATION, runner.iter, devices=True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Count the batch; before a checkpoint, bring the waiting gradients together."""
        if not self.enabled:
            return
        self.iteration = runner.iter + 1
        if self.batches is not None:
            epoch = epoch_of_data(runner.train_loop)
            self.place = (epoch, self.place[1] + 1 if epoch == self.place[0] else 1)
        if saves_this_iteration(runner):
            self.before_save_now(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Bring the waiting gradients together, as a checkpoint may follow."""
        self.before_save_now(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Bring the waiting gradients together, as a checkpoint of the best model may follow."""
        if self.iteration > 0:
            self.before_save_now(runner)

    def before_save_now(self, runner: Runner) -> None:
        """Bring the waiting gradients together; all processes call it. A stage of :func:`.checkpoint.save_now`."""
        if self.enabled and self.gradients is None:
            self.gradients = gather_gradients(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the place into the checkpoint."""
        if not self.enabled or checkpoint['meta']['iter'] != self.iteration:
            return
        if self.gradients is None and is_accumulating(runner):
            if runner.world_size > 1:
                runner.logger.warning('The gradients that wait for their update are not in this checkpoint.')
            else:
                self.gradients = gather_gradients(runner)
        checkpoint[KEY] = dict(
            iteration=self.iteration,
            place=self.place,
            batch=self.batch(runner),
            sampler_seed=getattr(index_sampler(runner.train_loop.dataloader), 'seed', None),
            gradients=self.gradients,
            hooks=hook_states(runner))
