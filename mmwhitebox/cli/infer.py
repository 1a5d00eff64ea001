"""Segment or classify images with a trained model.

A segmentor writes DIR/labels/NAME.png (class indices with the palette of the data set) and DIR/overlays/NAME.jpg, a
classifier the five most likely classes of every image to DIR/predictions.csv. NAME is the path below the folder given.
Of a video, the frames are labels/NAME/000000.png, ..., the overlay is a video, and rows of the table end in #FRAME.
Images that cannot be read are skipped and listed at the end; the exit code is then 1.
"""
import argparse
import sys

from .options import add_config, add_device, add_overrides, add_precision, add_trust, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument('images', nargs='+', help='image files, videos, folders, or quoted globs')
    parser.add_argument('--out', default='work_dirs/infer', help='output folder (%(default)s)')
    parser.add_argument('--batch-size', type=positive_int, default=1,
                        help='images of one size that share a forward pass (%(default)s)')
    parser.add_argument('--channels', type=positive_int, nargs='+', metavar='N',
                        help='of images that are no photographs: three channels that overlays show, or one, from 1; '
                        'own_data.display of the config, or the first three')
    add_device(parser)
    add_precision(parser)
    add_trust(parser)
    add_overrides(parser)


def show_channels(cfg, channels: list[int] | None) -> None:
    """Let overlays show other channels of the images.

    Raises:
        UserError: The config is for photographs, or has no such channels.
    """
    from mmwhitebox.config.own_data import fill_own_data
    from mmwhitebox.errors import UserError

    if not channels:
        return
    if not (cfg.get('own_data') or {}).get('channels'):
        raise UserError('--channels: the config states no own_data.channels, so its images are shown as they are.')
    cfg.own_data.display = channels
    fill_own_data(cfg)


def run(args: argparse.Namespace) -> int:
    """Write the predictions; 1 if images were skipped."""
    import csv
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import Progress

    from mmwhitebox.apis import init_model
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.engine.devices import check_device
    from mmwhitebox.engine.work_dir import prepare_folder

    from .predictions import find_sources, named_results, show_windows, write_classifications, write_segmentations

    failed: list[str] = []
    sources = find_sources(args.images, failed)
    check_device(args.device)
    cfg = load_model_config(args.config, args.cfg_options)
    show_channels(cfg, args.channels)
    out, segments = prepare_folder(args.out), 'decode_head' in cfg.model
    if segments:
        cfg.merge_from_dict({'model.test_cfg.keep_logits': False})
    model = init_model(cfg, args.checkpoint, args.device, trust_checkpoint=args.trust_checkpoint,
                       precision=args.precision)
    done = 0
    with ExitStack() as stack:
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
