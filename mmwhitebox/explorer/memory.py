"""How much memory the process of the models may take, so that a large picture ends in an error and not the computer."""
import contextlib
import resource

import torch

SHARE = 0.9


def free_memory() -> int | None:
    """Bytes that are free, of the computer and of the control group of the process; None where nothing says it."""
    free = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        free.append(_fields('/proc/meminfo')['MemAvailable'])
    with contextlib.suppress(OSError, ValueError):
        with open('/sys/fs/cgroup/memory.max') as most, open('/sys/fs/cgroup/memory.current') as now:
            free.append(int(most.read()) - int(now.read()))
    return min(free) if free else None


def limit_memory(device: str | None = None) -> None:
    """Refuse memory to this process beyond nine tenths of what is free now.

    Nothing happens where that is not known, and with a GPU, whose driver takes hold of more addresses than there is
    memory.

    Args:
        device (str, optional): Where models run: 'cpu', 'cuda:0', ... Defaults to a GPU if there is one.
    """
    if device != 'cpu' and (device or torch.cuda.is_available()):
        return
    free = free_memory()
    with contextlib.suppress(OSError, ValueError, KeyError):
        taken = _fields('/proc/self/status')['VmData']
        if free is not None:
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            most = taken + int(free * SHARE)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _fields(path: str) -> dict[str, int]:
    """Bytes by their names, of a file of /proc."""
    with open(path) as lines:
        words = [line.split() for line in lines]
    return {line[0].rstrip(':'): int(line[1]) * 1024 for line in words if len(line) == 3 and line[2] == 'kB'}
