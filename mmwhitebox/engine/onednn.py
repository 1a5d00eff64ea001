"""Float32 matrix products on a CPU by oneDNN, for processors on which MKL leaves half of the rate unused.

torch multiplies float32 matrices with MKL, which takes AVX2 on AMD's processors even where they have AVX-512.
oneDNN, which torch has for convolutions anyway, takes AVX-512. torch asks oneDNN for a float32 product only where the
product may be rounded to bfloat16 inside, and oneDNN does round where the processor multiplies bfloat16 tiles (AMX).
Without such units that permission changes the library and not the precision, so it is given only there, and only
after products have shown that no digit is lost.
"""
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmwhitebox.errors import UserError
from mmwhitebox.registry import HOOKS

PROBED = ((256, 512, 64), (1, 512, 512), (64, 1024, 1))  # rows, summed, columns
FLOAT32_ERROR = 1e-5  # relative, in the 2-norm; bfloat16 has 3e-3, TensorFloat-32 3e-4


@contextmanager
def onednn_products() -> Iterator[None]:
    """oneDNN multiplies float32 matrices on the CPU, forward and backward; :func:`obstacle` says whether it may."""
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = 'bf16'
    try:
        yield
    finally:
        matmul.fp32_precision = before


def largest_error() -> float:
    """Of oneDNN's float32 products: the largest ||float32 - float64|| / ||float64|| over :data:`PROBED`."""
    def numbers(rows: int, columns: int) -> Tensor:  # fixed ones: random seeds belong to the run
        return torch.arange(rows * columns, dtype=torch.float32).view(rows, columns).cos()

    errors = []
    for rows, inner, columns in PROBED:
        a, b = numbers(rows, inner), numbers(columns, inner)
        with onednn_products():
            found = a @ b.mT
        exact = a.double() @ b.double().mT
        errors.append(float((found - exact).norm() / exact.norm()))
    return max(errors)


def obstacle() -> str | None:
    """Why oneDNN cannot multiply float32 matrices in full precision on this CPU; None if it can."""
    mkldnn = torch.backends.mkldnn
    if not mkldnn.is_available():
        return 'this torch was built without oneDNN'
    if not (hasattr(mkldnn, 'matmul') and hasattr(torch.cpu, 'get_capabilities')):
        return f'torch {torch.__version__} has no switch for it, a newer one has'
    cpu = torch.cpu.get_capabilities()
    if cpu['architecture'] != 'x86_64' or not cpu.get('avx512_f'):
        return 'the processor has no AVX-512'
    if cpu.get('amx_tile') or cpu.get('avx10_2'):
        return 'on this processor it would round to bfloat16'
    if not largest_error() <= FLOAT32_ERROR:
        return 'a product lost digits'
    return None


def fast_products(enabled: bool | str, device: torch.device) -> AbstractContextManager:
    """A context in which float32 products are computed as :class:`OneDNNHook` describes.

    Args:
        enabled (bool or str): True, False or 'auto'.
        device (torch.device): Of the model; on any but a CPU nothing changes.

    Raises:
        UserError: ``enabled`` is something else, or True where oneDNN cannot; the message says why.
    """
    if enabled not in (True, False, 'auto'):
        raise UserError(f"default_hooks.onednn.enabled is {enabled!r}; it can be True, False or 'auto'.")
    if not enabled or device.type != 'cpu':
        return nullcontext()
    reason = obstacle()
    if enabled == 'auto':
        slow = reason is None and torch.backends.mkl.is_available()
        if not (slow and torch.cpu.get_capabilities()['cpu_name'].startswith('AMD')):
            return nullcontext()
    elif reason is not None:
        raise UserError(f'default_hooks.onednn.enabled=True: oneDNN cannot multiply float32 matrices in full '
                        f"precision here, {reason}. Set it to 'auto' or False.")
    return onednn_products()


@HOOKS.register_module()
class OneDNNHook(Hook):
    """Whether oneDNN instead of MKL multiplies float32 matrices during a run on a CPU.

    The results are of the same precision and differ in their last digits, as sums in another order do. A training
    that is resumed with the other library is therefore not equal to the last bit. During the run
    ``torch.get_float32_matmul_precision`` raises: that older interface has one value for all devices.

    Args:
        enabled (bool or str): True; False; 'auto', on an AMD processor with AVX-512. Defaults to 'auto'.

    Raises:
        UserError: Before the run: True where oneDNN cannot, see :func:`obstacle`; or another value.
    """

    priority = 'HIGH'  # after TF32Hook, which sets torch's switches of all devices

    def __init__(self, enabled: bool | str = 'auto') -> None:
        self.enabled = enabled
        self.products: AbstractContextManager = nullcontext()

    def before_run(self, runner: Runner) -> None:
        """Choose the library, and say so if it is oneDNN."""
        self.products = fast_products(self.enabled, next(runner.model.parameters()).device)
        if not isinstance(self.products, nullcontext):
            runner.logger.info('oneDNN multiplies float32 matrices (default_hooks.onednn).')
        self.products.__enter__()

    def after_run(self, runner: Runner) -> None:
        """Back to what was set before the run."""
        self.products.__exit__(None, None, None)
