"""Segment or classify images with a trained model.

A segmentor writes DIR/labels/NAME.png (class indices with the palette of the data set) and DIR/overlays/NAME.jpg, a
classifier the five most likely classes of every image to DIR/predictions.csv. NAME is the path below the folder given.
Of a video, the frames are labels/NAME/000000.png, ..., the overlay is a video, and rows of tables end in #FRAME.
Images that cannot be read are skipped and listed in DIR/skipped.txt; the exit code is then 1.
What is finished stays: the same command goes on where it stopped. Several processes share the images under torchrun,
or with --shard; the last one writes the tables.
"""
import argparse
import os
import sys

from .options import add_config, add_device, add_overrides, add_precision, add_trust, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument('images', nargs='+', help='image files, videos, folders, or quoted globs')
    parser.add_argument('--out', default='work_dirs/infer', help='output folder (%(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='begin anew in an output folder that has predictions')
    parser.add_argument('--masks', choices=('index', 'colour', 'none'), default='index',
                        help='label maps as class indices or as colours (%(default)s)')
    parser.add_argument('--no-overlays', dest='overlays', action='store_false', help='write no overlays')
    parser.add_argument('--no-legend', dest='legend', action='store_false',
                        help='leave the names and colours of the classes out, which are below the overlay of an image')
    parser.add_argument('--polygons', metavar='FILE.json', help='the regions of all images as polygons, COCO json')
    parser.add_argument('--shares', metavar='FILE.csv', help="the classes' shares of each image's pixels")
    parser.add_argument('--shard', metavar='I/N', help='do one part of N, I from 0 to N - 1; torchrun needs no --shard')
    parser.add_argument('--batch-size', type=positive_int, default=1,
                        help='images of one size that share a forward pass (%(default)s)')
    parser.add_argument('--channels', type=positive_int, nargs='+', metavar='N',
                        help='of images that are no photographs: three channels that overlays show, or one, from 1; '
                        'own_data.display of the config, or the first three')
    parser.add_argument('--workers', type=int, default=min(4, os.cpu_count() or 1),
                        help='threads that read images, and as many that write outputs; 0: none (%(default)s)')
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
    from mmwhitebox.apis import init_model, optimize
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.engine.devices import check_device
    from mmwhitebox.engine.work_dir import prepare_folder
    from mmwhitebox.errors import UserError

    from .predictions.files import Files
    from .predictions.journal import Journal
    from .predictions.run import Run, find_images, finish, settings_of
    from .predictions.shards import chosen_shard
    from .predictions.tables import prepare_table

    if args.workers < 0:
        raise UserError('--workers must be 0 or more.')
    shard, launched = chosen_shard(args.shard)
    listed, refused = find_images(args.images, args.out)
    check_device(args.device)
    cfg = load_model_config(args.config, args.cfg_options)
    show_channels(cfg, args.channels)
    segments = 'decode_head' in cfg.model
    tables = {option: getattr(args, option) for option in ('polygons', 'shares') if getattr(args, option)}
    if not segments and (tables or args.masks != 'index'):
        raise UserError(f'--{next(iter(tables), "masks")} is for segmentors; {args.config} is a classifier, whose '
                        'table is predictions.csv.')
    for option, path in tables.items():
        prepare_table(path, f'--{option}')
    out = prepare_folder(args.out)
    if segments:
        cfg.merge_from_dict({'model.test_cfg.keep_logits': False})
    model = init_model(cfg, args.checkpoint, args.device or local_device(launched),
                       trust_checkpoint=args.trust_checkpoint, precision=args.precision)
    options = [f'with --precision {args.precision}']
    if segments:
        options += [f'with --masks {args.masks}', f'with{"" if args.overlays else "out"} overlays',
                    f'with{"" if args.legend and args.overlays else "out"} a legend',
                    f'with{"" if args.polygons else "out"} --polygons']
        places = [f'{out}/{name}' for name, wanted in (('labels', args.masks != 'none'), ('overlays', args.overlays))
                  if wanted]
    else:
        tables, places = dict(predictions=f'{out}/predictions.csv'), []
    said = f'{"segmented" if segments else "classified"}: {", ".join([*places, *tables.values()])}'
    try:
        with Journal(out, shard, settings_of(model, options), args.overwrite) as journal:
            for message in refused if shard.index == 0 else ():
                journal.skip(message)
            files = Files(out, journal.temporary, args.masks if segments else 'none', segments and args.overlays,
                          args.legend, bool(args.polygons))
            run = Run(optimize(model), journal, files, args.batch_size, args.workers)
            own, before = run.run(listed, shown=not launched or os.environ.get('LOCAL_RANK', '0') == '0')
            if before:
                print(f'{before} of {own} images were finished before', file=sys.stderr)
            if journal.complete():
                return finish(journal, listed, len(refused), model.dataset_meta['classes'], tables, said)
            print(f'part {shard} is done; the last part writes the tables' if tables else f'part {shard} is done',
                  file=sys.stderr)
            return int(run.skipped > 0 and not launched)  # of a launcher, a failure would end the other processes
    except KeyboardInterrupt:
        print(f'stopped; the same command{" without --overwrite" if args.overwrite else ""} goes on from here',
              file=sys.stderr)
        raise


def local_device(launched: bool) -> str | None:
    """The GPU of a launcher's process, if there are any."""
    import torch

    count = torch.cuda.device_count()
    return f'cuda:{int(os.environ.get("LOCAL_RANK", 0)) % count}' if launched and count else None
