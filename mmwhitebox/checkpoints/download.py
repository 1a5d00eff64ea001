"""A file from the network: whole and checked, or not there; a download that broke off goes on where it stopped."""
import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlparse

from mmwhitebox.errors import CheckpointError

from .atomic import sync
from .stand_ins import refuse_stand_in

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def check_sha256(path: Path, expected: str | None, source: str) -> None:
    """Compare a file with its SHA-256, if that is known.

    Raises:
        CheckpointError: It differs.
    """
    if expected is not None and (found := sha256_of(path)) != expected:
        raise CheckpointError(f'{source} has the SHA-256 {found}, not {expected}: it is another file, or damaged.')


def open_from(url: str, start: int) -> HTTPResponse:
    """The answer to a request for the bytes of a file from ``start`` on."""
    headers = {'User-Agent': 'mmwhitebox', 'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = f'bytes={start}-'
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def fetch(url: str, part: Path, progress: Callable[[int, int | None], object]) -> None:
    """Append to a file what it lacks; one that the server has another version of begins anew.

    Raises:
        EOFError: The connection ended before the file did.
    """
    start = part.stat().st_size if part.exists() else 0
    try:
        answer = open_from(url, start)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        if error.headers.get('Content-Range') == f'bytes */{start}':  # nothing is missing
            return
        part.unlink()
        start, answer = 0, open_from(url, 0)
    with answer:
        goes_on = re.match(r'bytes (\d+)-', answer.headers.get('Content-Range', ''))
        if not (answer.status == 206 and goes_on and int(goes_on[1]) == start):
            start = 0  # the whole file comes
        length = answer.headers.get('Content-Length')
        total, done = (start + int(length) if length else None), start
        progress(done, total)
        with open(part, 'ab' if start else 'wb') as file:
            while chunk := answer.read1(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise EOFError(f'it ended after {done} of {total} bytes')


def download(url: str, path: Path, sha256: str | None = None,
             progress: Callable[[int, int | None], object] = lambda done, total: None) -> None:
    """Fetch a file.

    What has come of a download that breaks off stays in ``PATH.part``, and the next call goes on there.

    Args:
        url (str): http or https.
        path (Path): The file to write; its folder is created.
        sha256 (str, optional): Its SHA-256 in hexadecimal digits, if known. Defaults to None.
        progress (Callable): Told the bytes that are there and those of the whole file (None if the server does not
            say). Defaults to nothing.

    Raises:
        CheckpointError: There is no network, no such file, or no room; the connection broke off; the server sent a web
            page; the hash differs.
    """
    if urlparse(url).scheme not in ('http', 'https'):
        raise CheckpointError(f'{url} is no http or https address.')
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, part, progress)
    except urllib.error.HTTPError as error:
        raise CheckpointError(f'{url} cannot be downloaded: the server says {error.code} {error.reason}.') from error
    except (OSError, EOFError, HTTPException, ValueError) as error:
        reason = getattr(error, 'reason', error)
        kept = f' {part} keeps what has come: the same command goes on there.' \
            if part.is_file() and part.stat().st_size else ''
        raise CheckpointError(f'{url} cannot be downloaded: {reason}.{kept}') from error
    try:
        refuse_stand_in(part, url)
        check_sha256(part, sha256, url)
    except CheckpointError:
        part.unlink()
        raise
    sync(part)
    os.replace(part, path)
