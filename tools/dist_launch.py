"""torchrun for tools/dist_train.sh and dist_test.sh: same arguments. An orderly stop of the training gives its status,
75; where a process has said in one message what is wrong, torchrun adds nothing to it.
"""
import logging
import os
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

STOPPED = 75  # of mmwhitebox.engine.hooks.stop_on_signal, which takes long to import
NOTE = 'MMWHITEBOX_STOP_NOTE'
REFUSED_NOTE = 'MMWHITEBOX_REFUSED_NOTE'
LOGGERS = ('torch.distributed.elastic.multiprocessing.api', 'torch.distributed.elastic.agent.server.api')


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / 'stopped'
        refused = Path(folder) / 'refused'
        os.environ[NOTE], os.environ[REFUSED_NOTE] = str(note), str(refused)
        for name in LOGGERS:
            logging.getLogger(name).addFilter(lambda record: not refused.is_file())
        try:
            run(parse_args(None))
        except (SignalException, ChildFailedError) as error:
            if note.is_file():
                sys.exit(STOPPED)
            if refused.is_file():
                sys.exit(1)
            if isinstance(error, ChildFailedError):
                sys.exit(str(error))
            sys.exit(f'{error} Nothing was saved.')


if __name__ == '__main__':
    main()
