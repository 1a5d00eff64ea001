"""Write a procedural miniature of ADE20K: same folders, same label encoding, synthetic scenes.

Example:
    python tools/make_mini_ade20k.py --out data/mini_ade20k --train 96 --val 24 --size 256 --seed 0
"""

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from .canvas import CLASSES, OTHER
from .scenes import SCENES, render_scene
from .writing import save_image as save
from .writing import set_parser, write_set

SPLITS = {'training': 'train', 'validation': 'val'}
RECORD = 'mini_ade20k.json'
FOLDERS = ('images', 'annotations')


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


def make(out, counts, size, seed):
    """Write both halves; return the share of pixels of every label, by class name, for the record."""
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
    share = {name: round(float(pixels[label] / pixels.sum()), 5) for name, label in names.items()}
    return {'pixel_share': share}


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
    parser = set_parser(__doc__.splitlines()[0], 'data/mini_ade20k', train=96, val=24, size=256)
    parser.add_argument('--baseline', action='store_true',
                        help='print the validation mIoU of a nearest mean colour baseline')
    args = parser.parse_args(argv)
    counts = {'training': args.train, 'validation': args.val}
    write_set(parser, args, RECORD, FOLDERS, CLASSES, lambda: make(args.out, counts, args.size, args.seed))
    if args.baseline:
        print(f'colour baseline: {baseline(args.out, counts):.2f} mIoU')


if __name__ == '__main__':
    main()
