"""The fuzz tests of the suite, with many more examples."""
import re
import subprocess
import sys
from pathlib import Path

from .board import Board
from .job import ROOT

EXAMPLES = re.compile(r'(\d+) passing(?: examples)?, (\d+) failing')
WANTED = 500


def trial(board: Board, scratch: Path, quick: bool) -> None:
    """Run tests/test_fuzz and count the examples that hypothesis tried."""
    profile = [] if quick else ['--hypothesis-profile=stress']
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', 'tests/test_fuzz', '--hypothesis-show-statistics', *profile], cwd=ROOT,
        capture_output=True, text=True)
    counts = [tuple(map(int, found)) for found in EXAMPLES.findall(done.stdout)]
    passing, failing = (sum(count[i] for count in counts) for i in (0, 1))
    output = scratch / 'fuzz.log'
    output.write_text(done.stdout + done.stderr)
    failed = re.findall(r'^(?:FAILED|ERROR) (\S+)', done.stdout, re.MULTILINE)
    problems = [] if done.returncode == 0 else [f'pytest ended with {done.returncode}, see {output}', *failed]
    if not quick and passing < WANTED:
        problems.append(f'only {passing} examples were tried')
    board.step('fuzz: done', count=6)
    board.add('fuzz', problems, f'{passing} inputs: a result or the documented error, {failing} crashes')
