"""A run over images: what it is of and depends on; what is not finished is predicted, written and noted."""
import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel

from mmwhitebox.apis import ClsResult, SegResult, iter_inference
from mmwhitebox.apis.ahead import map_ahead
from mmwhitebox.apis.sources import named_images
from mmwhitebox.checkpoints.atomic import write_atomically
from mmwhitebox.datasets.video import Video, is_video
from mmwhitebox.errors import ImageReadError

from .files import Files
from .journal import Finished, Journal, key_of
from .progress import ImageProgress
from .tables import frame_name, write_classes, write_regions, write_shares

NAMED = 3
MOST_PIXELS = 1 << 23  # of the images that are written at a time, 50 bytes each


def find_images(arguments: list[str], out: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(path, name of the outputs) of the images, then of the videos; and what is refused of the arguments, in words.

    Args:
        arguments (list[str]): Files, folders, globs.
        out (str): Folder of the outputs: no image of it is one of a folder around it.

    Raises:
        UserError: There is no image at all, or an argument is not there.
    """
    errors: list[ImageReadError] = []
    found = named_images(arguments, out, lambda path, error: errors.append(error))
    if not found:
        raise errors[0]
    return sorted(found, key=lambda item: is_video(item[0])), [str(error) for error in errors]


def settings_of(model: BaseModel, options: list[str]) -> dict[str, str | list[str]]:
    """What must be the same for a run to go on: the weights, the config's parts that predictions need, options.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.
        options (list[str]): What the command was asked for, in words.

    Returns:
        dict[str, str | list[str]]: 'checkpoint' and 'config', checksums of their content, and 'options'.
    """
    weights = blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    parts = [model.cfg.model.to_dict(), model.test_pipeline.steps, model.dataset_meta]
    config = json.dumps(parts, sort_keys=True, default=lambda one: getattr(one, '__qualname__', type(one).__name__))
    return dict(checkpoint=weights.hexdigest(), config=blake2b(config.encode(), digest_size=16).hexdigest(),
                options=options)


class Run:
    """One process's part of a run.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.
        journal (Journal): Within its context.
        files (Files): What is written of each image.
        batch_size (int): Images of one size that share a forward pass.
        workers (int): Threads that read, and as many that write.
    """

    def __init__(self, model: BaseModel, journal: Journal, files: Files, batch_size: int, workers: int) -> None:
        self.model, self.journal, self.files = model, journal, files
        self.batch_size, self.workers = batch_size, workers
        self.skipped = 0

    def run(self, listed: list[tuple[str, str]], shown: bool) -> tuple[int, int]:
        """Do what is not finished of this process's images; how many are its own, and how many were finished before.

        Args:
            listed (list[tuple[str, str]]): Path and name of the images of all processes.
            shown (bool): Whether progress is said.
        """
        finished = self.journal.finished()
        own, todo = 0, []
        for path, name in listed:
            if self.journal.shard.owns(name):
                own += 1
                if key_of(name, os.path.abspath(path)) not in finished or not self.files.exist(name, is_video(path)):
                    todo.append((path, name))
        del finished
        with ImageProgress(len(todo), shown) as self.progress:
            self.progress.show_windows(self.model)
            first_video = next((i for i, (path, _) in enumerate(todo) if is_video(path)), len(todo))
            for (name, path, _), content in map_ahead(self.write, self.predicted(todo[:first_video]), self.workers,
                                                      self.workers, pixels, MOST_PIXELS):
                if isinstance(content, ImageReadError):
                    self.skip(path, content)
                else:
                    self.journal.add(name, path, content)
                    self.progress.count()
            for path, name in todo[first_video:]:
                try:
                    self.do_video(path, name)
                    self.progress.count()
                except ImageReadError as error:
                    self.skip(path, error)
        return own, own - len(todo)

    def predicted(self, todo: list[tuple[str, str]]) -> Iterator[tuple]:
        """(name, path, result) of the images that can be read."""
        waiting: deque[tuple[str, str]] = deque()

        def paths() -> Iterator[str]:
            for item in todo:
                waiting.append(item)
                yield item[0]

        for path, result in iter_inference(self.model, paths(), self.batch_size, self.skip, workers=self.workers):
            while waiting[0][0] is not path:
                waiting.popleft()
            yield waiting.popleft()[1], path, result

    def write(self, item: tuple[str, str, SegResult | ClsResult]) -> dict[str, Any] | ImageReadError:
        """Write the files of a result; in a thread."""
        try:
            return self.files.write(item[0], item[2])
        except ImageReadError as error:
            return error

    def do_video(self, path: str, name: str) -> None:
        """Predict and write a video from its beginning; it is noted as finished after its last frame."""
        video, count = Video(path), 0
        task = self.progress.add_task(name, total=len(video) or None)
        with self.files.film(name, video) as film:
            for _, result in iter_inference(self.model, video, self.batch_size, workers=min(self.workers, 1)):
                frame = frame_name(name, count)
                self.journal.add(frame, f'{path}#{count}', self.files.write(frame, result, film))
                count += 1
                self.progress.advance(task)
            if not count:
                raise ImageReadError(f'{path}: OpenCV reads no frame of this video.')
        self.journal.add(name, path, dict(frames=count))

    def skip(self, path: str, error: Exception) -> None:
        """Note an image that cannot be read."""
        self.skipped += 1
        self.journal.skip(str(error))
        self.progress.count()


def pixels(item: tuple[str, str, SegResult | ClsResult]) -> int:
    """Pixels of the image of a result."""
    return math.prod(item[2].ori_shape)


def finish(journal: Journal, listed: list[tuple[str, str]], refused: int, classes: list[str], tables: dict[str, str],
           said: str) -> int:
    """Write the tables of all processes and the list of what was skipped, and say so; 1 if something is missing.

    Args:
        journal (Journal): Of the last process that got through.
        listed (list[tuple[str, str]]): Path and name of the images of all.
        refused (int): Arguments that are no images.
        classes (list[str]): Names of the classes.
        tables (dict[str, str]): 'predictions', 'polygons', 'shares' -> file.
        said (str): What happened to the images, and where they are.
    """
    names = [name for _, name in listed]
    with Finished(journal) as found:
        if 'predictions' in tables:
            write_classes(tables['predictions'], found, names)
        if 'shares' in tables:
            write_shares(tables['shares'], found, names, classes)
        if 'polygons' in tables:
            write_regions(tables['polygons'], found, names, classes)
        done = sum(found.get(name)[1]['frames'] if is_video(path) else 1
                   for path, name in listed if name in found.places)
        missing = sum(name not in found.places for name in names)
    skipped = journal.all_skipped()
    print(f'{done} of {done + missing + refused} images {said}')
    list_skipped(journal.out, skipped)
    undone = missing + refused - len(skipped)
    if undone > 0:
        print(f'{undone} of them are not done: the same command does them.', file=sys.stderr)
    return int(bool(skipped) or undone > 0)


def list_skipped(out: Path, skipped: list[str]) -> None:
    """Write the list of what was skipped, if there is any, and name the first."""
    path = out / 'skipped.txt'
    path.unlink(missing_ok=True)
    if skipped:
        text = '\n'.join(skipped) + '\n'
        write_atomically(path, lambda temporary: temporary.write_text(text, 'utf-8', 'surrogateescape'))
        print(f'{len(skipped)} skipped, listed in {path}:\n  ' + '\n  '.join(skipped[:NAMED])
              + '\n  ...' * (len(skipped) > NAMED), file=sys.stderr)
