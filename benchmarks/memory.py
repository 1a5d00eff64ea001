"""Memory of one step, and the speed of the device itself: what it can copy and multiply at most."""
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmwhitebox.ops.saved import saved_storages

from .cases import Case, Contestant, Settings


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Without the lines that the profiler's library writes to the terminal on its own."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, 'w') as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """Most bytes that one step holds beyond what was alive before it: activations, gradients, scratch.

    On a GPU by the allocator's own counter. On the CPU from the allocations and releases that torch's
    profiler records; scratch that a library allocates for itself is not among them.
    """
    if device.type == 'cuda':
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    activities = [ProfilerActivity.CPU]
    with quiet_stderr(), profile(activities=activities, profile_memory=True, acc_events=True) as record:
        step()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == '[memory]']
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def saved_bytes(case: Case, contestant: Contestant, settings: Settings) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, weights and buffers not counted."""
    module = contestant.module

    def forward() -> tuple[Tensor, Tensor | None]:
        with case.precision(settings):
            return case.objective(contestant.call(*contestant.inputs))

    return sum(saved_storages(forward, (*module.parameters(), *module.buffers())))


class LargeCopy:
    """Copies more memory than fits the caches when called; ``bytes`` are read and written together."""

    def __init__(self, device: torch.device) -> None:
        size = 2**30 if device.type == 'cuda' else 2**26
        self.source = torch.ones(size, dtype=torch.uint8, device=device)
        self.target = torch.empty_like(self.source)
        self.bytes = 2 * size

    def __call__(self) -> None:
        self.target.copy_(self.source)


def device_peaks(device: torch.device, dtype: torch.dtype, seconds: float = 1.) -> dict[str, float]:
    """What the device reaches on its own: bytes/s of a large copy, FLOP/s of a large matrix product.

    The best of all repeats within the time, since this is a limit.

    Args:
        device (torch.device): The device.
        dtype (torch.dtype): Type of the product.
        seconds (float): Time for each of the two. Defaults to 1.
    """
    copy = LargeCopy(device)
    side = 8192 if device.type == 'cuda' else 1536
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return dict(
        bytes_per_second=copy.bytes / best_time(copy, device, seconds),
        flops_per_second=2 * side**3 / best_time(lambda: torch.mm(a, b, out=out), device, seconds))


def best_time(action: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Shortest time of an action that is repeated for so many seconds, once at least."""
    best, end = float('inf'), None
    action()
    synchronize(device)
    while end is None or time.perf_counter() < end:
        start = time.perf_counter()
        end = end or start + seconds
        action()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best
