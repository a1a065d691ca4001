"""From an address to the backend that is meant."""

from __future__ import annotations

import os

from .backend import Backend
from .sqlite.address import locate
from .sqlite.backend import SqliteBackend
from .sqlite.connection import Writer


def connect(address: str | os.PathLike[str]) -> Backend[Writer]:
    """The backend that an address names; nothing is opened yet.

    Args:
        address: a path, or a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`.

    Raises:
        InvalidConfiguration: the address names no file, or a kind of database that is not supported.
    """
    return SqliteBackend(locate(address))
