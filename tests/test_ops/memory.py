"""What a computation allocates."""
import gc
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def allocations(step: Callable) -> list[int]:
    """Bytes that the allocator gives (positive) and takes back (negative) in ``step``, in order.

    Its own events, so temporaries inside a kernel count as well, such as a cast of bf16 to float32.
    """
    step()  # what is made once and kept
    gc.disable()  # what was there before must not be freed in between
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            step()
    finally:
        gc.enable()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def peak(step: Callable) -> int:
    """Greatest number of bytes that ``step`` holds at once, beyond what was there before."""
    held, most = 0, 0
    for size in allocations(step):
        held += size
        most = max(most, held)
    return most


def largest_alive(step: Callable, size: int) -> int:
    """Greatest number of blocks of at least ``size`` bytes that ``step`` holds at once."""
    held, most = 0, 0
    for change in allocations(step):
        if abs(change) >= size:
            held += 1 if change > 0 else -1
            most = max(most, held)
    return most
