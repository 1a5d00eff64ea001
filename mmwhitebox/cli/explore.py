"""See what every layer of a model does to a picture, on a local page.

Opens a page in the browser that this command serves, for this computer alone, until Ctrl-C. Of several models, each is
given by CONFIG CHECKPOINT; without any, it is that of the quickstart. Pictures are those of --images, else the test set
of the first model where it lies here, and whatever is dropped on the page.
"""
import argparse
import os
import sys
import threading
import webbrowser
from pathlib import Path

from mmwhitebox.errors import UserError

from .options import add_device, add_trust

QUICKSTART = Path('work_dirs/quickstart')
MOST_EXPORTED = 4


def port(text: str) -> int:
    """A port, as ``type=port`` of an argument.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text} is no port (0 to 65535)')
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('models', nargs='*', metavar='CONFIG CHECKPOINT',
                        help='config (file or name) and checkpoint of each model, or the folder of a pretrained one; '
                        'none: the model of the quickstart')
    parser.add_argument('--images', metavar='FOLDER', help='folder of images, an image, or a quoted glob')
    parser.add_argument('--port', type=port, default=7860, help='port; 0: any that is free (%(default)s)')
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to serve at; other computers reach another one, and then need the token that is '
                        'printed (%(default)s)')
    parser.add_argument('--no-browser', dest='browser', action='store_false', help='only print the address')
    parser.add_argument('--api-only', action='store_true', help='serve the API without the page')
    parser.add_argument('--export', metavar='PAGE.html', help='write the page of --images (the first '
                        f'{MOST_EXPORTED}) as one file that needs no server, and end')
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> None:
    """Serve the page, or write it."""
    sources = pairs_of(args.models) or [quickstart()]
    for _, checkpoint in sources:
        if not Path(checkpoint).is_file():
            raise UserError(f'Checkpoint {checkpoint} does not exist.')
    if args.export:
        export(args, sources)
    else:
        serve(args, sources)


def pairs_of(words: list[str]) -> list[tuple[str, str]]:
    """(config, checkpoint) of each model; the folder of a pretrained model stands for both.

    Raises:
        UserError: A checkpoint is missing.
    """
    from mmwhitebox.config.pretrained import WEIGHTS, is_pretrained

    pairs, rest = [], iter(words)
    for word in rest:
        checkpoint = str(Path(word) / WEIGHTS) if is_pretrained(word) else next(rest, None)
        if checkpoint is None:
            raise UserError(f'{word} has no partner: give CONFIG CHECKPOINT for every model.')
        pairs.append((word, checkpoint))
    return pairs


def quickstart() -> tuple[str, str]:
    """Config and checkpoint of the quickstart.

    Raises:
        UserError: It has not been run in this folder.
    """
    last = QUICKSTART / 'last_checkpoint'
    configs = sorted(QUICKSTART.glob('*.py'))
    if not last.is_file() or not configs:
        raise UserError(f'Give CONFIG CHECKPOINT of a model. There is none of the quickstart in {QUICKSTART}: '
                        '`bash tools/quickstart.sh` in a checkout trains it in some minutes.')
    return str(configs[0]), last.read_text().strip()


def serve(args: argparse.Namespace, sources: list[tuple[str, str]]) -> None:
    """Serve until Ctrl-C."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"The explorer needs {error.name}: pip install 'mmwhitebox[explorer]'") from error

    from mmwhitebox.explorer.jobs import Jobs
    from mmwhitebox.explorer.listening import address_of, listen
    from mmwhitebox.explorer.safety import is_loopback, new_token

    token = None if is_loopback(args.host) else new_token()
    names = [Path(config).stem for config, _ in sources]
    jobs = Jobs(names, open_models, (sources, args.device, args.trust_checkpoint))
    with listen(args.host, args.port) as listening:
        print('starting; Ctrl-C ends it', file=sys.stderr)
        jobs.start()  # it imports and loads while this process does
        try:
            pictures = check(args, sources)

            from mmwhitebox.explorer.server import explorer_app
            from mmwhitebox.explorer.server import serve as serve_app

            app = explorer_app(pictures, jobs, args.host, token, args.api_only)
            address = address_of(listening, args.host, token)
            print(address, flush=True)
            if args.browser and not args.api_only and has_screen():
                threading.Thread(target=webbrowser.open, args=(address, ), daemon=True).start()
            serve_app(app, listening, jobs)
        finally:
            jobs.stop()


def has_screen() -> bool:
    """Whether a browser would show itself; on a terminal alone, one that runs in it would take it over."""
    return sys.platform in ('darwin', 'win32') or any(os.environ.get(name) for name in ('DISPLAY', 'WAYLAND_DISPLAY'))


def open_models(sources: list[tuple[str, str]], device: str | None, trust_checkpoint: bool):
    """What answers in the process of the models; it is imported there alone."""
    from mmwhitebox.explorer.memory import limit_memory
    from mmwhitebox.explorer.models import Models

    limit_memory(device)
    return Models(sources, device, trust_checkpoint)


def check(args: argparse.Namespace, sources: list[tuple[str, str]]):
    """Refuse configs, devices and folders that are none; the pictures."""
    from mmwhitebox.apis.inputs import local_path
    from mmwhitebox.apis.sources import image_paths
    from mmwhitebox.config.reading import load_model_config
    from mmwhitebox.engine.devices import check_device
    from mmwhitebox.explorer.images import Pictures

    check_device(args.device)
    for config, _ in sources:
        load_model_config(config)
    if not args.images:
        return Pictures()
    folder = local_path(args.images)
    return Pictures(image_paths(args.images), folder if folder.is_dir() else None)


def export(args: argparse.Namespace, sources: list[tuple[str, str]]) -> None:
    """Write the page as one file."""
    from mmwhitebox.apis.explorer_page import page
    from mmwhitebox.errors import ImageReadError
    from mmwhitebox.explorer.models import Models
    from mmwhitebox.explorer.runs import Asked

    from .predictions.tables import prepare_table

    pictures = check(args, sources)
    prepare_table(args.export, '--export')
    models = Models(sources, args.device, args.trust_checkpoint)
    for number in range(len(sources)):
        found = models.load(number, pictures.paths)
        pictures.learn(found['samples'], found['masks'], found['shown'])
    shown = list(pictures.listed.values())
    if not shown:
        raise UserError('The data of the config is not here: name pictures by --images.')
    found, taken, unread = [], 0, 0
    for picture in shown:
        try:
            found += [models.exploration(Asked(number, picture.id, picture.name, picture.path))
                      for number in range(len(sources))]
        except ImageReadError as error:
            print(f'left out: {" ".join(str(error).split())}', file=sys.stderr)
            unread += 1
        else:
            taken += 1
        if taken == MOST_EXPORTED:
            break
    if not taken:
        raise UserError(f'{args.export} is not written: none of {unread} pictures can be read, see the lines above.')
    if taken + unread < len(shown) + pictures.more:
        print(f'the first {taken} of {len(shown) + pictures.more - unread} pictures are taken', file=sys.stderr)
    Path(args.export).write_text(page(found), encoding='utf-8')
    print(args.export)
