"""What is compared: contestants that do the same job, and one step of each."""
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmwhitebox.ops import use


class Unable(Exception):
    """A contestant that cannot run here; the message is the reason in its row."""


@dataclass
class Settings:
    """How everything is measured.

    Args:
        device (torch.device): Where it runs.
        dtype (torch.dtype): float32, or the narrow type of inference and autocast. Defaults to float32.
        rounds (int): Timed rounds; every contestant runs once in each. Defaults to 15.
        warmup (int): Steps before the first timed one. Defaults to 3.
        min_seconds (float): Shortest time of one measurement; fast steps repeat until it is reached.
            Defaults to 0.01.
        call_budget (float): Longest time of one step in seconds; a contestant above it is left out.
            Defaults to 20.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    rounds: int = 15
    warmup: int = 3
    min_seconds: float = 0.01
    call_budget: float = 20.

    def autocast(self) -> torch.autocast:
        """Autocast to the narrow type; off in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


@dataclass
class Contestant:
    """A module with its inputs.

    Args:
        module (nn.Module): In float32, on the device.
        inputs (tuple[Tensor]): In float32; the same values for all forms of one model.
        form (str): Of its operators, see :func:`mmwhitebox.ops.use`. With 'triton' one that falls back to the eager
            form is out. With 'naive' softmax attention is torch's fused one all the same: nobody writes it out.
            Defaults to 'torch'.
        compiled (bool): Whether ``torch.compile`` runs it. Defaults to False.
        optimized (bool): Whether the module comes from :func:`mmwhitebox.apis.optimize`. Defaults to False.
        bf16 (bool): Whether it runs under bfloat16 autocast whatever the settings say. Defaults to False.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    form: str = 'torch'
    compiled: bool = False
    optimized: bool = False
    bf16: bool = False
    _call: Callable | None = None

    def call(self, *inputs: Tensor) -> Tensor:
        """The output for these inputs, through the compiled graph if there is one."""
        if self._call is None:
            self._call = torch.compile(self.module, dynamic=False) if self.compiled else self.module
        with ExitStack() as stack:
            stack.enter_context(use(self.form, as_published=True))
            if self.bf16:
                stack.enter_context(torch.autocast(inputs[0].device.type, torch.bfloat16))
            return self._call(*inputs)


@dataclass
class Case:
    """One comparison.

    Args:
        labels (dict): What is compared, e.g. ``dict(model='cbt-small', size=224, mode='training')``.
        builders (dict): Name of each contestant and a function that builds it. The function raises
            :class:`Unable` with the reason if the contestant cannot run.
        same_as (dict): For each contestant that must agree with another: the name of the other.
        references (dict): For each contestant, its references by the title of their column: the ratio says
            how many times as fast as the reference it is.
        items (int): Images or tokens a step works on.
        objective (Callable, optional): Of the output: the tensor to differentiate and its gradient, None
            for a scalar loss. It takes a batch that is cut to fewer items, too. None is inference.
        optimizer (bool): Whether a training step ends with a step of AdamW. Defaults to True.
        autocast (bool): Whether inputs are of the narrow type and parameters wide under autocast in
            inference too: a part of a model as it runs in training. Defaults to False.
        floors (dict): What an operator must move and compute at least, by its name, which its contestants'
            names begin with.
        columns (dict, optional): More about the contestants, filled in when they are built, in the place of their
            memory: what runs outside torch allocates unseen.
    """

    labels: dict
    builders: dict[str, Callable[[], Contestant]]
    same_as: dict[str, str]
    references: dict[str, dict[str, str]]
    items: int
    objective: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None = None
    optimizer: bool = True
    autocast: bool = False
    floors: dict[str, dict] = field(default_factory=dict)
    columns: dict[str, dict] | None = None

    @property
    def title(self) -> str:
        return ', '.join(f'{key} {value}' for key, value in self.labels.items())

    @property
    def training(self) -> bool:
        return self.objective is not None

    def precision(self, settings: Settings):
        """The context of a step: autocast in training, nothing in inference with narrow weights."""
        return settings.autocast() if self.training or self.autocast else nullcontext()

    def settle(self, contestant: Contestant, settings: Settings) -> None:
        """Bring a contestant into the types and the mode that it is timed in.

        Training keeps float32 weights and runs under autocast; inference has weights of the narrow type.
        """
        contestant.module.train(self.training)
        if self.training and not self.autocast:
            return
        if not self.autocast:
            contestant.module.to(settings.dtype)
        contestant.inputs = tuple(
            x.detach().to(settings.dtype).requires_grad_(x.requires_grad) for x in contestant.inputs)


def make_step(case: Case, contestant: Contestant, settings: Settings) -> Callable[[], Tensor]:
    """One timed step: a forward pass, or forward, loss, backward and the optimizer's step.

    The optimizer is AdamW for all, in its fused form.
    """
    inputs = contestant.inputs

    def infer() -> Tensor:
        with torch.inference_mode(), case.precision(settings):
            return contestant.call(*inputs)

    if not case.training:
        return infer
    parameters = list(contestant.module.parameters())
    trained = [*parameters, *(x for x in inputs if x.requires_grad)]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True) if case.optimizer else None
    scaler = torch.amp.GradScaler(settings.device.type,
                                  enabled=case.optimizer and settings.dtype == torch.float16)

    def train() -> Tensor:
        with case.precision(settings):
            root, gradient = case.objective(contestant.call(*inputs))
        torch.autograd.backward(scaler.scale(root), gradient)
        if optimizer is not None:
            scaler.step(optimizer)
            scaler.update()
        for tensor in trained:
            tensor.grad = None
        return root.detach()

    return train
