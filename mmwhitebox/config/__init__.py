"""Configs: found by name, read, checked. Importing this makes ``mmwhitebox::`` a place of bases."""
from . import bases  # noqa: F401
