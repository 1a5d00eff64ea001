"""Who may ask, and what every answer says to the browser.

A page that is open in the same browser must neither read the pictures nor let the models work: not under a name of its
own that leads here (DNS rebinding: the Host header), not by a request across sites (Origin, Sec-Fetch-Site). Whoever
comes by another address than the computer's own needs the token.
"""
import asyncio
import contextlib
import ipaddress
import json
import secrets
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
                               "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
}
OWN_NAMES = ('localhost', '127.0.0.1', '::1')


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what is bound to a host, a name or an address."""
    if host == 'localhost':
        return True
    address = address_in(host)
    return address is not None and address.is_loopback


def address_in(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a name is; None if it is none."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name)
    return None


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def answer(data: dict, status: int = 200, headers: dict | None = None) -> Response:
    """JSON, in ASCII: names of files and classes may hold anything."""
    return Response(json.dumps(data), status, {'Cache-Control': 'no-store', **(headers or {})}, 'application/json')


def refusal(status: int, sentence: str, headers: dict | None = None) -> Response:
    """An error as the page shows it: one sentence."""
    return answer({'error': sentence}, status, headers)


def host_name(host: str) -> str:
    """Name or address in a Host header, without the port; '' if it is none."""
    try:
        return (urlsplit(f'//{host}').hostname or '') if not set(host) & set('/?#@\\ ') else ''
    except ValueError:
        return ''


class Guard:
    """Lets requests through to an app that its page, or a program, may make; adds :data:`HEADERS` to every answer.

    Args:
        app (ASGIApp): What answers.
        host (str): What the server is bound to. On loopback, the Host header must be a name of this computer on
            loopback, with any port, since a tunnel has its own; elsewhere a numeric address, ``host`` or the
            computer's name. Defaults to '127.0.0.1'.
        token (str, optional): What every request has to bring: ``?token=`` in the address of the page, which sets a
            cookie, the cookie, or ``Authorization: Bearer``. Defaults to None, none.
    """

    def __init__(self, app: ASGIApp, host: str = '127.0.0.1', token: str | None = None) -> None:
        self.app, self.token = app, token
        self.cookie = f'mmwhitebox_{secrets.token_hex(4)}'  # cookies do not tell ports apart
        self.names: Collection[str] = OWN_NAMES if is_loopback(host) else (
            *OWN_NAMES, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower())
        self.numeric = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope['type'] == 'lifespan':
            return await self.app(scope, receive, send)
        if scope['type'] != 'http':
            return
        headers = Headers(scope=scope)
        by_address = self.token is not None and scope['path'] == '/' and self.is_token(
            parse_qs(scope['query_string'].decode('latin-1')).get('token', [''])[0])

        async def send_guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                added = MutableHeaders(scope=message)
                added.update(HEADERS)
                if by_address:
                    added.append('Set-Cookie', f'{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict')
            await send(message)

        app = self.refused(scope, headers) or (None if by_address else self.without_token(headers)) or self.app
        with contextlib.suppress(asyncio.CancelledError):  # by the end of the server, of which it would tell at length
            await app(scope, receive, send_guarded)

    def refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that another site has made, or to another name than one of ours."""
        host = headers.get('host', '')
        name = host_name(host)
        if name not in self.names and not (self.numeric and address_in(name)):
            return refusal(403, 'This server answers to its own address alone, as the command printed it.')
        site, reads = headers.get('sec-fetch-site'), scope['method'] in ('GET', 'HEAD')
        if site in ('cross-site', 'same-site') and (scope['path'] != '/' or not reads):
            return refusal(403, 'Another site made this request.')
        origin = headers.get('origin')
        own = origin is None or site == 'same-origin' or origin.partition('://')[2].lower() == host.lower()
        if not own and not reads:
            return refusal(403, 'Another site made this request.')
        return None

    def without_token(self, headers: Headers) -> Response | None:
        """The answer to who has no token, if one is needed."""
        if self.token is None:
            return None
        kind, _, given = headers.get('authorization', '').partition(' ')
        if kind.lower() == 'bearer' and self.is_token(given.strip()):
            return None
        try:
            cookie = SimpleCookie(headers.get('cookie', '')).get(self.cookie)
        except CookieError:
            cookie = None
        if cookie is not None and self.is_token(cookie.value):
            return None
        return refusal(401, 'This page wants the token: open the whole address that the command printed.',
                       {'WWW-Authenticate': 'Bearer'})

    def is_token(self, text: str) -> bool:
        """Whether a text is the token, in the same time for every text."""
        return secrets.compare_digest(text.encode('utf-8', 'replace'), (self.token or '').encode())
