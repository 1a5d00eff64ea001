"""What ``mmwhitebox measure synthetic`` does; equations and readings: :mod:`mmwhitebox.interpret.synthetic`."""
import argparse

from prettytable import PrettyTable
from rich.console import Console
from rich.progress import track

from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.drawing import to_array
from mmwhitebox.engine.work_dir import prepare_folder
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.synthetic import (
    STEPS,
    draw_frame,
    iterate,
    make_classes,
    plot_states,
    plot_synthetic_rates,
    rates,
    save_animation,
    separation,
)

NUM_FRAMES = 40


def main(args: argparse.Namespace) -> None:
    if args.classes < 2 or args.points < 4 or args.iterations < 1:
        raise UserError('Give at least 2 classes, 4 points and 1 iteration.')
    if not 0 < args.step <= 1 or args.eps_squared <= 0:
        raise UserError('--step lies over 0 and not over 1, --eps-squared over 0.')
    out = prepare_folder(args.out)
    points = make_classes(args.classes, args.points, seed=args.seed)
    states = {name: iterate(points, step, args.iterations, args.step, args.eps_squared)
              for name, step in STEPS.items()}

    courses = {name: rates(path, args.eps_squared) for name, path in states.items()}
    save_numbers([dict(operator=name, iteration=t, **{key: values[t].item() for key, values in course.items()})
                  for name, course in courses.items() for t in range(args.iterations + 1)], out, 'synthetic_rates')
    table = PrettyTable(['operator', 'compression term', 'dimensions of the classes', 'smallest angle between two'],
                        align='r')
    rows = []
    for name, pairs in {'(points)': separation(points),
                        **{name: separation(path[-1]) for name, path in states.items()}}.items():
        rows += [dict(operator=name, **pair) for pair in pairs]
        course = courses.get(name, next(iter(courses.values())))['compression']
        table.add_row([name, f'{course[-1 if name in courses else 0]:.2f}',
                       ' '.join(str(dim) for dim in [pairs[0]['dims'][0], *(pair['dims'][1] for pair in pairs
                                                                            if pair['classes'][0] == 0)]),
                       f'{min(min(pair["angles"]) for pair in pairs):.1f}'])
    save_numbers(rows, out, 'synthetic_angles')
    print(f'{table}\nAfter {args.iterations} iterations; nats, degrees. Two planes in space share a line: angle 0.')

    shown = sorted({round(args.iterations * share) for share in (0, 0.05, 0.2, 0.5, 1)})
    pictures = [save_figure(plot_states(states, shown), out, 'synthetic'),
                save_figure(plot_synthetic_rates(states, args.eps_squared), out, 'synthetic_rates')]
    frames = []
    times = sorted({round(i * args.iterations / (NUM_FRAMES - 1)) for i in range(NUM_FRAMES)})
    for t in track(times, description='frames', console=Console(stderr=True)):
        figure = draw_frame(states, t)
        frames.append(to_array(figure))
        if args.frames:
            figure.savefig(prepare_folder(out / 'frames') / f'{t:03d}.png')
    save_animation(frames, out / 'synthetic.gif')
    print('written:', *pictures, out / 'synthetic.gif')
