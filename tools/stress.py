"""Kill, interrupt and fill up real trainings, and fuzz their input: bash tools/stress.sh [--kills 30] [--quick]

A training (configs/cbt_decoder/cbt_decoder_mini_ade20k.py, one layer, generated data) runs undisturbed first. Then the
same training is disturbed and resumed, and must end with the same parameters, optimizer and schedules, bit for bit.
Parts:

    kills      SIGKILL at random moments, those within the write of a checkpoint among them
    disk       a small tmpfs that fills up, for a while and for good (needs root; else a limit on the size of files)
    processes  two processes, one of which is killed, and raises
    signals    SIGTERM, SIGINT, SIGUSR1
    fuzz       the tests of hostile input, with at least 500 examples
"""
import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from trials import disk, fuzz, kills, processes, signals
from trials.board import Board
from trials.job import Job, Setting, make_data

PARTS = ('kills', 'disk', 'processes', 'signals', 'fuzz')
STEPS = dict(disk=4, processes=8, signals=4, fuzz=6)


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, help='number of SIGKILLs; 30 by default, 4 with --quick')
    parser.add_argument('--iters', type=int, help='iterations of a training; 100 by default, 40 with --quick')
    parser.add_argument('--quick', action='store_true', help='a short form of everything')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, help='only these')
    parser.add_argument('--seed', type=int, help='of the random moments; drawn and printed by default')
    parser.add_argument('--scratch', type=Path, help='folder for the trainings; a temporary one by default, removed '
                        'when everything has passed')
    args = parser.parse_args(argv)
    args.kills = args.kills or (4 if args.quick else 30)
    args.iters = args.iters or (40 if args.quick else 100)
    args.seed = random.randrange(10**6) if args.seed is None else args.seed
    return args


def main(argv: list[str]) -> int:
    args = parse_args(argv)
    rng = random.Random(args.seed)
    scratch = Path(tempfile.mkdtemp(prefix='stress_', dir=args.scratch))
    setting = Setting(scratch, args.iters)
    board = Board(3 + (args.kills * 7 // 6) * ('kills' in args.parts) + sum(
        STEPS.get(part, 0) for part in args.parts))
    print(f'Trainings in {scratch}, seed {args.seed}')
    make_data(setting)
    reference = scratch / 'undisturbed'
    if set(args.parts) - {'fuzz', 'processes'}:
        job = Job(setting, reference)
        if job.end() != 0:
            print(f'The undisturbed training failed:\n{job.text()[-3000:]}')
            return 1
        board.step('undisturbed training: done', count=3)
        board.mark = board.begin
    if 'kills' in args.parts:
        kills.trial(setting, board, reference, args.kills, rng)
    if 'disk' in args.parts:
        disk.trial(setting, board, reference)
    if 'processes' in args.parts:
        processes.trial(setting, board)
    if 'signals' in args.parts:
        signals.trial(setting, board, reference, rng)
    if 'fuzz' in args.parts:
        fuzz.trial(board, scratch, args.quick)
    print(board.table(args.seed))
    if board.failed:
        print(f'Logs and checkpoints are kept in {scratch}.')
    else:
        shutil.rmtree(scratch)
    return int(board.failed)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
