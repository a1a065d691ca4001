"""Connections to a PostgreSQL server that take the store's statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, ClassVar

import psycopg
from peewee import (  # type: ignore[attr-defined]  # Peewee's types leave out its wrapper
    DatabaseError,
    OperationalError,
    PostgresqlDatabase,
    __exception_wrapper__,
)
from playhouse.pool import PooledPostgresqlDatabase  # type: ignore[import-untyped]  # has no types

from ..domain.engine_state import LIVING
from ..domain.errors import AuthorityLost, NotLeading
from ..statements import run
from ..translation import translated_errors
from ..writer import TransactionConflict, Turn, Writer
from .dialect import EVENT_LOCKS, to_postgres
from .hints import GIVE

_BUSY_TIMEOUT_SECONDS = 5.0
# A server that is gone without a word is noticed within some ten seconds, on either side. Whoever writes other values
# into the URL, or sets libpq's variables, has those.
_PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "fallback_application_name": "ordermill",
}
LOCKS = 1330793804  # 'ORML' in ASCII; such locks are of one database
# What a transaction of an engine begins with. Nobody can take the engine for dead while its row is locked; and whoever
# reads the log of all transitions goes no further than to the last id that was given by now.
_FENCE = f"""
SELECT pg_advisory_xact_lock_shared(
    {EVENT_LOCKS} + (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM transitions_id_seq)),
  id = (SELECT min(id) FROM engines WHERE state IN {LIVING})
FROM engines WHERE id = ? AND state IN {LIVING} FOR SHARE
"""
_SERVERS_PATIENCE = """
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000
"""

# What is written is found by an index, in its sequence. A server whose statistics are old, or that has none yet, takes
# a backlog for a handful of orders, and would read and sort all of them for each claim.
_PLANS = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off"


class ConnectionLost(OperationalError):
    """The server has ended the session, or does not answer any more."""

    def __init__(self) -> None:
        super().__init__("the connection to the PostgreSQL server is lost")


class ServerAway(OperationalError):
    """No connection to the server could be made: `__cause__` says why, with addresses, which are not for clients."""

    def __init__(self) -> None:
        super().__init__("the PostgreSQL server cannot be reached")


@contextmanager
def _peewees_errors(connection: psycopg.Connection[Any]) -> Iterator[None]:
    # Callers do not know the driver's errors.
    try:
        yield
    except psycopg.Error as error:
        if connection.closed:
            raise ConnectionLost from error
        if isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
            raise TransactionConflict(str(error)) from error
        with __exception_wrapper__:
            raise


class _Cursor(psycopg.ClientCursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        with _peewees_errors(self.connection):
            return super().execute(to_postgres(query) if isinstance(query, str) else query, params or None, **options)

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        with _peewees_errors(self.connection):
            super().executemany(to_postgres(query), params_seq, **options)


class Connection(psycopg.Connection[Any]):
    """A connection with the calls that sqlite3's have, for the statements that are run without Peewee."""

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """A cursor, as the driver's."""
        with _peewees_errors(self):
            return super().cursor(*arguments, **options)

    def rollback(self) -> None:
        """End a transaction, as the driver's."""
        with _peewees_errors(self):
            super().rollback()

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> psycopg.Cursor[Any]:
        """Run a statement once for each row of parameters."""
        cursor: psycopg.Cursor[Any] = self.cursor()
        cursor.executemany(statement, rows)
        return cursor

    def executescript(self, script: str) -> None:
        """Run a script of several statements."""
        with _peewees_errors(self):
            psycopg.Cursor(self).execute(script.encode())

    def is_lost(self) -> bool:
        """Whether the server has gone, as far as is seen without asking; for the thread that uses it, in between."""
        try:
            while not self.closed and wait([self.fileno()], 0):
                self.pgconn.consume_input()  # a word of the server's, or the end
        except (psycopg.Error, OSError):
            return True
        return self.closed


class _Server(PostgresqlDatabase):
    """A database of a server.

    Args:
        url: of the server and the database, as libpq takes it.
        settings: statements for each new connection.
        options: of Peewee's.
    """

    is_shared: ClassVar[bool] = True
    """Whether several engines may write to it at the same time."""
    value_types: ClassVar[Mapping[str, str]] = {"i": "bigint", "t": "text"}
    """What the letters of `ManyRows` are here."""

    def __init__(self, url: str, *, settings: str, **options: Any) -> None:
        super().__init__(url, prefer_psycopg3=True, autoconnect=False, **options)
        self._url = url
        self._settings = settings

    def _connect(self) -> Connection:
        try:
            given = parameters_of(self._url)
            connection: Connection = Connection.connect(**given, cursor_factory=_Cursor, autocommit=True)
        except psycopg.Error as error:
            raise ServerAway from error
        try:
            connection.executescript(self._settings)
        except BaseException:
            connection.close()
            raise
        return connection


