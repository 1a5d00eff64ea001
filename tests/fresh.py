"""Processes that know nothing of ours: forked from one that has imported only what others take long to import."""
import json
import subprocess
import sys
from pathlib import Path

PARENT = """
import json, os, sys, traceback
import matplotlib.pyplot, scipy.stats, torchvision
for line in sys.stdin:
    code, folder, path = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, '.out'), (2, '.err')):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.path[:0] = path
        status = 1
        try:
            exec(code, {'__name__': '__main__'})
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class FreshProcesses:
    """Runs code in new processes, as a context."""

    def __enter__(self) -> 'FreshProcesses':
        self.parent = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', PARENT], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *error) -> None:
        self.parent.communicate()

    def run(self, code: str, folder: Path, *path: Path) -> subprocess.CompletedProcess:
        """What the code does in a folder, with further places, before all others, to import from."""
        self.parent.stdin.write(f'{json.dumps([code, str(folder), [*map(str, path)]])}\n')
        self.parent.stdin.flush()
        status = int(self.parent.stdout.readline())
        return subprocess.CompletedProcess(code, status, *((folder / name).read_text() for name in ('.out', '.err')))
