"""All analyses of a model on one HTML page.

Writes DIR/report.html, a single file that opens offline and on a phone, and the numbers and figures of each
measure under DIR. A measure whose notion the model does not have is named with its reason; so is one that fails, and
the status is then 1.
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
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page; 1 if a measure failed."""
    from mmwhitebox.apis import init_model
    from mmwhitebox.apis.sources import named_images
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.engine.devices import check_device
    from mmwhitebox.engine.work_dir import prepare_folder

    from .report_page import SECTIONS, render, run_section

    check_device(args.device)
    named_images(args.images)  # what is no image ends here, not in every section
    out = prepare_folder(args.out)
    init_model(load_model_config(args.config), args.checkpoint, 'cpu',
               trust_checkpoint=args.trust_checkpoint)  # a wrong checkpoint ends here, not in every section
    parts, failed = [], []
    for number, section in enumerate(SECTIONS, 1):
        print(f'[{number}/{len(SECTIONS)}] {section.title}')
        parts.append(run_section(section, args, failed))
    (out / 'report.html').write_text(render(args, parts))
    print(f'report: {out / "report.html"}')
    if failed:
        print('failed:\n  ' + '\n  '.join(failed), file=sys.stderr)
    return int(bool(failed))
