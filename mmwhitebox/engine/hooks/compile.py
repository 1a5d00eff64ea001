"""Speed by config: compiled networks and TensorFloat-32, as hooks of any mmengine Runner."""
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmwhitebox.models.access import unwrap
from mmwhitebox.registry import HOOKS


def compile_networks(model: BaseModel, **options) -> None:
    """Compile the encoder, and each layer of a decoder, in place; parameter names do not change.

    The rest stays eager: losses and metrics hold Python numbers that change with every iteration, and a
    compiled optimizer step would be compiled again at each new learning rate.

    Args:
        model (BaseModel): A segmentor or a classifier.
        **options: Arguments of ``torch.compile``, e.g. ``mode='reduce-overhead'`` for CUDA graphs.
    """
    model.backbone.compile(**options)
    head = getattr(model, 'decode_head', None)  # mmseg calls its methods, not the module itself
    for name in ('layers', 'class_layers'):
        for layer in getattr(head, name, ()):
            layer.compile(**options)


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the networks before the run, see :func:`compile_networks`.

    The tools add it for the config key ``compile=True`` or ``compile=dict(mode=..., ...)``.

    Args:
        **options: Arguments of ``torch.compile``.
    """

    priority = 'VERY_LOW'

    def __init__(self, **options) -> None:
        self.options = options

    def before_run(self, runner: Runner) -> None:
        """Compile; the first iterations, and the first of every new image size, then take longer."""
        compile_networks(unwrap(runner.model), **self.options)
        runner.logger.info('The networks are compiled while the first batches run: those take minutes.')


@HOOKS.register_module()
class TF32Hook(Hook):
    """Whether float32 products and convolutions may use TensorFloat-32 on a GPU that has it.

    TensorFloat-32 has 10 bits of mantissa instead of 23: faster, and no longer right to the last digit.
    torch's own default is a mixture, convolutions with it and products without. The fused kernels follow
    the same switch.

    Args:
        enabled (bool): Defaults to False.
    """

    priority = 'VERY_HIGH'

    def __init__(self, enabled: bool = False) -> None:
        self.enabled = enabled

    def before_run(self, runner: Runner) -> None:
        """Set torch's switches of this process."""
        torch.set_float32_matmul_precision('high' if self.enabled else 'highest')
        torch.backends.cudnn.allow_tf32 = self.enabled
