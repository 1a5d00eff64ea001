"""The measures of a report: what each shows, its figures and its numbers."""
import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import measure
from .html_page import data_uri, text
from .options import parse
from .report_body import Body

ROOM = 12_000_000
"""Bytes of all figures of a page."""


@dataclass
class Section:
    """One command of the report: what it shows and how its picture is read."""

    tool: str
    title: str
    text: str
    options: Sequence[str] = ()
    needs: str = 'images'  # what it looks at: 'images', the test 'dataset', the 'weights' alone, or 'nothing'
    max_images: int = 8


SECTIONS = [
    Section('coding_rate', 'Compression, layer by layer',
            'The coding rate R_c of the tokens in the learned subspaces after every layer: how many nats they need. '
            'A falling curve means that the layers do what their objective says, compress. The band is one standard '
            'deviation over the images.'),
    Section('rate_reduction', 'Do the representatives stand for the tokens?',
            'Each dot is a head of a layer: how much one step reduces the coding rate of the few representatives '
            '(horizontal) and of all tokens (vertical). Dots near a rising line say that contracting a few compresses '
            'all.'),
    Section('rank', 'How many different things the representatives gather',
            'The rank of the extraction matrix of every layer and head, a dot a head, a line through their means. Near '
            'the dashed line every representative gathers something of its own; far below it many gather the same.'),
    Section('attention_map', 'Where attention looks',
            'Maps over the image, one for each layer and head. Bright places are the tokens that the query attends '
            'to; in CBSA, those that share its representatives.', max_images=2),
    Section('membership', 'Which subspace a token belongs to',
            'The membership of every token in each head, the head it belongs to most, and where DMSA opens its gate. '
            'Regions of one colour are compressed along the same basis.', max_images=2),
    Section('zero_shot_segmentation', 'Objects found without labels',
            'The part of the image that the class token attends to most, against the labels reduced to foreground, '
            'background and boundary: Jaccard index, on images of the test set. High values mean that attention '
            'separates objects although nothing asked it to.', needs='dataset', max_images=8),
    Section('perturbation', 'How much noise the attention stands',
            'The score on images of the test set when Gaussian noise is added to the attention projections, relative '
            'to their size. A curve that stays up is robust; the bars are one standard deviation over the draws.',
            options=['--scales', '0', '0.25', '0.5', '1', '--repeats', '2'], needs='dataset', max_images=8),
    Section('subspaces', 'The learned subspaces',
            'How far each basis is from orthonormal, and the angles between the subspaces of different heads. Angles '
            'near 90 degrees mean that heads describe different directions.', needs='weights'),
    Section('synthetic', 'The principle, on points in space',
            'Points of several classes, compressed step by step by the operators without any training: linear '
            'attention ends on lines through the origin, one for each class.', needs='nothing'),
]


def figures(paths: Sequence[Path], room: int) -> tuple[str, int]:
    """Image files as figures that hold their own data, and how many bytes they have.

    Args:
        paths (Sequence[Path]): PNG and GIF files.
        room (int): Bytes that there are for them; of those that do not fit, the number and the place are named.
    """
    shown, used = '', 0
    for number, path in enumerate(paths):
        source = data_uri(path.read_bytes(), path.suffix[1:])
        if used + len(source) > room:
            more = f'{len(paths) - number} more are in the folder {path.parent.name}: this page would be too large.'
            return f'{shown}<p class="facts">{text(more)}</p>', used
        shown += f'<figure class="wide"><img alt="{text(path.stem)}" src="{source}"></figure>'
        used += len(source)
    return shown, used


def findings(printed: str) -> str:
    """What a command printed: its sentences, and its tables folded away."""
    lines = [line for line in printed.splitlines()
             if line.strip() and ' - INFO - ' not in line and not line.startswith('written:')]
    tables = [line for line in lines if line[0] in '+|']
    sentences = ''.join(f'<p>{text(line)}</p>' for line in lines if line[0] not in '+|')
    numbers = f'<details><summary>Numbers</summary><pre>{text(chr(10).join(tables))}</pre></details>'
    return f'<div class="findings">{sentences}{numbers if tables else ""}</div>'


def arguments(section: Section, args: argparse.Namespace, out: Path) -> list[str]:
    """What is typed for the measure of a section."""
    argv = ['--out', str(out), *section.options]
    if section.needs != 'nothing':
        argv = [args.config, args.checkpoint, *(args.images if section.needs == 'images' else []), *argv]
        argv += ['--device', args.device] if args.device else []
        argv += ['--trust-checkpoint'] if args.trust_checkpoint else []
    if section.tool == 'zero_shot_segmentation':
        for name in ('foreground', 'background'):
            argv += [f'--{name}', getattr(args, name)] if getattr(args, name) else []
    if section.needs in ('images', 'dataset'):
        argv += ['--max-images', str(min(section.max_images, args.max_images))]
    return argv


def run_section(section: Section, args: argparse.Namespace, room: int) -> tuple[str, int]:
    """Run one measure; its part of the page, and the bytes of its figures, for which there are ``room``."""
    out = Path(args.out) / section.tool
    parser, printed = argparse.ArgumentParser(), io.StringIO()
    measure.add_arguments(parser)
    with contextlib.redirect_stdout(printed):
        measure.run(parse(parser, [section.tool, *arguments(section, args, out)]))
    shown, used = figures(sorted([*out.rglob('*.png'), *out.rglob('*.gif')]), room)
    return f'<p>{text(section.text)}</p>{shown}{findings(printed.getvalue())}', used


def add_sections(body: Body, sections: Sequence[Section], args: argparse.Namespace) -> None:
    """Run the measures, and add a part for each."""
    room = ROOM

    def make(section: Section) -> str:
        nonlocal room
        shown, used = run_section(section, args, room)
        room -= used
        return shown

    for number, section in enumerate(sections, 1):
        print(f'[{number}/{len(sections)}] {section.title}', file=sys.stderr)
        body.add(section.tool, section.title, partial(make, section))
