"""Trainings on small real data: python -m projects.small_data camvid|cifar10 [--quick] [--only ROW...] [--jobs N]

Trains every config of the suite under every seed (what is finished stays, what was interrupted goes on), measures the
trained models, and writes the scalars to logs/<suite>/, the tables to README.md and the plots to images/, all here.
--quick does all of it at toy length under work_dirs/small_data_quick/.
"""
import argparse
import os
import shutil
import time

from mmengine.fileio import dump

from benchmarks.report import say
from mmwhitebox.cli.options import positive_int
from mmwhitebox.cli.running import run_command
from mmwhitebox.errors import UserError

from .analyses import measure
from .curves import draw_all
from .page import refresh
from .runs import record, runs_of, train_all
from .suites import FOLDER, ROOT, SUITES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m projects.small_data', description=__doc__.partition(':')[0])
    parser.add_argument('suite', choices=list(SUITES))
    parser.add_argument('--only', nargs='+', metavar='ROW', help='train these configs alone, measure nothing')
    parser.add_argument('--quick', action='store_true', help='toy length, one seed, written to work_dirs')
    parser.add_argument('--jobs', type=positive_int, default=os.cpu_count(),
                        help='trainings at a time (one for each core)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    suite = SUITES[args.suite]
    options = suite.quick if args.quick else ()
    work_dirs = ROOT / 'work_dirs' / ('small_data_quick' if args.quick else 'small_data')
    folder = work_dirs / 'page' if args.quick else FOLDER
    logs = folder / 'logs' / suite.name
    logs.mkdir(parents=True, exist_ok=True)
    if args.quick:
        shutil.copy(FOLDER / 'README.md', folder)
    runs = runs_of(suite, work_dirs / suite.name, args.quick)
    known = {run.row.name for run in runs}
    if not known.issuperset(args.only or ()):
        raise UserError(f'--only: {suite.name} has the rows {", ".join(sorted(known))}.')
    runs = [run for run in runs if run.row.name in (args.only or known)]
    start, done = time.time(), 0
    say(f'{len(runs)} trainings, {args.jobs} at a time, in {work_dirs / suite.name}')
    for run in train_all(runs, options, args.jobs):
        log = record(run, options)
        dump(log, logs / f'{run.name}.json')
        done += 1
        left = (time.time() - start) / done * (len(runs) - done) / 60
        say(f'{done} of {len(runs)}: {run.name}, {suite.metric} {log["val"][-1][suite.metric]:.2f}, '
            f'{log["seconds"]} s; about {left:.0f} min left')
    if not args.only:
        dump(measure(suite, runs, args.quick), logs / 'analysis.json', indent=1)
    draw_all(folder / 'logs', folder / 'images')
    refresh(folder / 'README.md', folder / 'logs')
    say(f'Tables: {folder / "README.md"}')


if __name__ == '__main__':
    run_command(main)
