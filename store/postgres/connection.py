"""Connections to a PostgreSQL server that take the store's statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import psycopg
from peewee import (  # type: ignore[attr-defined]  # Peewee's types leave out its wrapper
    PostgresqlDatabase,
    __exception_wrapper__,
)

from .dialect import to_postgres


class _Cursor(psycopg.ClientCursor[Any]):
    # Errors are Peewee's in any case, since callers do not know the driver's.
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        with __exception_wrapper__:
            return super().execute(to_postgres(query) if isinstance(query, str) else query, params or None, **options)

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        with __exception_wrapper__:
            super().executemany(to_postgres(query), params_seq, **options)


class Connection(psycopg.Connection[Any]):
    """A connection with the calls that sqlite3's have, for the statements that are run without Peewee."""

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> psycopg.Cursor[Any]:
        """Run a statement once for each row of parameters."""
        cursor = self.cursor()
        cursor.executemany(statement, rows)
        return cursor

    def executescript(self, script: str) -> None:
        """Run a script of several statements."""
        with __exception_wrapper__:
            psycopg.Cursor(self).execute(script.encode())


class PostgresWriter(PostgresqlDatabase):
    """The connection that writes.

    Args:
        url: of the server and the database, as libpq takes it.
    """

    value_types: ClassVar[Mapping[str, str]] = {"i": "bigint", "t": "text"}
    """What the letters of `ManyRows` are here."""

    def __init__(self, url: str) -> None:
        super().__init__(url, prefer_psycopg3=True)
        self._url = url

    def _connect(self) -> Connection:
        connection: Connection = Connection.connect(self._url, cursor_factory=_Cursor, autocommit=True)
        return connection

    def begin(self, _lock_type: str | None = None) -> None:
        """Begin a transaction; all of them may write."""
        super().begin()
