"""Look inside a trained model: coding rates, attention, membership, subspaces, robustness, cost.

Each measure writes its numbers (JSON, CSV) and figures (PNG, PDF) to --out.
"""
import argparse
import inspect

from .options import add_commands, add_config, add_device, add_overrides, add_trust, positive_int


def add_model(parser: argparse.ArgumentParser, name: str, images: bool = True, layers: bool = True) -> None:
    """Arguments that every measure of a trained model has."""
    add_config(parser)
    if images:
        parser.add_argument('images', nargs='*',
                            help='image files, folders, or quoted globs; none: the test dataset of the config')
        parser.add_argument('--max-images', type=positive_int, metavar='N',
                            help='use N images, evenly spaced among those found (all)')
    if layers:
        parser.add_argument('--layers', help='attention layers, e.g. 0-3,7 or -1 for the last (all)')
        parser.add_argument('--heads', help='heads, e.g. 0,2 (all)')
    parser.add_argument('--out', default=f'work_dirs/{name}', metavar='DIR', help='output folder (%(default)s)')
    add_device(parser)
    add_trust(parser)
    add_overrides(parser)


def add_also(parser: argparse.ArgumentParser) -> None:
    """``--also``."""
    parser.add_argument('--also', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='another model in the same figure or table; may be repeated')


def attention_map(parser: argparse.ArgumentParser) -> None:
    """Attention maps on images: where a query looks, for every layer and head.

    A query is what looks:
      class-token         the class token of the encoder
      class:NAME          a class (name or index) of a mask decoder; class:largest is the one with the largest area
      representative:J    representative J of CBSA (an agent of Agent Attention); J = row * g + column of the g x g pool
      pixel:X,Y           the patch at that pixel of the image as the model gets it (resized)
    Without --query: the class token, and of a mask decoder the largest class. Rows of softmax attention, of A^T A in
    CBSA. Writes a figure for each image and query and the means over all images.
    """
    add_model(parser, 'attention_map')
    parser.add_argument('--query', action='append', metavar='Q', help='what looks, see above; may be given again')


def coding_rate(parser: argparse.ArgumentParser) -> None:
    """Coding rates and sparsity of the tokens after every layer (CBSA, figure 5).

    Mean and standard deviation over the images of the compression term, the expansion term and the sparsity, and
    whether the compression term falls over the later half of the layers.
    """
    add_model(parser, 'coding_rate')
    add_also(parser)


def complexity(parser: argparse.ArgumentParser) -> None:
    """Parameters, FLOPs, similarities and memory of models.

    FLOPs are two per multiply-add, by torch's counter; ISTA in its two-product form. Pairwise similarities are those of
    the white-box attention. For segmentation also the decoder alone. --zoo compares with the figures of the papers and
    flags differences over 3 %. --curve measures every attention and feed-forward of one width against the number of
    tokens, without a config: a table, DIR/cost_curve.csv, .json and a figure.
    """
    parser.add_argument('configs', nargs='*', help='config files')
    parser.add_argument('--zoo', action='store_true', help='all models with published figures, side by side')
    parser.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'), help="image size; the config's own")
    parser.add_argument('--memory', action='store_true',
                        help='also the activation memory of a training step, per image (runs the model)')
    parser.add_argument('--json', metavar='FILE', help='write the numbers to FILE')
    curve = parser.add_argument_group('of --curve')
    curve.add_argument('--curve', action='store_true', help='one layer of every kind against the number of tokens')
    curve.add_argument('--sides', type=positive_int, nargs='+', metavar='SIDE', default=[8, 14, 20, 28, 40],
                       help='sides of the token grids (%(default)s)')
    curve.add_argument('--dims', type=positive_int, default=384, help='token width (%(default)s)')
    curve.add_argument('--num-heads', type=positive_int, default=6, metavar='N', help='heads (%(default)s)')
    curve.add_argument('--time', action='store_true', help='also the time of a forward pass: median and quartiles')
    curve.add_argument('--rounds', type=positive_int, default=9, help='rounds of --time, in turn (%(default)s)')
    curve.add_argument('--out', metavar='DIR', default='work_dirs/complexity', help='output folder (%(default)s)')
    add_device(curve)


