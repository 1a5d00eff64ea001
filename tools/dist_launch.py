"""torchrun for tools/dist_train.sh: same arguments; an orderly stop of the training gives its status, 75."""
import os
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

STOPPED = 75  # of mmwhitebox.engine.stop_signals, which takes long to import
NOTE = 'MMWHITEBOX_STOP_NOTE'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / 'stopped'
        os.environ[NOTE] = str(note)
        try:
            run(parse_args(None))
        except (SignalException, ChildFailedError) as error:
            if note.is_file():
                sys.exit(STOPPED)
            if isinstance(error, ChildFailedError):
                sys.exit(str(error))
            sys.exit(f'{error} Nothing was saved.')


if __name__ == '__main__':
    main()
