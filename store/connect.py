"""From an address to the backend that is meant."""

from __future__ import annotations

import os

from .backend import Backend
from .domain.errors import InvalidConfiguration
from .sqlite.address import locate
from .sqlite.backend import SqliteBackend


def connect(address: str | os.PathLike[str]) -> Backend:
    """The backend that an address names; nothing is opened yet.

    Args:
        address: a path, or a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://host/database`.

    Raises:
        InvalidConfiguration: the address names no database, or a kind of database that is not supported.
    """
    text = os.fspath(address)
    if not text.startswith(("postgresql://", "postgres://")):
        return SqliteBackend(locate(address))
    try:
        from .postgres.backend import PostgresBackend  # its driver is an extra
    except ImportError as error:
        raise InvalidConfiguration(
            f"The driver for PostgreSQL cannot be used ({error}): install it with `pip install 'ordermill[postgres]'`."
        ) from error
    return PostgresBackend(text)
