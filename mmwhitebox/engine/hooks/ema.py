"""An average of the weights that is kept beside the training and does not take part in it."""
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from mmwhitebox.registry import HOOKS


@HOOKS.register_module()
class BesideEMAHook(EMAHook):
    """mmengine's ``EMAHook`` without its exchange: the trained weights are validated, tested and saved as the model.

    The average is saved as ``ema_state_dict`` of every checkpoint, as DeiT's recipe has it. A checkpoint of mmengine's
    hook holds the two the other way round.

    Args:
        **kwargs: Those of ``EMAHook``; ``momentum`` is 1 - decay.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """No exchange."""

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """No exchange."""

    before_test_epoch, after_test_epoch = before_val_epoch, after_val_epoch

    def _swap_ema_state_dict(self, checkpoint: dict) -> None:
        """No exchange; the one step of saving and of resuming that mmengine gives no public name."""
