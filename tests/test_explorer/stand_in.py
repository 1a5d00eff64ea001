"""What stands in for the models of the explorer: it is there at once, and does what a disturbance asks for."""
import json
import os
import signal
import time
from collections.abc import Sequence

from mmwhitebox.errors import ImageReadError, ImageSizeError, UserError
from mmwhitebox.explorer.runs import Asked

CLASSES = ['wall', '<script>alert(1)</script>']


class StandIn:
    """Answers with what it was asked, and how many runs it has done."""

    def __init__(self, samples: Sequence[str] = (), broken: Sequence[int] = (), deadly: Sequence[int] = ()) -> None:
        self.samples, self.broken, self.deadly = list(samples), broken, deadly
        self.count = 0
        self.loaded: set[int] = set()

    def load(self, number: int, listed: Sequence[str]) -> dict:
        if number in self.broken:
            raise UserError('the checkpoint\nis of another model')
        if number in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self.loaded.add(number)
        facts = dict(name=f'model {number}', task='segmentation', classes=CLASSES, palette=None, facts={})
        return dict(facts=facts, masks=[path for path in (*listed, *self.samples) if 'masked' in path],
                    samples=self.samples, shown=None)

    def explore(self, asked: Asked) -> bytes:
        assert asked.model in self.loaded
        self.count += 1
        for item in asked.what_if:
            self.do(**item)
        return json.dumps(dict(asked._asdict(), image=len(asked.image), pid=os.getpid(), count=self.count)).encode()

    def do(self, kind: str = 'none', seconds: float = 0, size: int = 0, **others) -> None:
        if kind == 'sleep':
            time.sleep(min(seconds, 5))
        elif kind == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == 'memory':
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        elif kind == 'defect':
            raise KeyError('/etc/secret')
        elif kind == 'unread':
            raise ImageReadError('a.png: it is cut off.')
        elif kind == 'large':
            raise ImageSizeError('a.png: too large.')
        elif kind == 'refused':
            raise UserError('layer 9 has\nno head 7.')

    def page(self, runs: Sequence[Asked]) -> bytes:
        return b'<!doctype html>' + b'\n'.join(map(self.explore, runs))


def no_models() -> None:
    """A beginning that fails."""
    raise RuntimeError('nothing works')


def held_models(sources: Sequence[tuple[str, str]], free: int):
    """Real models, in a process that thinks that so many bytes are free."""
    from mmwhitebox.explorer import memory, models

    memory.free_memory = lambda: free
    memory.limit_memory('cpu')
    return models.Models(sources, 'cpu')


class Large(StandIn):
    """Answers as large as those of a real model."""

    def explore(self, asked: Asked) -> bytes:
        return super().explore(asked) + bytes(5 * 2**20)
