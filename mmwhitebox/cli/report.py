"""A model on one HTML page: what it is, what it scored, what it says of images, and what its layers do.

Writes DIR/report.html, a single file that opens offline and on a phone: parameters, FLOPs, scores of every class,
examples, the explorer of the first images, and the figures of each measure, whose numbers lie beside it. What does not
apply to the model is left out. What fails is named, and the status is then 1.
"""
import argparse
import sys

from .options import add_config, add_device, add_trust, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument('images', nargs='*', help='image files, folders or quoted globs; the test set if none is given')
    parser.add_argument('--out', default='work_dirs/report', help='output folder (%(default)s)')
    parser.add_argument('--max-images', type=positive_int, default=8,
                        help='images a measure takes at the most (%(default)s)')
    parser.add_argument('--foreground', metavar='LABELS',
                        help='class indices or names that count as objects, for zero-shot segmentation')
    parser.add_argument('--background', metavar='LABELS', help='instead: those that do not')
    parser.add_argument('--test', action='store_true',
                        help='score the model on the test set of its config, in place of what its training kept')
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page; 1 if a part of it failed."""
    from mmwhitebox.apis.sources import named_images
    from mmwhitebox.engine.devices import check_device
    from mmwhitebox.engine.work_dir import prepare_folder
    from mmwhitebox.explorer.models import Models

    from .html_page import page
    from .report_body import Body
    from .report_measures import SECTIONS, add_sections
    from .report_model import STYLE, add_model, headline

    check_device(args.device)
    paths = [path for path, _ in named_images(args.images)]  # what is no image ends here, not in every section
    out = prepare_folder(args.out)
    models = Models([(args.config, args.checkpoint)], args.device, args.trust_checkpoint)
    found = models.load(0, paths)  # so does a wrong checkpoint
    model, body = found['facts'], Body()
    add_model(body, models, model, paths or found['samples'], args)
    del models  # every measure loads its own
    add_sections(body, SECTIONS, args)
    path = out / 'report.html'
    path.write_text(page(model['name'], headline(model), body.links, body.html(), STYLE), encoding='utf-8')
    print(f'report: {path} ({path.stat().st_size / 1e6:.1f} MB)')
    if body.failed:
        print('failed:\n  ' + '\n  '.join(body.failed), file=sys.stderr)
    return int(bool(body.failed))
