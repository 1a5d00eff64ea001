"""The results of a stress test as they come in, how long it will still take, and the table at the end."""
import time
from typing import NamedTuple


class Result(NamedTuple):
    name: str
    status: str  # PASS, FAIL or SKIP
    detail: str
    seconds: float


def clock(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


class Board:
    """Collects results.

    Args:
        steps (int): Number of steps, about equally long, that the test will take.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0
        self.results: list[Result] = []
        self.begin = self.mark = time.monotonic()

    def step(self, text: str, count: int = 1) -> None:
        """Print a line of progress after ``count`` steps."""
        self.done += count
        passed = time.monotonic() - self.begin
        left = passed / max(self.done, 1) * max(self.steps - self.done, 0)
        print(f'[{clock(passed)}, about {clock(left)} left] {text}', flush=True)

    def add(self, name: str, problems: list[str], detail: str) -> None:
        """Note a result: passed when there are no problems."""
        self._note(name, 'FAIL' if problems else 'PASS', '; '.join(problems) if problems else detail)

    def skip(self, name: str, reason: str) -> None:
        self._note(name, 'SKIP', reason)

    def _note(self, name: str, status: str, detail: str) -> None:
        now = time.monotonic()
        self.results.append(Result(name, status, detail, now - self.mark))
        self.mark = now
        print(f'{status} {name}: {detail}', flush=True)

    @property
    def failed(self) -> bool:
        return any(result.status == 'FAIL' for result in self.results)

    def table(self, seed: int | None = None) -> str:
        """All results, one a line."""
        width = max((len(result.name) for result in self.results), default=0)
        lines = [f'{result.status}  {result.name:<{width}}  {clock(result.seconds):>6}  {result.detail}'
                 for result in self.results]
        statuses = [result.status for result in self.results]
        total = ', '.join(f'{statuses.count(status)} {status}' for status in dict.fromkeys(sorted(statuses)))
        rule = '-' * max(map(len, lines), default=0)
        return '\n'.join([rule, *lines, rule, f'{total} in {clock(time.monotonic() - self.begin)}, seed {seed}'])
