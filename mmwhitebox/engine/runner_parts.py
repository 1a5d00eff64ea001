"""Parts of a Runner, without the wrappers of distributed training and of several optimizers, and those that mmengine
gives no public name: they are named here and nowhere else."""
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch import nn


def bare_model(model: nn.Module) -> nn.Module:
    """The model without the wrapper of distributed training."""
    return model.get_submodule('module') if is_model_wrapper(model) else model


def optim_wrappers(runner: Runner) -> dict[str, OptimWrapper]:
    """The optimizer wrappers of a run by name: those of an OptimWrapperDict, or the only one as ''."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return dict(wrapper.items())
    assert isinstance(wrapper, OptimWrapper)  # built by now
    return {'': wrapper}


def is_training(runner: Runner) -> bool:
    """Whether ``Runner.train`` is running: it has built its train loop."""
    return isinstance(runner._train_loop, BaseLoop)


def built_loops(runner: Runner) -> list[BaseLoop]:
    """The loops of training and validation that are built."""
    return [loop for loop in (runner._train_loop, runner._val_loop) if isinstance(loop, BaseLoop)]


def is_resumed(runner: Runner) -> bool:
    """Whether the run goes on from a checkpoint, instead of starting from weights or from nothing."""
    return runner._resume


def loaded_path(runner: Runner) -> str | None:
    """The checkpoint that the run loads; None if it loads none, or the latest one."""
    return runner._load_from


def reads_endlessly(loop: IterBasedTrainLoop) -> bool:
    """Whether a loop reads its batches by mmengine's endless iterator, not by one that its class has put there."""
    return type(loop.dataloader_iterator) is _InfiniteDataloaderIterator


def replace_train_loop(runner: Runner, loop: BaseLoop) -> None:
    """Put another train loop in the place of the one that is built.

    mmengine has no place for this: a config may leave the class of the loop to it, and then the registry is not asked.
    """
    runner._train_loop = loop
