"""Connections that notice when their database's files are not where they were any more.

SQLite itself goes on, in files that nobody can open again: what it takes then is lost.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any, Protocol

from peewee import DatabaseError, OperationalError, SqliteDatabase
from playhouse.pool import PooledSqliteDatabase  # type: ignore[import-untyped]  # has no types

from ..statements import run
from ..translation import translated_errors
from ..writer import Writer
from .descriptor import Identity, identify
from .dialect import to_sqlite

_CHECKPOINT_SECONDS = 0.1
"""How long a checkpoint waits for those who read."""

_log = logging.getLogger("ordermill.store")


class FilesGone(OperationalError):
    """A file of the database was deleted, moved or replaced while it was open."""

    def __init__(self) -> None:
        super().__init__("a file of it was deleted, moved or replaced: the log says which, and what to do")


class OpenFiles:
    """The files that a connection has open: the database, its log, and the index of that.

    Args:
        path: the database, which is open and has been read from.
    """

    def __init__(self, path: Path) -> None:
        self._known: list[tuple[Path, str, Identity | None]] = [
            (name, str(name), identify(name)) for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"))
        ]

    def log_bytes(self) -> int | None:
        """The size of the log; None where it is not there."""
        try:
            return self._known[1][0].stat().st_size
        except OSError:
            return None

    def gone(self) -> Path | None:
        """The first that is not in its place; None while all are. Takes some microseconds."""
        for path, name, identity in self._known:
            if identify(name) != identity:
                return path
        return None


class AnySqlite(SqliteDatabase):
    """A connection that takes the store's statements."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run a statement, as Peewee's."""
        return super().execute_sql(to_sqlite(sql), params)  # type: ignore[no-untyped-call]  # Peewee's


class Log(Protocol):
    """A write-ahead log."""

    def keep_bounded(self, *, again: bool = False) -> bool:
        """See `WriteAheadLog`."""


class SqliteWriter(AnySqlite, Writer):
    """The connection that writes. It begins no transaction, and reports none as committed, while a file has gone.

    When it notices that, it copies its log into the database, wherever that is now: so the file alone has everything
    that was ever acknowledged.

    Args:
        path: the database.
        options: of Peewee's.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(str(path), **options)
        self.path = path
        """The database."""
        self.files: OpenFiles | None = None
        """What is watched; nothing is before `watch`."""
        self._log: Log | None = None
        self._has_told = False
        self._is_saved = False

    def watch(self, log: Log) -> None:
        """From now on, notice when the files are not in their place. Everything has been opened by now.

        Args:
            log: its write-ahead log.
        """
        self.files = OpenFiles(self.path)
        self._log = log

    def check_files(self) -> None:
        """Call it outside of a transaction.

        Raises:
            FilesGone: a file is not in its place.
        """
        gone = self._gone()
        if gone is None:
            if self._has_told:
                _log.warning("the files of %s are in their place again: it takes orders", self.path)
                self._has_told = self._is_saved = False
            return
        if not self._has_told:
            self._has_told = True
            _log.error(
                "%s was deleted, moved or replaced while it was open: nothing is acknowledged any more. Put the same "
                "file back, and the engine goes on; or stop it, and start it over the file that is to hold.",
                gone,
            )
        if not self._is_saved:
            self._save()
        raise FilesGone

    def known_fault(self) -> DatabaseError | None:
        """See `Writer`."""
        return None if self._gone() is None else FilesGone()

    def check_replaceable(self) -> None:
        """See `Writer`: another connection would open other files, where these are not in their place."""
        with translated_errors():
            self.check_files()

    def keep_log_bounded(self, *, again: bool = False) -> bool:
        """See `Writer`."""
        return self._log is not None and self._log.keep_bounded(again=again)

    def log_bytes(self) -> int | None:
        """See `Writer`."""
        return None if self.files is None else self.files.log_bytes()

    def wait_at_most(self, seconds: float) -> None:
        """See `Writer`."""
        with translated_errors():
            self._set_busy_timeout(seconds)

    def begin_log_anew(self) -> bool:
        """Copy the log into the database, and begin it anew, once nobody reads from it; waits for that a moment only.

        Returns:
            Whether that was done.

        Raises:
            peewee.DatabaseError: the database does not take writes.
        """
        self._set_busy_timeout(_CHECKPOINT_SECONDS)
        try:
            was_busy, _, _ = run(self, "PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._set_busy_timeout(self.timeout)
        return not was_busy

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction, if all files are in their place."""
        self.check_files()
        super().begin(lock_type)

    def commit(self) -> None:
        """Commit; then whoever waits for it may be told, if all files are in their place even now."""
        super().commit()
        self.check_files()

    def _gone(self) -> Path | None:
        return None if self.files is None else self.files.gone()

    def _save(self) -> None:
        try:
            self._is_saved = self.begin_log_anew()
        except DatabaseError as error:
            _log.error("its log could not be copied into the database: %s", error)

    def _set_busy_timeout(self, seconds: float) -> None:
        run(self, f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def _close(self, connection: sqlite3.Connection) -> None:
        if self._gone() is not None and not self._is_saved:
            self._save()  # SQLite itself leaves the log as it is where the database was moved
        super()._close(connection)  # type: ignore[misc]  # Peewee's types leave it out


class _OneFile(AnySqlite):
    """Opens one file only, even when there is another one of its name later.

    Args:
        name: the database as SQLite takes it.
        path: the database.
        options: of Peewee's.
    """

    def __init__(self, name: str, *, path: Path, **options: Any) -> None:
        self._path, self._identity = path, identify(path)
        super().__init__(name, **options)

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]  # likewise
        if identify(self._path) != self._identity:
            connection.close()
            raise FilesGone
        return connection


class Readers(PooledSqliteDatabase, _OneFile):  # type: ignore[misc]  # the pool has no types
    """A pool of connections that read: all of the same file."""
