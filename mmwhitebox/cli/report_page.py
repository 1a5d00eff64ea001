"""The page of ``mmwhitebox report``: a section for each measure, in one HTML file."""
import argparse
import contextlib
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmwhitebox.errors import NotApplicableError, UserError

from . import measure
from .html_page import data_uri, page
from .options import parse


@dataclass
class Section:
    """One command of the report: what it shows and how its picture is read."""

    tool: str
    title: str
    text: str
    options: Sequence[str] = field(default_factory=tuple)
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


def picture(path: Path) -> str:
    """An image file as a figure that holds its own data."""
    source = data_uri(path.read_bytes(), 'gif' if path.suffix == '.gif' else 'png')
    return f'<figure class="wide"><img alt="{html.escape(path.stem)}" src="{source}"></figure>'


def findings(printed: str) -> str:
    """What a command printed: its sentences, and its tables folded away."""
    lines = [line for line in printed.splitlines()
             if line.strip() and ' - INFO - ' not in line and not line.startswith('written:')]
    tables = [line for line in lines if line[0] in '+|']
    sentences = ''.join(f'<p>{html.escape(line)}</p>' for line in lines if line[0] not in '+|')
    numbers = f'<details><summary>Numbers</summary><pre>{html.escape(chr(10).join(tables))}</pre></details>'
    return f'<div class="findings">{sentences}{numbers if tables else ""}</div>'


def run_section(section: Section, args: argparse.Namespace, failed: list[str]) -> str:
    """Run one measure; its part of the page. What went wrong is added to ``failed``."""
    out = Path(args.out) / section.tool
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
    heading = f'<h2 id="{section.tool}">{html.escape(section.title)}</h2>'
    parser, printed = argparse.ArgumentParser(), io.StringIO()
    measure.add_arguments(parser)
    try:
        with contextlib.redirect_stdout(printed):
            measure.run(parse(parser, [section.tool, *argv]))
    except NotApplicableError as error:
        return f'{heading}<p class="absent">Not for this model: {html.escape(str(error))}</p>'
    except UserError as error:
        failed.append(f'{section.tool}: {error}')
        return f'{heading}<p class="absent">Failed: {html.escape(str(error))}</p>'
    pictures: list[Path] = sorted([*out.rglob('*.png'), *out.rglob('*.gif')])
    return ''.join([heading, f'<p>{html.escape(section.text)}</p>', *map(picture, pictures),
                    findings(printed.getvalue())])


def render(args: argparse.Namespace, parts: Sequence[str]) -> str:
    """The page of all sections."""
    images = ', '.join(args.images) or 'the test set of the config'
    return page(f'Inside {Path(args.config).stem}', f'Config {args.config}, checkpoint {args.checkpoint}, images: '
                f'{images} (at most {args.max_images}).', {s.tool: s.title for s in SECTIONS}, '\n'.join(parts))
