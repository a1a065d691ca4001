"""Running SQL through Peewee's connections: the statements that are built once and run often."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from peewee import Database, Query, SqliteDatabase

_DIALECT: Any = SqliteDatabase(None)


def to_sql(query: Query) -> str:
    """The text of a Peewee query, a `?` for each value. Building a query takes longer than running it."""
    text: str = _DIALECT.get_sql_context().parse(query)[0]
    return text


def run(database: Database, statement: str, parameters: Sequence[object] = ()) -> Any:
    """Run a statement.

    Args:
        database: connected in this thread.
        statement: SQL, a `?` for each parameter.
        parameters: the values.

    Returns:
        The cursor, to fetch rows from.

    Raises:
        peewee.DatabaseError: it failed.
    """
    connected: Any = database
    return connected.execute_sql(statement, parameters)


def run_for_each(database: Database, statement: str, rows: Iterable[Sequence[object]]) -> int:
    """Run a statement that writes once for each row of parameters, much faster than one by one.

    Args:
        database: connected in this thread, in a transaction.
        statement: SQL, a `?` for each parameter.
        rows: the values.

    Returns:
        How many rows of the table were changed by all of them.

    Raises:
        sqlite3.Error: it failed: unlike `run`, this is not translated to Peewee's errors.
    """
    connected: Any = database
    changed: int = connected.connection().executemany(statement, rows).rowcount
    return changed


def run_script(database: Database, script: str) -> None:
    """Run a script of several statements, which brings its own transaction.

    Raises:
        sqlite3.Error: it failed.
    """
    connected: Any = database
    connected.connection().executescript(script)


@contextmanager
def write_transaction(database: Database) -> Iterator[None]:
    """A transaction that writes, committed at the end of the block, rolled back on any error.

    A rollback may fail as well, on a disk in trouble. The transaction would stay open, and no other could begin: so it
    is tried once more, and again before the next one.

    Raises:
        peewee.DatabaseError, sqlite3.Error: the database did not take it; nothing was stored.
    """
    connected: Any = database
    connected.connection().rollback()  # nothing happens where no transaction is open
    try:
        with database.atomic("IMMEDIATE"):
            yield
    except BaseException:
        with suppress(sqlite3.Error):
            connected.connection().rollback()
        raise
