"""The place of the server on the network: a bound socket, and the address that leads to it."""
import errno
import socket

from mmwhitebox.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at a place of this computer.

    Raises:
        UserError: The port is taken or not allowed, or the host is none of this computer.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                              flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f'--host {host}: no address of this computer.') from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
        return listening
    except OSError as error:
        listening.close()
        advice = {
            errno.EADDRINUSE: f'Port {port} of {host} is taken, by another explorer perhaps: give another by --port; 0 '
                              'takes any that is free.',
            errno.EACCES: f'Port {port} is for the administrator: give --port 1024 or more.',
            errno.EADDRNOTAVAIL: f'--host {host}: this computer has no such address.'}
        raise UserError(advice.get(error.errno, f'{host}, port {port}: {error.strerror}.')) from error


def address_of(listening: socket.socket, host: str, token: str | None = None) -> str:
    """The address of the page for a browser."""
    name = socket.gethostname() if host in ('0.0.0.0', '::', '') else f'[{host}]' if ':' in host else host
    return f'http://{name}:{listening.getsockname()[1]}/' + (f'?token={token}' if token else '')