def parameters_of(url: str) -> dict[str, Any]:
    """What a connection is made with, as libpq names it."""
    return {**_PATIENCE, **psycopg.conninfo.conninfo_to_dict(url)}


class PostgresWriter(_Server, Writer):
    """The connection that writes.

    Args:
        url: of the server and the database, as libpq takes it.
        waits_for_disk: whether a commit waits until the server has it on disk.
    """

    timeout = _BUSY_TIMEOUT_SECONDS
    _must_lead = False

    def __init__(self, url: str, *, waits_for_disk: bool) -> None:
        commits = f"SET synchronous_commit = {'on' if waits_for_disk else 'off'}"
        wait = f"SET lock_timeout = {round(self.timeout * 1000)}"
        super().__init__(url, settings=f"{_SERVERS_PATIENCE}; {_PLANS}; {commits}; {wait}", thread_safe=False)

    def act_as(self, owner: int, lease_seconds: float) -> None:
        """See `Writer`. The server ends a transaction of an engine that stands still, so that others need not wait."""
        with translated_errors():
            run(self, f"SET idle_in_transaction_session_timeout = {max(1, round(lease_seconds * 1000))}")
            run(self, f"SET application_name = 'ordermill engine {owner}'")
        self.owner = owner

    @contextmanager
    def leading(self) -> Iterator[None]:
        """See `Writer`."""
        self._must_lead = True
        try:
            yield
        finally:
            self._must_lead = False

    def wait_for_turn(self, turn: Turn, *, with_others: bool = False) -> None:
        """See `Writer`."""
        run(self, f"SELECT pg_advisory_xact_lock{'_shared' if with_others else ''}({LOCKS}, {turn.value})")

    def hint(self) -> None:
        """See `Writer`. In a transaction of its own: whoever holds the lock for it holds up all that end meanwhile."""
        with translated_errors():
            run(self, GIVE, (str(self.owner),))

    def begin(self, _lock_type: str | None = None) -> None:
        """Begin a transaction; all of them may write, where the engine is taken for alive."""
        super().begin()
        if self.owner is not None:
            row = run(self, _FENCE, (self.owner,)).fetchone()
            if row is None:
                raise AuthorityLost
            if self._must_lead and not row[1]:
                raise NotLeading

    def is_closed(self) -> bool:
        """Whether there is no session of the server's: it was never begun, or it is over."""
        return super().is_closed() or self._has_lost()

    def wait_at_most(self, seconds: float) -> None:
        """See `Writer`."""
        with translated_errors():
            run(self, f"SET lock_timeout = {round(seconds * 1000)}")

    def keep_log_bounded(self, *, again: bool = False) -> bool:  # noqa: ARG002  # see `Writer`
        """See `Writer`: the server sees to its log itself."""
        return False

    def log_bytes(self) -> int | None:
        """See `Writer`."""
        return None

    def known_fault(self) -> DatabaseError | None:
        """See `Writer`."""
        return ConnectionLost() if self._has_lost() else None

    def find_fault(self) -> DatabaseError | None:
        """See `Writer`."""
        if not super().is_closed():
            self._session().is_lost()
        return self.known_fault()

    def _has_lost(self) -> bool:
        session = self._session()
        return session is not None and bool(session.closed)

    def _session(self) -> Any:
        peewees: Any = self  # whose types leave out what it knows
        return peewees._state.conn


class Readers(PooledPostgresqlDatabase, _Server):  # type: ignore[misc]  # the pool has no types
    """A pool of connections that read, each transaction of one moment.

    Args:
        url: of the server and the database, as libpq takes it.
        max_connections: how many at the most.
    """

    def __init__(self, url: str, max_connections: int) -> None:
        settings = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        super().__init__(url, max_connections=max_connections, timeout=_BUSY_TIMEOUT_SECONDS, settings=settings)

    def _is_closed(self, connection: Connection) -> bool:
        return connection.is_lost()
