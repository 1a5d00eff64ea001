"""Segment or classify images: python tools/infer.py CONFIG CHECKPOINT IMAGE|VIDEO|FOLDER|GLOB --out DIR

A segmentor writes DIR/labels/NAME.png (class indices with the palette of the data set) and DIR/overlays/NAME.jpg, a
classifier the five most likely classes of every image to DIR/predictions.csv. NAME is the path below the folder given.
Of a video, the frames are labels/NAME/000000.png, ..., the overlay is a video, and rows of the table end in #FRAME.
Images that cannot be read are skipped and listed at the end; the exit code is then 1.
"""
import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Segment or classify images with a trained model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('images', nargs='+', help='image files, videos, folders, or quoted globs')
    parser.add_argument('--out', default='work_dirs/infer', help='output folder (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=1,
                        help='images of one size that share a forward pass (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda:0, ...; a GPU if there is one')
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32',
                        help='of the network: bf16 and fp16 (GPU only) use autocast (%(default)s)')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help does not wait for the imports below

import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from mmengine.model import BaseModel
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mmwhitebox.apis import init_model, iter_inference
from mmwhitebox.apis.sources import named_images
from mmwhitebox.datasets.video import Video, VideoWriter, is_video
from mmwhitebox.engine.launch import check_device, load_config, prepare_work_dir, run_command
from mmwhitebox.engine.onednn import fast_products
from mmwhitebox.engine.prediction_hooks import save_labels
from mmwhitebox.errors import ImageReadError
from mmwhitebox.options import need_positive

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
                Image.fromarray(result.overlay).save(overlay_file, quality=92)
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


def main() -> int:
    args = parse_args()
    need_positive(args, 'batch_size')
    failed: list[str] = []
    sources = find_sources(args.images, failed)
    check_device(args.device)
    cfg = load_config(args.config, args.cfg_options, None, 'none')
    prepare_work_dir(args.out, '--out')
    out, segments = Path(args.out), 'decode_head' in cfg.model
    if segments:
        cfg.merge_from_dict({'model.test_cfg.keep_logits': False})
    model = init_model(cfg, args.checkpoint, args.device, trust_checkpoint=args.trust_checkpoint,
                       precision=args.precision)
    products = fast_products(cfg.get('default_hooks', {}).get('onednn', {}).get('enabled', False),
                             next(model.parameters()).device)
    done = 0
    with products, ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        show_windows(progress, model)
        if not segments:
            table = csv.writer(stack.enter_context(open(out / 'predictions.csv', 'w', newline='')))
            table.writerow(['image', 'rank', 'class', 'score'])
        for source in sources:
            results = named_results(model, source, args.batch_size, progress, failed)
            done += write_segmentations(results, source.video, out) if segments else \
                write_classifications(results, source.video, table)
    where = f'segmented: {out}/labels, {out}/overlays' if segments else f'classified: {out}/predictions.csv'
    print(f'{done} of {done + len(failed)} images {where}')
    if failed:
        print('skipped:\n  ' + '\n  '.join(failed), file=sys.stderr)
    return int(bool(failed))


if __name__ == '__main__':
    run_command(main)
