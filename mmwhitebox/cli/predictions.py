"""Predictions as files: label maps, overlays, films, a table of classes."""
import csv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from mmengine.model import BaseModel
from PIL import Image
from rich.progress import Progress

from mmwhitebox.apis import iter_inference
from mmwhitebox.apis.sources import named_images
from mmwhitebox.datasets.video import Video, VideoWriter, is_video
from mmwhitebox.drawing import save_labels
from mmwhitebox.errors import ImageReadError

MANY_WINDOWS = 16


class Source(NamedTuple):
    """Images that belong together: some files, or the frames of a video.

    Attributes:
        images (list[Path] | Video): What the model is given.
        names (list[str]): Name of the outputs of each image; of a video, the video's alone.
    """

    images: list[Path] | Video
    names: list[str]

    @property
    def video(self) -> Video | None:
        """The video, if it is one."""
        return self.images if isinstance(self.images, Video) else None


def find_sources(arguments: list[str], failed: list[str]) -> list[Source]:
    """The images, then each video; what is no video although it is called so goes to ``failed``."""
    names = {}
    for path, name in named_images(arguments):
        names.setdefault(path, name)  # an image that is named twice counts once
    images = {path: name for path, name in names.items() if not is_video(path)}
    sources = [Source(list(map(Path, images)), list(images.values()))] if images else []
    for path in [path for path in names if path not in images]:
        try:
            sources.append(Source(Video(path), [names[path]]))
        except ImageReadError as error:
            failed.append(str(error))
    return sources


def named_results(model: BaseModel, source: Source, batch_size: int, progress: Progress,
                  failed: list[str]) -> Iterator[tuple]:
    """(name, place in the source, image or video, result) of every image that can be read."""
    task = progress.add_task(source.names[0] if source.video else 'images', total=len(source.images) or None)
    images = progress.track(source.images, task_id=task)
    index = 0
    for image, result in iter_inference(model, images, batch_size, lambda path, error: failed.append(str(error))):
        while not source.video and source.images[index] != image:
            index += 1
        yield (source.names[0 if source.video else index], index, image, result)
        index += 1


def write_segmentations(results: Iterator[tuple], video: Video | None, out: Path) -> int:
    """Write the label map (palette PNG) and the overlay (JPEG, or a frame of a video) of each result; count them."""
    count = 0
    with ExitStack() as stack:
        film = None
        for name, index, _, result in results:
            label_file = out / 'labels' / (f'{name}/{index:06d}.png' if video else f'{name}.png')
            overlay_file = out / 'overlays' / f'{name}.{"mp4" if video else "jpg"}'
            for file in (label_file, overlay_file):
                file.parent.mkdir(parents=True, exist_ok=True)
            save_labels(label_file, result.mask, result.palette)
            if video:
                film = film or stack.enter_context(VideoWriter(overlay_file, video.rate))
                film.write(result.overlay)
            else:
                Image.fromarray(result.overlay).save(overlay_file, quality=92, comment=result.note)
            count += 1
    return count


def write_classifications(results: Iterator[tuple], video: Video | None, table: 'csv.writer') -> int:
    """Write the five most likely classes of each result to a table; count them."""
    count = 0
    for _, index, image, result in results:
        source = f'{video.path}#{index}' if video else image
        table.writerows([source, rank, label, f'{score:.6f}'] for rank, (label, score) in enumerate(result.top(5), 1))
        count += 1
    return count


def show_windows(progress: Progress, model: BaseModel) -> None:
    """Count the windows of an image, if they are many."""
    task = progress.add_task('windows', visible=False)
    model.on_windows = lambda done, total: progress.update(
        task, completed=done, total=total, visible=total >= MANY_WINDOWS)
