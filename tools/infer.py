"""Segment or classify images: python tools/infer.py CONFIG CHECKPOINT IMAGE|FOLDER|GLOB --out DIR

A segmentor writes DIR/labels/NAME.png (class indices with the palette of the data set) and
DIR/overlays/NAME.jpg, a classifier the five most likely classes of every image to DIR/predictions.csv.
Images that cannot be read are skipped and listed at the end; the exit code is then 1.
"""
import argparse
import csv
import sys
from pathlib import Path
from typing import Iterable

import numpy as np
from mmengine.config import DictAction
from mmengine.model import BaseModel
from PIL import Image
from rich.progress import Progress

from mmwhitebox.apis import PRECISIONS, init_model, iter_inference, list_images
from mmwhitebox.engine.launch import exit_message, load_config, prepare_work_dir
from mmwhitebox.engine.onednn import fast_products
from mmwhitebox.errors import UserError
from mmwhitebox.options import positive_int

MANY_WINDOWS = 16


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Segment or classify images with a trained model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('images', nargs='+', help='image files, folders, or quoted globs')
    parser.add_argument('--out', default='work_dirs/infer', help='output folder (%(default)s)')
    parser.add_argument('--batch-size', type=positive_int, default=1,
                        help='images of one size that share a forward pass (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda:0, ...; a GPU if there is one')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32',
                        help='of the network: bf16 and fp16 (GPU only) use autocast (%(default)s)')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need more than weights; such a file can run code')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys')
    return parser.parse_args()


def output_names(sources: list) -> dict:
    """Image path -> relative output name without suffix, unique within the output folder."""
    names = {}
    taken = set()
    for source in sources:
        root = Path(source) if Path(source).is_dir() else None
        for path in list_images(source):
            stem = (path.relative_to(root) if root else Path(path.name)).with_suffix('')
            name, number = stem, 1
            while name in taken:
                number += 1
                name = stem.with_name(f'{stem.name}_{number}')
            taken.add(name)
            names[path] = name
    return names


def write_segmentations(results: Iterable, names: dict, out: Path) -> str:
    """Write the label map (palette PNG) and the overlay (JPEG) of each result; say what and where."""
    for path, result in results:
        label_file = out / 'labels' / f'{names[path]}.png'
        overlay_file = out / 'overlays' / f'{names[path]}.jpg'
        for file in (label_file, overlay_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        labels = Image.fromarray(result.mask.astype(np.uint8), mode='P')
        labels.putpalette(np.asarray(result.palette, np.uint8).ravel().tolist())
        labels.save(label_file)
        Image.fromarray(result.overlay).save(overlay_file, quality=92)
    return f'segmented: {out}/labels, {out}/overlays'


def write_classifications(results: Iterable, names: dict, out: Path) -> str:
    """Write the five most likely classes of each result to a table; say what and where."""
    with open(out / 'predictions.csv', 'w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['image', 'rank', 'class', 'score'])
        for path, result in results:
            table.writerows([path, rank, name, f'{score:.6f}']
                            for rank, (name, score) in enumerate(result.top(5), 1))
    return f'classified: {out}/predictions.csv'


def show_windows(progress: Progress, model: BaseModel) -> None:
    """Count the windows of an image, if they are many."""
    task = progress.add_task('windows', visible=False)
    model.on_windows = lambda done, total: progress.update(
        task, completed=done, total=total, visible=total >= MANY_WINDOWS)


def main() -> int:
    args = parse_args()
    names = output_names(args.images)
    cfg = load_config(args.config, args.cfg_options, None, 'none')
    prepare_work_dir(args.out)
    segments = 'decode_head' in cfg.model
    if segments:
        cfg.merge_from_dict({'model.test_cfg.keep_logits': False})
    model = init_model(cfg, args.checkpoint, args.device, trust_checkpoint=args.trust_checkpoint,
                       precision=args.precision)
    products = fast_products(cfg.get('default_hooks', {}).get('onednn', {}).get('enabled', False),
                             next(model.parameters()).device)
    failed = []
    write = write_segmentations if segments else write_classifications
    with products, Progress() as progress:
        images = progress.track(list(names), description='images')
        show_windows(progress, model)
        results = iter_inference(model, images, args.batch_size, lambda path, error: failed.append(str(error)))
        done = write(results, names, Path(args.out))
    print(f'{len(names) - len(failed)} of {len(names)} images {done}')
    if failed:
        print('skipped:\n  ' + '\n  '.join(failed), file=sys.stderr)
    return int(bool(failed))


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(exit_message(error))
