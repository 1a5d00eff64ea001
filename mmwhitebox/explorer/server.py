"""The server: a page of static files, and the API that it is one client of."""
import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Sequence
from importlib.resources import files
from socket import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mmwhitebox.errors import UserError

from .images import NoSuchImageError, Picture, Pictures, check_listed
from .jobs import Jobs
from .process import JobError, status_of
from .runs import Asked
from .safety import Guard, answer, is_loopback, refusal

MAX_IMAGE_BYTES, MAX_JSON_BYTES, MAX_BYTES_AT_ONCE = 32 * 2**20, 2**18, 96 * 2**20
MAX_SECONDS_OF_BODY = 60
MAX_RUNS, MAX_WHAT_IF = 16, 64
MAX_DECODING = 2
MAX_CONNECTIONS = 256
KINDS = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript'}
RETRY = {'Retry-After': '1'}


class Explorer:
    """What answers each address.

    Args:
        pictures (Pictures): The images.
        jobs (Jobs): The models.
        api_only (bool): There is no page. Defaults to False.
    """

    def __init__(self, pictures: Pictures, jobs: Jobs, api_only: bool = False) -> None:
        self.pictures, self.jobs = pictures, jobs
        self.static = {} if api_only else static_files()
        self.arriving = 0
        self.decoding = asyncio.Semaphore(MAX_DECODING)

    @property
    def routes(self) -> list[Route]:
        """All addresses."""
        return [Route('/', self.file), Route('/static/{name:path}', self.file),
                Route('/api/models', self.models), Route('/api/images', self.images),
                Route('/api/images', self.upload, methods=['POST']),
                Route('/api/images/{id}/thumbnail', self.thumbnail),
                Route('/api/run', self.run, methods=['POST']), Route('/api/export', self.export, methods=['POST'])]

    async def file(self, request: Request) -> Response:
        """``GET /`` and ``GET /static/NAME``."""
        name = request.path_params.get('name', 'index.html')
        if name not in self.static:
            raise HTTPException(404)
        return Response(self.static[name], headers={'Cache-Control': 'no-cache'}, media_type=kind_of(name))

    async def models(self, request: Request) -> Response:
        """``GET /api/models``."""
        return answer({'models': [dict(id=str(number), **state) for number, state in enumerate(self.jobs.states)]})

    async def images(self, request: Request) -> Response:
        """``GET /api/images``."""
        return answer(self.pictures.facts)

    async def upload(self, request: Request) -> Response:
        """``POST /api/images``."""
        async with self._body(request, MAX_IMAGE_BYTES) as data, self.decoding:
            picture = await run_in_threadpool(self.pictures.upload, data, request.headers.get('x-name', ''))
        return answer(picture.facts, 201)

    async def thumbnail(self, request: Request) -> Response:
        """``GET /api/images/ID/thumbnail``."""
        async with self.decoding:
            data = await run_in_threadpool(self.pictures.thumbnail, request.path_params['id'])
        return Response(data, headers={'Cache-Control': 'no-store'}, media_type='image/jpeg')

    async def run(self, request: Request) -> Response:
        """``POST /api/run``."""
        asked = await self._asked(await self._json(request))
        return await while_connected(request, self._answered(self.jobs.explore(asked), 'application/octet-stream'))

    async def export(self, request: Request) -> Response:
        """``POST /api/export``."""
        body = await self._json(request)
        check_keys(body, ('runs', ))
        given = body.get('runs')
        if not isinstance(given, list) or not 0 < len(given) <= MAX_RUNS:
            raise HTTPException(400, f'"runs" is a list of 1 to {MAX_RUNS} runs.')
        runs = [await self._asked(run) for run in given]
        return await while_connected(request, self._answered(
            self.jobs.page(runs), 'text/html', {'Content-Disposition': 'attachment; filename="explorer.html"'}))

    async def _answered(self, work: Awaitable[bytes], kind: str, headers: dict | None = None) -> Response:
        return Response(await work, headers={'Cache-Control': 'no-store', **(headers or {})}, media_type=kind)

    async def _asked(self, run: Any) -> Asked:
        """A run, checked as far as it can be without the model.

        Raises:
            HTTPException: It is none.
            UserError: There is no such image, or it is too large.
        """
        if not isinstance(run, dict) or not all(isinstance(run.get(key), str) for key in ('model', 'image')):
            raise HTTPException(400, 'A run is an object with "model" and "image", which are ids, and "what_if".')
        check_keys(run, ('model', 'image', 'what_if'))
        model, image, what_if = run['model'], run['image'], run.get('what_if', [])
        if model not in map(str, range(len(self.jobs.states))):
            raise HTTPException(404, 'There is no such model.')
        if not isinstance(what_if, list) or len(what_if) > MAX_WHAT_IF or not all(isinstance(i, dict) for i in what_if):
            raise HTTPException(400, f'"what_if" is a list of at most {MAX_WHAT_IF} objects.')
        picture: Picture = self.pictures[image]
        await run_in_threadpool(check_listed, picture)
        file = picture.data if picture.path is None else picture.path
        return Asked(int(model), picture.id, picture.name, file, what_if)

    async def _json(self, request: Request) -> dict:
        async with self._body(request, MAX_JSON_BYTES) as data:
            try:
                found = json.loads(data, parse_constant=_finite, parse_float=_finite)
            except (ValueError, RecursionError) as error:
                raise HTTPException(400, 'The request is no JSON.') from error
        if not isinstance(found, dict):
            raise HTTPException(400, 'The request is no JSON object.')
        return found

    @contextlib.asynccontextmanager
    async def _body(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The body of a request; while it is used, it counts among what is in memory at once."""
        told = request.headers.get('content-length', '0')
        if told.isdecimal() and int(told) > most:
            raise HTTPException(413, f'The request is larger than {most / 2**20:g} MiB.')
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(MAX_SECONDS_OF_BODY):
                async for part in request.stream():
                    size += len(part)
                    self.arriving += len(part)
                    if size > most:
                        raise HTTPException(413, f'The request is larger than {most / 2**20:g} MiB.')
                    if self.arriving > MAX_BYTES_AT_ONCE:
                        raise HTTPException(503, 'Too much is being sent at once; try again in a moment.', RETRY)
                    parts.append(part)
            yield b''.join(parts)
        except TimeoutError as error:
            raise HTTPException(408, 'The request took too long to arrive.') from error
        finally:
            self.arriving -= size


def explorer_app(pictures: Pictures, jobs: Jobs, host: str = '127.0.0.1', token: str | None = None,
                 api_only: bool = False) -> Guard:
    """The application, for any ASGI server that runs it in one process.

    Args:
        pictures (Pictures): The images.
        jobs (Jobs): The models; they are loaded when the application starts, and end with it.
        host (str): What the server is bound to. Defaults to '127.0.0.1'.
        token (str, optional): See :class:`.safety.Guard`; one is needed where ``host`` is no loopback address. Defaults
            to None.
        api_only (bool): There is no page. Defaults to False.
    """
    if token is None and not is_loopback(host):
        raise ValueError(f'bound to {host}, the explorer needs a token')
    explorer = Explorer(pictures, jobs, api_only)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        jobs.start()
        jobs.load(pictures)
        try:
            yield
        finally:
            jobs.stop()

    return Guard(Starlette(routes=explorer.routes, lifespan=lifespan, exception_handlers={
        HTTPException: _on_http, JobError: _on_job, UserError: _on_user_error, ClientDisconnect: _on_gone,
        Exception: _on_anything}), host, token)


def serve(app: Guard, listening: socket, jobs: Jobs) -> None:
    """Serve until a signal ends it, at once: what is running is given up."""
    _Server(uvicorn.Config(app, log_config=None, access_log=False, http='h11', ws='none', loop='asyncio',
                           limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=1, server_header=False),
            jobs).run([listening])


class _Server(uvicorn.Server):
    """Ends the jobs before it waits for the requests, which wait for them."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self.jobs = jobs

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Give up what is running, and end."""
        self.jobs.stop()
        await super().shutdown(sockets)


async def while_connected(request: Request, work: Awaitable[Response]) -> Response:
    """The answer, unless the client goes away before: the work is then cancelled."""
    job, gone = asyncio.ensure_future(work), asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
        return job.result() if job.done() else Response(status_code=499)
    finally:
        job.cancel()
        gone.cancel()


async def disconnected(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def check_keys(given: dict, known: Sequence[str]) -> None:
    """Refuse what would not be heeded, as a key that is written wrong.

    Raises:
        HTTPException: There are other keys.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        named = ', '.join(repr(key)[:30] for key in unknown[:3])
        raise HTTPException(400, f'Unknown here: {named}; known: {", ".join(known)}.')


def static_files() -> dict[str, bytes]:
    """Name -> content of the files of the page; nothing else is served."""
    return {entry.name: entry.read_bytes() for entry in (files('mmwhitebox.explorer') / 'static').iterdir()
            if kind_of(entry.name)}


def kind_of(name: str) -> str | None:
    """Media type of a file of the page, by its name."""
    return KINDS.get(name.rpartition('.')[2])


def _finite(text: str) -> float:
    """A number of JSON; Python takes some that are none, and makes infinity of large ones."""
    if not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


async def _on_http(request: Request, error: HTTPException) -> Response:
    said = {404: 'There is nothing at this address.', 405: 'This address takes another method.'}
    own = error.detail not in ('Not Found', 'Method Not Allowed')
    return refusal(error.status_code, error.detail if own else said[error.status_code], dict(error.headers or {}))


async def _on_job(request: Request, error: JobError) -> Response:
    return refusal(error.status, error.sentence, RETRY if error.status in (429, 503) else None)


async def _on_user_error(request: Request, error: UserError) -> Response:
    status = 404 if isinstance(error, NoSuchImageError) else status_of(error)
    return refusal(status, ' '.join(str(error).split()))


async def _on_gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=499)


async def _on_anything(request: Request, error: Exception) -> Response:
    return refusal(500, f'Something went wrong in the explorer ({type(error).__name__}); the log of the command says '
                        'more.')
