"""Running SQL through Peewee's connections: the statements that are built once and run often."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import peewee
from peewee import Query, SqliteDatabase, ValuesList

Database = peewee.Database
"""A database that is connected in the calling thread, for whoever passes it on."""

_MOST_ROWS = 1024
"""Rows of one statement at the most. SQLite takes 32,766 values, and our widest row has 10."""
_SIZE_BITS = 3
"""Of the number of rows of a statement: 8, 10, 12, 14, 16, 20, …, so that a quarter at the most are NULLs."""

_DIALECT: Any = SqliteDatabase(None)


def to_sql(query: Query) -> str:
    """The text of a Peewee query, a `?` for each value. Building a query takes longer than running it."""
    text: str = _DIALECT.get_sql_context().parse(query)[0]
    return text


def run(database: Database, statement: str, parameters: Sequence[object] = ()) -> Any:
    """Run a statement.

    Args:
        database: connected in this thread.
        statement: SQL, a `?` for each parameter, and a name in braces for what `Dialect` has.
        parameters: the values.

    Returns:
        The cursor, to fetch rows from.

    Raises:
        peewee.DatabaseError: it failed.
    """
    connected: Any = database
    return connected.execute_sql(statement, parameters)


def run_for_each(database: Database, statement: str, rows: Iterable[Sequence[object]]) -> int:
    """Run a statement that writes once for each row of parameters, faster than one by one.

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


def given_values(width: int) -> ValuesList:
    """The rows of parameters in a query of `ManyRows`, so many in each: a table that is called "given"."""
    # SQLite itself names the columns of a list of values: column1, column2, …
    return ValuesList([(0,) * width], alias="given")


class ManyRows:
    """A statement that writes many rows in few calls.

    `executemany` lets go of the interpreter's lock for each row, and has to get it back from the threads that want it
    too. One call for many rows does so once, and SQLite itself takes a third less time for it. What all rows have in
    common is not in the rows: each value that is bound costs about as much as a field of a tuple.

    Args:
        query: the statement, with `given_values`; it must do nothing for a row of NULLs.
        width: values in a row.
        types: what each value of a row is, a letter for each: `i` for an integer, `t` for text. For a database that
            has to be told, which says so by its `value_types`: from values that are all NULL it does not see it.
        end: what the statement has at its end besides.
    """

    def __init__(self, query: Query, width: int, types: str, end: str = "") -> None:
        self._types = types
        self._row = f"({', '.join('?' * width)})"
        self._before, self._after = f"{to_sql(query)} {end}".split(f"VALUES {self._row}")
        self._width = width
        self._statements: dict[tuple[int, bool], str] = {}

    def run(self, database: Database, *columns: Sequence[object], shared: Sequence[object] = ()) -> int:
        """Run it.

        Args:
            database: connected in this thread, in a transaction.
            columns: the values, column by column; none where there are no rows.
            shared: the values that the statement has before its rows.

        Returns:
            How many rows of the table were changed.

        Raises:
            sqlite3.Error: it failed: unlike with `run`, this is not translated to Peewee's errors.
        """
        connected: Any = database
        execute = connected.connection().execute
        value_types: Mapping[str, str] | None = getattr(connected, "value_types", None)
        changed = 0
        for begin in range(0, len(columns[0]) if columns else 0, _MOST_ROWS):
            part = [column[begin : begin + _MOST_ROWS] for column in columns]
            rows = len(part[0])
            size = size_for(rows)
            values = [*shared, *chain.from_iterable(zip(*part, strict=True))]
            values += [None] * ((size - rows) * self._width)
            changed += execute(self._statement(size, value_types), values).rowcount
        return changed

    def _statement(self, size: int, value_types: Mapping[str, str] | None) -> str:
        key = (size, value_types is not None)
        if (statement := self._statements.get(key)) is None:
            rows = ", ".join([self._row] * size)
            if value_types is not None:
                typed = ", ".join(f"CAST(NULL AS {value_types[letter]})" for letter in self._types)
                rows = f"({typed}), {rows}"
            statement = self._statements[key] = f"{self._before}VALUES {rows}{self._after}"
        return statement


def size_for(rows: int) -> int:
    """How many rows a statement of `ManyRows` has for so many: sqlite3 keeps few of them; rows of NULLs fill it up."""
    unit = 1 << max(0, (rows - 1).bit_length() - _SIZE_BITS)
    return -(-rows // unit) * unit


def insert_one(database: Database, query: Any, number: Any) -> int:
    """Insert a row, and have the number that it got.

    Args:
        database: a connection that may write.
        query: of Peewee's, which inserts it.
        number: the column of its number.
    """
    ((given,),) = list(query.returning(number).tuples().execute(database))
    return int(given)


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
        with suppress(sqlite3.Error, peewee.DatabaseError):
            connected.connection().rollback()
        raise


def remove_old(database: Database, oldest: peewee.ModelSelect[Any], before_us: int) -> int:
    """Remove those of the oldest rows of a table that are from before a time, in a transaction.

    Only these are looked at, so a row that was stamped while the clock was ahead keeps those behind it until its time
    has come.

    Args:
        database: a connection that may write.
        oldest: gives the id and the time of each of them.
        before_us: microseconds since 1970-01-01T00:00:00Z.

    Returns:
        How many there were.
    """
    old = [number for number, at_us in oldest.tuples().execute(database) if at_us < before_us]
    if old:
        oldest.model.delete().where(oldest.model.id.in_(old)).execute(database)
    return len(old)
