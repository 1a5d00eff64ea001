"""One training at a time in a work dir.

The lock is a file that says who holds it. It is made by a hard link, which is exclusive on network file systems too,
and its holder sets its time every few seconds. So a lock that a killed process left is recognised: on the same
machine by the process, from elsewhere (another host, another container) by a time that stands still.
"""
import errno
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from mmwhitebox.errors import UserError, WriteError

NAME = 'training.lock'
BEAT = 10.  # seconds between two times that the holder sets
STALE = 120.  # seconds without one after which it is taken for dead
POLL = 1.


def started(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; '' if it does not run, None if the system does not say."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ''
    except OSError:
        pass  # somebody else's
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return '' if fields[0] in 'ZX' else fields[19]  # a zombie writes nothing


def machine() -> str:
    """Where process numbers mean the same: the host, since it was started, and the container."""
    boot = namespace = ''
    with suppress(OSError):
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    with suppress(OSError):
        namespace = os.readlink('/proc/self/ns/pid')
    return ' '.join([socket.gethostname(), boot, namespace])


def identity() -> dict:
    """What a lock says of the process that holds it."""
    return dict(
        host=socket.gethostname(), process=os.getpid(), since=time.strftime('%Y-%m-%d %H:%M:%S'),
        token=uuid.uuid4().hex, machine=machine(), started=started(os.getpid()),
        job=os.environ.get('SLURM_JOB_ID', ''), requeued=int(os.environ.get('SLURM_RESTART_COUNT') or 0))


def read(path: Path) -> dict | None:
    """What a lock says; None if there is no lock, an empty dict if it does not say it."""
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def is_dead(holder: dict, own: dict) -> bool | None:
    """Whether the holder of a lock is known to run no more; None if only its heartbeat can tell."""
    if holder.get('machine') == own['machine'] and isinstance(holder.get('process'), int):
        now = started(holder['process'])
        if now is not None:
            return now != holder.get('started')
    if own['job'] and holder.get('job') == own['job'] and holder.get('requeued', 0) < own['requeued']:
        return True  # the scheduler ends a job before it starts it again
    return None


class WorkDirLock(AbstractContextManager):
    """The lock of a work dir, held within a ``with`` statement, or between ``acquire`` and ``release``.

    Args:
        work_dir (str | Path): An existing folder.
    """

    def __init__(self, work_dir: str | Path) -> None:
        self.path = Path(work_dir) / NAME
        self.own = identity()
        self.done = threading.Event()

    def acquire(self) -> None:
        """Take the lock; one whose holder is dead is taken over, which may take :data:`STALE` seconds to see.

        Raises:
            UserError: Another training holds it.
            WriteError: The file cannot be written.
        """
        told, seen, moved_at, beat = False, object(), 0., 0.
        while not self.create(self.path):
            holder = read(self.path)
            if holder is None:
                continue
            dead = is_dead(holder, self.own)
            now, age = self.beat()
            if holder.get('token') != seen:  # the first look, or another holder
                seen, moved_at, beat = holder.get('token'), time.monotonic() - age, now
            elif now != beat:
                dead = False  # its time moved before our eyes
            if dead is False:
                raise UserError(f'Another training is in the work dir {self.path.parent} ({describe(holder)}). Choose '
                                'another --work-dir, or end that one first; if it runs no more, delete '
                                f'{self.path}.')
            if dead or time.monotonic() - moved_at > STALE:
                if self.replace(holder):
                    print_log(f'{self.path} was left by a training that runs no more ({describe(holder)}) and is taken '
                              'over.', logger='current', level=logging.WARNING)
                    break
                seen = object()
            elif not told:
                told = True
                print_log(f'{self.path} is held from elsewhere ({describe(holder)}): waiting for a sign of life, at '
                          f'most {STALE:.0f} s. If that training runs no more, delete the file.', logger='current',
                          level=logging.WARNING)
            time.sleep(POLL)
        threading.Thread(target=self.keep, name='work dir lock', daemon=True).start()

    def release(self) -> None:
        """Remove the lock, if it is still this process's own."""
        self.done.set()
        if self.own['process'] == os.getpid() and self.is_own():
            with suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def is_own(self) -> bool:
        return (read(self.path) or {}).get('token') == self.own['token']

    def write(self) -> Path:
        """Write what the lock says to a file of this process's own."""
        temporary = self.path.with_name(f'.{NAME}.{self.own["token"]}')
        temporary.write_text(json.dumps(self.own))
        return temporary

    def create(self, path: Path) -> bool:
        """Make a lock file; False if there is one."""
        temporary = self.path
        try:
            temporary = self.write()
            os.link(temporary, path)
            return True
        except FileExistsError:
            return (read(path) or {}).get('token') == self.own['token']  # a network may lose the answer to a first try
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) or temporary == self.path:
                raise WriteError(f'The lock {path} cannot be written ({error.strerror}).') from error
        finally:
            if temporary != self.path:
                temporary.unlink(missing_ok=True)
        try:  # a file system without links
            with open(path, 'x') as file:
                file.write(json.dumps(self.own))
            return True
        except FileExistsError:
            return False

    def beat(self) -> tuple[float, float]:
        """The time that the lock has, and how many seconds ago that was by the clock of its file system."""
        temporary = self.write()
        try:
            with open(self.path) as file:  # opening asks a file server, a bare stat may be answered from memory
                beat = os.fstat(file.fileno()).st_mtime
            return beat, os.stat(temporary).st_mtime - beat
        except OSError:
            return 0., 0.
        finally:
            temporary.unlink(missing_ok=True)

    def replace(self, holder: dict) -> bool:
        """Put this lock in the place of a dead holder's; False if another process was faster.

        Only one process can make the file that stands for the end of this very holder, and while it is there nobody
        else replaces that lock.
        """
        end = self.path.with_name(f'.{NAME}.{holder.get("token", "unknown")}.end')
        if not self.create(end):
            with suppress(OSError):
                if is_dead(read(end) or {}, self.own) or time.time() - end.stat().st_mtime > STALE:
                    end.unlink()
            return False
        try:
            if (read(self.path) or {}).get('token') != holder.get('token'):
                return False
            os.replace(self.write(), self.path)
            return True
        except OSError as error:
            raise WriteError(f'The lock {self.path} cannot be written ({error.strerror}).') from error
        finally:
            end.unlink(missing_ok=True)

    def keep(self) -> None:
        """Set the time of the lock until it is released, or taken over as this process stood still too long."""
        while not self.done.wait(BEAT):
            holder = read(self.path)
            if holder and holder.get('token') not in (None, self.own['token']):
                self.leave()
                return
            with suppress(OSError):  # deleted, or the file server is away
                os.utime(self.path)

    def leave(self) -> None:
        """End this process at once: what it writes would spoil the other training."""
        print(f'error: this training stood still, and another one has taken {self.path} over: it ends here, nothing '
              'is saved.', file=sys.stderr, flush=True)
        os._exit(1)


