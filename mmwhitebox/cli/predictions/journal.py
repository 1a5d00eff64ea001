"""What is finished: one line for each image, in a file of the process's own, beside what the outputs depend on.

``DIR/parts/I-of-N.jsonl`` begins with the settings; every further line is ``[name, image, its absolute path]``, a tab,
and what tables say of the image. An image is finished once its line is there, and its files were there before. The end
of a line that a killed process left is cut off.
"""
import json
import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mmwhitebox.errors import UserError, WriteError, joined

from .shards import Shard

FOLDER = 'parts'
OFFSET_BITS = 48


def key_of(name: str, absolute: str) -> bytes:
    """An image and the name of its outputs, in few bytes."""
    return blake2b(f'{name}\0{absolute}'.encode('utf-8', 'surrogateescape'), digest_size=16).digest()


class Journal:
    """The finished images of a folder of outputs, as a context: within it, this process writes its own part.

    Args:
        out (Path): Folder of the outputs.
        shard (Shard): This process.
        settings (dict[str, Any]): See :func:`.run.settings_of`.
        overwrite (bool): Begin anew. Defaults to False.

    Raises:
        UserError: On entering: what is there was made with other settings, or another process is writing this part.
        WriteError: It cannot be written.
    """

    def __init__(self, out: Path, shard: Shard, settings: dict[str, Any], overwrite: bool = False) -> None:
        self.out, self.folder, self.shard = out, out / FOLDER, shard
        self.settings, self.overwrite = settings, overwrite
        self.path = self.folder / f'{shard}.jsonl'
        self.temporary = self.folder / f'{shard}.tmp'
        self.skipped = self.folder / f'{shard}.skipped'
        self.done = self.folder / f'{shard}.done'

    def __enter__(self) -> 'Journal':
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.overwrite:
            for path in self.others():
                if path.stem.partition('-of-')[2] != str(self.shard.count):
                    self.lock(open(path, 'rb')).close()
                    path.unlink()
        self.file = self.lock(open(self.path, 'ab+'))
        try:
            self.begin()
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(self, *error) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.file.close()

    def lock(self, file):
        """Lock a part until its file is closed, which the end of the process does too."""
        with suppress(ImportError):  # Windows
            import fcntl
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise UserError(f'Another process is writing {file.name}: give another --out, or --shard I/N to '
                                'several that share the images.') from error
            except OSError:
                pass  # a file system without locks
        return file

    def begin(self) -> None:
        """Check the settings, cut off half a line, remove what a killed process left."""
        own = settings_of(self.path)
        if self.overwrite or own is None:
            strange = [] if self.overwrite else [path for path in self.others() if settings_of(path)
                                                 not in (None, self.settings)]
            if strange:
                self.refuse(settings_of(strange[0]))
            self.file.truncate(0)
            self.append(json.dumps(self.settings))
        elif own != self.settings:
            self.refuse(own)
        else:
            self.file.truncate(whole(self.path))
        self.done.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        self.skipped.write_bytes(b'')

    def refuse(self, there: dict) -> None:
        """Say what the outputs that are there were made with."""
        other = [f'with another {name}' for name in ('checkpoint', 'config') if there.get(name) != self.settings[name]]
        other = other or [option for option in there.get('options', ()) if option not in self.settings['options']]
        raise UserError(f'{self.out} holds predictions {joined(other)}: give another --out, go on as it was, '
                        'or begin anew with --overwrite.')

    def others(self) -> list[Path]:
        """Parts of other processes, those that were written last at the end."""
        found = [path for path in self.folder.glob('*-of-*.jsonl') if path != self.path]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def parts(self) -> list[Path]:
        """All parts that were made with these settings."""
        return [path for path in [*self.others(), self.path] if settings_of(path) == self.settings]

    def finished(self) -> set[bytes]:
        """Keys of the images that are finished, see :func:`key_of`."""
        return {key_of(head[0], head[-1]) for path in self.parts() for _, head in heads(path)}

    def add(self, name: str, image: str, content: dict) -> None:
        """Note that an image is finished, and what tables say of it."""
        absolute = os.path.abspath(image)
        head = [name, image] if image == absolute else [name, image, absolute]
        self.append(f'{json.dumps(head)}\t{json.dumps(content, separators=(",", ":"))}')

    def append(self, line: str) -> None:
        try:
            self.file.write(f'{line}\n'.encode())
            self.file.flush()
        except OSError as error:
            raise WriteError(f'{self.path} cannot be written ({error.strerror}).') from error

    def skip(self, message: str) -> None:
        """Note that an image is skipped, and why."""
        with open(self.skipped, 'ab') as file:
            file.write(f'{message}\n'.encode('utf-8', 'surrogateescape'))

    def complete(self) -> bool:
        """Note that this process is through; whether all that share the images are."""
        self.done.touch()
        return all((self.folder / f'{Shard(index, self.shard.count)}.done').exists()
                   for index in range(self.shard.count))

    def all_skipped(self) -> list[str]:
        """What the processes that share the images have skipped."""
        lines = []
        for index in range(self.shard.count):
            path = self.folder / f'{Shard(index, self.shard.count)}.skipped'
            with suppress(FileNotFoundError), open(path, encoding='utf-8', errors='surrogateescape') as file:
                lines += file.read().splitlines()
        return lines


def settings_of(part: Path) -> dict | None:
    """The settings that a part was made with; None if it does not say."""
    with suppress(OSError, ValueError), open(part, 'rb') as file:
        settings = json.loads(file.readline())
        return settings if isinstance(settings, dict) else None
    return None


def whole(part: Path) -> int:
    """Bytes of a part up to the end of its last whole line."""
    with open(part, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b'\n') + 1


def heads(part: Path) -> Iterator[tuple[int, list[str]]]:
    """(offset, [name, image, absolute path]) of each image of a part."""
    with open(part, 'rb') as file:
        offset = len(file.readline())
        for line in file:
            if line[-1:] == b'\n':
                yield offset, json.loads(line.partition(b'\t')[0])
            offset += len(line)


class Finished:
    """What the parts of a journal say of each image, looked up by the name of its outputs.

    Args:
        journal (Journal): Of several lines for one name, the last counts.
    """

    def __init__(self, journal: Journal) -> None:
        self.files = [open(path, 'rb') for path in journal.parts()]
        self.places = {head[0]: number << OFFSET_BITS | offset for number, file in enumerate(self.files)
                       for offset, head in heads(Path(file.name))}

    def __enter__(self) -> 'Finished':
        return self

    def __exit__(self, *error) -> None:
        for file in self.files:
            file.close()

    def get(self, name: str) -> tuple[str, dict] | None:
        """(image, content) of a finished image, else None."""
        place = self.places.get(name)
        if place is None:
            return None
        file = self.files[place >> OFFSET_BITS]
        file.seek(place & (1 << OFFSET_BITS) - 1)
        head, _, content = file.readline().partition(b'\t')
        return json.loads(head)[1], json.loads(content)