def knn(parser: argparse.ArgumentParser) -> None:
    """What the features tell of the classes: k nearest neighbours and a linear probe, beside the untrained model's.

    For a self-supervised model or a classifier (its features before the head), frozen. The labels are those of the
    training set, or of the dataset that val_cfg.bank names; scored is the test set, or the validation's. Features are
    the last output of the encoder: class token, or mean over the patches.
    """
    add_model(parser, 'knn', images=False, layers=False)
    parser.add_argument('--k', type=positive_int, default=20, help='neighbours (%(default)s)')
    parser.add_argument('--temperature', type=float, default=0.07, metavar='T',
                        help='of their weights exp(cos / T) (%(default)s)')
    parser.add_argument('--penalty', type=float, default=1.,
                        help='on the squared weights of the probe, of a loss summed over the images (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the untrained model (%(default)s)')
    add_also(parser)


def membership(parser: argparse.ArgumentParser) -> None:
    """Membership of tokens in subspaces, on images.

    For every attention layer that has one (TSSA, DMSA): the membership of every patch in each head, the head it belongs
    to most, and of DMSA the selection gate. Writes a figure for each image and the means over all images.
    """
    add_model(parser, 'membership')


def perturbation(parser: argparse.ArgumentParser) -> None:
    """Robustness against noise on the attention projections (CBSA, figure 8).

    Adds Gaussian noise, relative to the size of the weights, to the maps into the heads of every attention, and scores
    the model on the test dataset of its config: mIoU of a segmentor, top-1 of a classifier. Every scale is repeated
    with other seeds; the curve shows mean and standard deviation.
    """
    add_model(parser, 'perturbation', images=False)
    parser.add_argument('--part', choices=('encoder', 'decoder', 'all'),
                        help='where the noise goes: the decoder if it has attention, else the encoder')
    parser.add_argument('--scales', type=float, nargs='+', default=[0, 0.25, 0.5, 1, 1.5, 2], metavar='S',
                        help='noise std over the rms of each weight matrix (%(default)s)')
    parser.add_argument('--repeats', type=positive_int, default=3,
                        help='draws of the noise for each scale (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first draw (%(default)s)')
    parser.add_argument('--max-images', type=positive_int, metavar='N',
                        help='use N images, evenly spaced in the dataset (all)')
    add_also(parser)


def rank(parser: argparse.ArgumentParser) -> None:
    """Rank of the extraction of each CBSA or Agent layer and head (CBSA, appendix A).

    How many different things the representatives gather: singular values of A = softmax(s R0 W^T) above 1e-3 of the
    largest, mean and standard deviation over the images. With --also, pool and learned representatives side by side.
    """
    add_model(parser, 'rank')
    add_also(parser)


def rate_reduction(parser: argparse.ArgumentParser) -> None:
    """Reduction of the coding rate by each CBSA layer and head, tokens against representatives (CBSA, figure 6).

    Prints the correlation of the two over all layers and heads.
    """
    add_model(parser, 'rate_reduction')


def reconstruction(parser: argparse.ArgumentParser) -> None:
    """What a masked autoencoder (CRATE-MAE) makes of images: the image, what it was shown, its reconstruction.

    Patches are removed at random, as in training; --cfg-options model.mask_ratio=0.5 removes fewer. Writes a figure and
    the loss of each image.
    """
    add_model(parser, 'reconstruction', layers=False)
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (%(default)s)')


def subspaces(parser: argparse.ArgumentParser) -> None:
    """How orthonormal and how far apart the learned subspaces of the heads are.

    A row for each layer and head, and the principal angles between every two heads.
    """
    add_model(parser, 'subspaces', images=False)


