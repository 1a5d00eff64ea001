"""Losses and gradients that are NaN or infinite never reach the parameters.

The loss is looked at before the backward pass, the gradients before the step of the optimizer, so the state of the last
good iteration is still there. With a gradient scaler (mixed precision) infinite gradients are its own affair, and only
the loss is looked at.
"""
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmwhitebox.errors import UserError, joined
from mmwhitebox.registry import HOOKS

from ..runner_parts import bare_model, optim_wrappers
from .checkpoint import save_now

COUNT = 'nonfinite_in_a_row'  # in the message hub, so that it survives a resume
MAX_NAMED = 3


class NonFiniteError(UserError, FloatingPointError):
    """A loss or a gradient that is NaN or infinite; the message names it and the iteration."""


def name_losses(terms: dict[str, Tensor], total: Tensor) -> list[str]:
    """The terms that are not finite, with their values; of finite terms, their sum."""
    bad = [f'{name} is {float(value)}' for name, value in terms.items() if not value.isfinite()]
    return bad or ([] if total.isfinite() else [f'loss is {float(total)}'])


def name_gradients(model: nn.Module) -> list[str]:
    """The parameters whose gradient is not finite; of finite ones, the norm of all."""
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    return [f'the gradient of {joined(bad, MAX_NAMED)} is not finite' if bad
            else 'the norm of the gradients is infinite']


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops a training, or skips the update, when a loss or a gradient is NaN or infinite.

    Stopping saves the state before that iteration and raises a NonFiniteError with the iteration and the terms of the
    loss; a training resumed from there meets the same batch again. Skipping leaves parameters, optimizer and running
    statistics as they were and logs a warning; schedulers go on. While gradients accumulate, the bad batch is left
    out, and so is the update if the batch was the last one before it. All processes do the same.

    It reads one number from the device before the backward pass and one before the step.

    Args:
        on_nonfinite (str): 'stop', 'skip' or 'ignore', which turns the hook off. Defaults to 'stop'.
        max_consecutive (int): Iterations in a row that may be skipped; the next one stops. Defaults to 10.

    Raises:
        UserError: Another value of ``on_nonfinite``.
    """

    priority = 'HIGHEST'

    def __init__(self, on_nonfinite: str = 'stop', max_consecutive: int = 10) -> None:
        if on_nonfinite not in ('stop', 'skip', 'ignore'):
            raise UserError(f"FiniteHook: on_nonfinite is 'stop', 'skip' or 'ignore', not {on_nonfinite!r}.")
        self.on_nonfinite = on_nonfinite
        self.max_consecutive = max_consecutive
        self.terms: dict[str, Tensor] = {}  # of the current loss
        self.statistics: list[Tensor] = []  # running means and variances of the model
        self.kept: list[Tensor] = []  # their values before the iteration
        self.skipped = False

    def before_train(self, runner: Runner) -> None:
        """Look at the losses when the model returns them, and stand between them and the optimizer."""
        if self.on_nonfinite == 'ignore':
            return
        model = bare_model(runner.model)
        model.register_forward_hook(self.note_losses)
        self.statistics = [buffer for module in model.modules() if isinstance(module, _NormBase)
                           for buffer in module.buffers(recurse=False)]
        self.kept = [buffer.clone() for buffer in self.statistics]
        for wrapper in optim_wrappers(runner).values():
            self.guard(runner, wrapper)

    def note_losses(self, model: nn.Module, inputs: tuple, output: Any) -> None:
        """Forward hook of the model: in training it returns its losses by name, which mmengine sums like this."""
        if model.training and isinstance(output, dict):
            self.terms = {name: sum(part.detach().mean() for part in ([value] if isinstance(value, Tensor) else value))
                          for name, value in output.items() if 'loss' in name}

    def guard(self, runner: Runner, wrapper: OptimWrapper) -> None:
        """Let ``update_params`` and ``step`` of an optimizer wrapper pass for finite numbers alone."""
        update, step = wrapper.update_params, wrapper.step

        def update_params(loss: Tensor, *args, **kwargs) -> None:
            terms, self.terms = self.terms, {}
            values = torch.stack([value.float() for value in (*terms.values(), loss.detach())])
            if self.passes(runner, values.isfinite().all(), lambda: name_losses(terms, loss.detach())):
                update(loss, *args, **kwargs)
                return
            wrapper._inner_count += 1
            if wrapper.should_update():
                wrapper.zero_grad()

        @wraps(step)
        def guarded_step(**kwargs) -> None:
            gradients = [p.grad for group in wrapper.optimizer.param_groups for p in group['params']
                         if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if self.passes(runner, norm.isfinite(), lambda: name_gradients(bare_model(runner.model))):
                step(**kwargs)

        # On the object, not by a class of OPTIM_WRAPPERS: any wrapper of a config is guarded, and the schedulers, which
        # have set a ``step`` of their own on it, hold this object by now. torch's hooks of a step cannot leave it out,
        # and come after the gradients are clipped.
        wrapper.update_params = update_params
        if not hasattr(wrapper, 'loss_scaler'):
            wrapper.step = guarded_step

    def passes(self, runner: Runner, finite: Tensor, name: Callable[[], list[str]]) -> bool:
        """Whether the numbers of all processes are finite; if not, stop or skip.

        Args:
            runner (Runner): The training.
            finite (Tensor): Whether those of this process are, one bool.
            name (Callable): Names what is not finite; called by all processes when any has it.

        Raises:
            NonFiniteError: They are not, and the training is to stop.
        """
        finite = finite.int()
        all_reduce(finite, 'min')
        if finite:
            return True
        self.skipped = True
        found = name()
        if get_world_size() > 1:
            lists = all_gather_object(found)
            found = [f'{text} (process {rank})' for rank, texts in enumerate(lists) for text in texts]
        for buffer, value in zip(self.statistics, self.kept):
            buffer.copy_(value)
        what = f'Iteration {runner.iter + 1}: {"; ".join(dict.fromkeys(found))}.'
        in_a_row = runner.message_hub.get_info(COUNT, 0)
        if self.on_nonfinite == 'skip' and in_a_row < self.max_consecutive:
            runner.logger.warning(f'{what} It is skipped, {in_a_row + 1} in a row, at most {self.max_consecutive}.')
            return False
        if in_a_row:
            what += f' The {in_a_row} iterations before it were skipped.'
        path = save_now(runner, runner.iter)
        saved = f'The state before it is saved in {path}.' if path else 'The state before it could not be saved.'
        raise NonFiniteError(
            f'{what} {saved} Lower the learning rate, clip the gradients (optim_wrapper.clip_grad), look at the data '
            '(mmwhitebox check-data), or leave such iterations out: '
            '--cfg-options default_hooks.finite.on_nonfinite=skip.')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Keep the running statistics, which the forward pass changes."""
        self.skipped = False
        if self.statistics:
            torch._foreach_copy_(self.kept, self.statistics)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Count the skipped iterations, and keep what is not finite out of the averages in the log."""
        if self.on_nonfinite == 'ignore':
            return
        in_a_row = runner.message_hub.get_info(COUNT, 0)
        if self.skipped:
            runner.message_hub.update_info(COUNT, in_a_row + 1)
            for name, value in list((outputs or {}).items()):
                if not torch.as_tensor(value).isfinite().all():
                    del outputs[name]
        elif in_a_row:
            runner.message_hub.update_info(COUNT, 0)
