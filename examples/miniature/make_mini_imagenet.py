"""Write a procedural miniature in the layout of ImageNet: one folder per class, one object per picture.

Example:
    python tools/make_mini_imagenet.py --out data/mini_imagenet --train 1800 --val 360 --size 128 --seed 0

Layout: train/CLASS/CLASS_00001.JPEG and val/CLASS/CLASS_00001.JPEG.
"""

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from .pictures import OBJECT_CLASSES, render_object
from .writing import save_image as save
from .writing import set_parser, write_set

SPLITS = ('train', 'val')
RECORD = 'mini_imagenet.json'
PROBE_SIDE = 32  # pixels
RIDGE_STRENGTHS = (1e1, 1e2, 1e3, 1e4)


def path(out, split, index):
    """Return the path of the image `index` (from 0) of a split; the classes take turns."""
    name = OBJECT_CLASSES[index % len(OBJECT_CLASSES)]
    return out / split / name / f'{name}_{index // len(OBJECT_CLASSES) + 1:05d}.JPEG'


def make(out, counts, size, seed):
    """Write both splits; return the number of images of every class, for the record.

    An image depends on its split, its number, the size and the seed alone.
    """
    for split in SPLITS:
        for name in OBJECT_CLASSES:
            (out / split / name).mkdir(parents=True, exist_ok=True)
    images = dict.fromkeys(OBJECT_CLASSES, 0)
    for split, index in track_iter_progress([(s, i) for s in counts for i in range(counts[s])]):
        name = OBJECT_CLASSES[index % len(OBJECT_CLASSES)]
        rng = np.random.default_rng((seed, SPLITS.index(split), index))
        image = render_object(rng, name, (size, size))
        save(path(out, split, index), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        images[name] += 1
    return {'images': images}


def baseline(out, counts):
    """Return the validation accuracy in percent of ridge regression on raw pixels, 32 x 32.

    Of several strengths the best on the validation split counts, in favour of the baseline.
    """

    def load(split):
        side = (PROBE_SIDE, PROBE_SIDE)
        pixels = [cv2.resize(cv2.imread(str(path(out, split, i))), side, interpolation=cv2.INTER_AREA).ravel()
                  for i in range(counts[split])]
        return np.stack(pixels) / 127.5 - 1, np.arange(counts[split]) % len(OBJECT_CLASSES)

    (x, y), (x_val, y_val) = load('train'), load('val')
    mean = x.mean(0)
    u, s, v = np.linalg.svd(x - mean, full_matrices=False)
    targets = u.T @ np.eye(len(OBJECT_CLASSES))[y]
    features = (x_val - mean) @ v.T
    hits = [np.mean((features @ (targets * (s / (s**2 + strength))[:, None])).argmax(1) == y_val)
            for strength in RIDGE_STRENGTHS]
    return 100 * max(hits)


def main(argv=None):
    """Run the command."""
    parser = set_parser(__doc__.splitlines()[0], 'data/mini_imagenet', train=1800, val=360, size=128,
                        smallest=len(OBJECT_CLASSES))
    parser.add_argument('--baseline', action='store_true',
                        help='print the validation accuracy of a linear probe on raw pixels')
    args = parser.parse_args(argv)
    counts = {'train': args.train, 'val': args.val}
    write_set(parser, args, RECORD, SPLITS, OBJECT_CLASSES,
              lambda: make(args.out, counts, args.size, args.seed))
    if args.baseline:
        print(f'linear probe on raw pixels: {baseline(args.out, counts):.2f} % accuracy')


if __name__ == '__main__':
    main()