def synthetic(parser: argparse.ArgumentParser) -> None:
    """Points of several classes in R^3, compressed step by step by the operators, without a model (CBSA, figure 4).

    Writes chosen iterations as figures, all as synthetic.gif, the coding rates at every iteration and the angles
    between the classes before and after.
    """
    parser.add_argument('--classes', type=int, default=3, help='classes of points (%(default)s)')
    parser.add_argument('--points', type=int, default=150, help='points of a class (%(default)s)')
    parser.add_argument('--iterations', type=int, default=60, help='(%(default)s)')
    parser.add_argument('--step', type=float, default=0.5, help='step size, over 0 and up to 1 (%(default)s)')
    parser.add_argument('--eps-squared', type=float, default=0.1, help='of the coding rate (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the points (%(default)s)')
    parser.add_argument('--frames', action='store_true', help='also write each frame as DIR/frames/NNN.png')
    parser.add_argument('--out', default='work_dirs/synthetic', metavar='DIR', help='output folder (%(default)s)')


def threshold(text: str) -> float | None:
    """``--threshold``: a share in (0, 1], or None for 'best'."""
    if text == 'best':
        return None
    try:
        mass = float(text)
    except ValueError:
        mass = 0
    if not 0 < mass <= 1:
        raise argparse.ArgumentTypeError(f'{text}: give a share of the attention in (0, 1], or best')
    return mass


def zero_shot_segmentation(parser: argparse.ArgumentParser) -> None:
    """Zero-shot segmentation by the class token (CBSA, tables 5 and 6).

    Scores the class token's attention of every encoder layer against foreground, background and boundary. Without
    images the config's test dataset is used, which must be a segmentation set. For a classifier, or another set, give
    images and their label maps; of PASCAL VOC 2012:

      mmwhitebox measure zero_shot_segmentation CONFIG CHECKPOINT VOC2012/JPEGImages \\
          --masks VOC2012/SegmentationClass --split VOC2012/ImageSets/Segmentation/val.txt

    If the test pipeline crops, whole images are resized to the size of the crop instead.
    """
    add_model(parser, 'zero_shot')
    parser.add_argument('--masks', metavar='DIR', help='label maps of the images, PNGs of the same names')
    parser.add_argument('--split', metavar='FILE', help='use only the images whose names this text file lists')
    parser.add_argument('--foreground', metavar='LABELS', help='indices or class names, e.g. 8,9 or car,pedestrian')
    parser.add_argument('--background', metavar='LABELS',
                        help='instead: labels of the background, the others are foreground (background, or 0)')
    parser.add_argument('--boundary-width', type=positive_int, metavar='PIXELS',
                        help='make the boundary that wide; without it, it is the pixels labelled 255, as in VOC')
    parser.add_argument('--threshold', type=threshold, default=0.6, metavar='MASS',
                        help='share of the attention that a segment holds, or best: the best of all (%(default)s)')
    add_also(parser)


MEASURES = (attention_map, coding_rate, complexity, knn, membership, perturbation, rank, rate_reduction,
            reconstruction, subspaces, synthetic, zero_shot_segmentation)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A command for each measure."""
    add_commands(parser, {each.__name__: (inspect.cleandoc(each.__doc__), each, run) for each in MEASURES}, 'NAME')


def run(args: argparse.Namespace) -> None:
    """Run the measure that was named."""
    from .measures import (
        attention_map,
        coding_rate,
        complexity,
        knn,
        membership,
        perturbation,
        rank,
        rate_reduction,
        reconstruction,
        subspaces,
        synthetic,
        zero_shot_segmentation,
    )
    measures = dict(
        attention_map=attention_map, coding_rate=coding_rate, complexity=complexity, knn=knn,
        membership=membership, perturbation=perturbation, rank=rank, rate_reduction=rate_reduction,
        reconstruction=reconstruction, subspaces=subspaces, synthetic=synthetic,
        zero_shot_segmentation=zero_shot_segmentation)
    measures[args.command].main(args)
