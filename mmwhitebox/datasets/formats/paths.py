"""Parts of posix paths kept as text: pathlib's objects take ten times as long, and folders hold millions of files."""
import posixpath


def parent(path: str) -> str:
    """The folder, '.' of a name alone."""
    return posixpath.dirname(path) or '.'


def stem(path: str) -> str:
    """The name without its last suffix."""
    return posixpath.splitext(posixpath.basename(path))[0]


def suffix(path: str) -> str:
    """The last suffix with its dot, '' without one."""
    return posixpath.splitext(path)[1]
