"""How far a run is, on standard error: a bar on a terminal, else a line now and then."""
import sys
import time
from datetime import timedelta

from mmengine.model import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

MANY_WINDOWS = 16
SECONDS = 60  # between two lines


class ImageProgress(Progress):
    """Images of this process that are done, and an estimate of the time that is left.

    Args:
        total (int): Images to do.
        shown (bool): Whether this process says anything.
    """

    def __init__(self, total: int, shown: bool) -> None:
        console = Console(stderr=True)
        super().__init__(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                         TimeRemainingColumn(), console=console, disable=not (shown and console.is_terminal))
        self.lines = shown and not console.is_terminal
        self.begun = self.said = time.monotonic()
        self.done, self.total = 0, total
        self.images = self.add_task('images', total=total)

    def count(self) -> None:
        """One more is done."""
        self.done += 1
        self.advance(self.images)
        now = time.monotonic()
        if self.lines and now - self.said > SECONDS:
            self.said = now
            rate = self.done / (now - self.begun)
            left = timedelta(seconds=round((self.total - self.done) / rate))
            print(f'{self.done} of {self.total} images, {rate:.2g} a second, {left} left', file=sys.stderr, flush=True)

    def show_windows(self, model: BaseModel) -> None:
        """Count the windows of an image, if they are many."""
        task = self.add_task('windows', visible=False)
        model.on_windows = lambda done, total: self.update(
            task, completed=done, total=total, visible=total >= MANY_WINDOWS)