def describe(holder: dict) -> str:
    """Who holds a lock, for people."""
    if 'process' not in holder:
        return 'its lock does not say which'
    return f'host {holder.get("host")}, process {holder["process"]}, since {holder.get("since")}'


def lock_work_dir(cfg: Config) -> AbstractContextManager:
    """The lock of a training's work dir, as a context; of several processes the first one holds it for all.

    Args:
        cfg (Config): With ``work_dir``, and ``launcher`` if there are several processes.

    Raises:
        UserError: On entering: another training is in the work dir.
    """
    ranks = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
    first = os.environ.get(ranks.get(cfg.get('launcher'), ''), '0') == '0'
    return WorkDirLock(cfg.work_dir) if first else nullcontext()


def prepare_folder(folder: str | Path, option: str = '--out') -> Path:
    """Create a folder for outputs, and make sure that files can be written there; ``option`` is what it was given by.

    Raises:
        UserError: It cannot be created or written.
    """
    if Path(folder).is_file():
        raise UserError(f'{option} {folder}: this is a file, a folder is needed.')
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(1 << 16))  # a full disk may still take an empty file
    except OSError as error:
        what = 'work dir' if option == '--work-dir' else 'folder'
        raise UserError(f'The {what} {folder} is not writable ({error.strerror}). Choose another one with '
                        f'{option}.') from error
    return Path(folder)
