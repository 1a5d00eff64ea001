"""Write a procedural miniature of ADE20K: same folders, same label encoding, synthetic scenes.

Example:
    python tools/make_mini_ade20k.py --out data/mini_ade20k --train 96 --val 24 --size 256 --seed 0
"""

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from mmwhitebox.datasets.scenes import CLASSES, OTHER, SCENES, render_scene

SPLITS = {'training': 'train', 'validation': 'val'}
RECORD = 'mini_ade20k.json'  # written last: a folder that has it is complete
STARTED = f'{RECORD}.partial'  # written first: a folder that has it was interrupted
FOLDERS = ('images', 'annotations')


def at_least(low):
    """Return an argparse type for integers not below `low`."""

    def number(text):
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'{value} is below the smallest value, {low}')
        return value

    number.__name__ = 'integer'
    return number


def parse_args(argv=None):
    """Return the parser, for its error messages, and the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default='data/mini_ade20k', help='folder to write')
    parser.add_argument('--train', type=at_least(1), default=96, help='training images')
    parser.add_argument('--val', type=at_least(1), default=24, help='validation images')
    parser.add_argument('--size', type=at_least(64), default=256, help='side of an image, pixels')
    parser.add_argument('--seed', type=at_least(0), default=0, help='seed of the scenes')
    parser.add_argument('--force', action='store_true', help='replace a set this command wrote')
    parser.add_argument('--baseline', action='store_true',
                        help='print the validation mIoU of a nearest mean colour baseline')
    return parser, parser.parse_args(argv)


def paths(out, split, index):
    """Return the image and annotation paths of the image `index` (from 0) of a split."""
    name = f'ADE_{SPLITS[split]}_{index + 1:08d}'
    return (out / 'images' / split / f'{name}.jpg', out / 'annotations' / split / f'{name}.png')


def draw(split, index, size, seed):
    """Render one image and its labels; they depend on these arguments alone.

    The kinds of scene take turns, so that both halves hold the same mixture.
    """
    rng = np.random.default_rng((seed, list(SPLITS).index(split), index))
    return render_scene(rng, (size, size), list(SCENES)[index % len(SCENES)])


def save(path, array, *options):
    """Write an image file with OpenCV or raise OSError."""
    if not cv2.imwrite(str(path), array, *options):
        raise OSError(f'could not write {path}')


def make(out, counts, size, seed):
    """Write both halves; return the share of pixels of every label, keyed by class name."""
    for folder in FOLDERS:
        for split in SPLITS:
            (out / folder / split).mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(256, np.int64)
    for split, index in track_iter_progress([(s, i) for s in counts for i in range(counts[s])]):
        image, label = draw(split, index, size, seed)
        image_path, label_path = paths(out, split, index)
        save(image_path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        save(label_path, label)
        pixels += np.bincount(label.ravel(), minlength=256)
    names = {'other': OTHER, **CLASSES}
    return {name: round(float(pixels[label] / pixels.sum()), 5) for name, label in names.items()}


def read_record(out):
    """Return the record of a complete set, {} for a partial or empty one, None for other files."""
    if (out / RECORD).is_file():
        return json.loads((out / RECORD).read_text())
    started = (out / STARTED).is_file()
    return {} if started or not out.exists() or not any(out.iterdir()) else None


def regenerate(out, arguments, counts):
    """Replace the set in `out`; its record is renamed into place as the last step."""
    out.mkdir(parents=True, exist_ok=True)
    record = {'arguments': arguments, 'classes': CLASSES}
    (out / STARTED).write_text(json.dumps(record))
    (out / RECORD).unlink(missing_ok=True)
    for folder in FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
    record['pixel_share'] = make(out, counts, arguments['size'], arguments['seed'])
    (out / STARTED).write_text(json.dumps(record, indent=2) + '\n')
    (out / STARTED).replace(out / RECORD)


def baseline(out, counts):
    """Return the mIoU in percent of giving every pixel the class of the nearest mean RGB colour.

    The mean colours come from the training half; the score is the mean over the classes that the
    validation half holds, unlabelled pixels left out.
    """
    import torch
    from mmseg.evaluation.metrics import IoUMetric

    def halves(split):
        for index in range(counts[split]):
            image_path, label_path = paths(out, split, index)
            yield cv2.imread(str(image_path)).astype(np.float32), cv2.imread(str(label_path), -1)

    total, count = np.zeros((256, 3)), np.zeros(256)
    for image, label in halves('training'):
        count += np.bincount(label.ravel(), minlength=256)
        for channel in range(3):
            weights = image[..., channel].ravel()
            total[:, channel] += np.bincount(label.ravel(), weights, minlength=256)
    labels = np.array([label for label in CLASSES.values() if count[label]])
    means = np.float32(total[labels] / count[labels, None])
    areas = [0, 0, 0, 0]
    for image, label in halves('validation'):
        nearest = np.argmin([((image - mean) ** 2).sum(2) for mean in means], 0)
        found = IoUMetric.intersect_and_union(
            torch.from_numpy(labels[nearest]), torch.from_numpy(label.astype(np.int64)), 256, OTHER)
        areas = [area + new for area, new in zip(areas, found)]
    metrics = IoUMetric.total_area_to_metrics(*areas, metrics=['mIoU'])
    return 100 * float(np.mean(np.asarray(metrics['IoU'])[np.asarray(areas[3]) > 0]))


def main(argv=None):
    """Run the command."""
    parser, args = parse_args(argv)
    counts = {'training': args.train, 'validation': args.val}
    arguments = {'train': args.train, 'val': args.val, 'size': args.size, 'seed': args.seed}
    if args.out.exists() and not args.out.is_dir():
        parser.error(f'--out {args.out} is a file')
    record = read_record(args.out)
    if record is None:
        parser.error(f'{args.out} holds files this command did not write; choose another --out')
    if record and record['arguments'] != arguments and not args.force:
        parser.error(f'{args.out} was made with {record["arguments"]}; add --force to replace it')
    if record and not args.force:
        print(f'{args.out} is already there: {args.train} training, {args.val} validation images')
    else:
        regenerate(args.out, arguments, counts)
        print(f'\nwrote {args.train} training and {args.val} validation images of '
              f'{args.size} x {args.size} pixels, {len(CLASSES)} classes, to {args.out}')
    if args.baseline:
        print(f'colour baseline: {baseline(args.out, counts):.2f} mIoU')


if __name__ == '__main__':
    main()
