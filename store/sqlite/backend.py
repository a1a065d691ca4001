"""SQLite as a backend: one file, which one engine at a time writes to and anybody may read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..domain.durability import Durability
from . import database
from .connection import Readers, SqliteWriter
from .lock import EngineLock


class SqliteBackend:
    """See `Backend`.

    Args:
        path: the file, as `locate` gives it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._path

    @property
    def address(self) -> str:
        """The file, absolute."""
        return str(self._path)

    @property
    def name(self) -> str:
        """The file, absolute."""
        return str(self._path)

    def lock(self) -> EngineLock:
        """Keep other engines from it; see `EngineLock`."""
        return EngineLock(self._path)

    def open_writer(self, durability: Durability, *, skip_upgrade_copy: bool = False) -> SqliteWriter:
        """The one connection that writes; see `database.open_writer`."""
        return database.open_writer(self._path, durability, skip_upgrade_copy=skip_upgrade_copy)

    def open_readers(self, max_connections: int, *, any_version: bool = False) -> Readers:
        """A pool of connections that only read; see `database.open_readers`."""
        return database.open_readers(self._path, max_connections, any_version=any_version)

    def listen(self, own: Callable[[], int], hear: Callable[[], None]) -> ExitStack:  # noqa: ARG002  # see `Backend`
        """See `Backend`: there is no other engine."""
        return ExitStack()
