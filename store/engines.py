"""The engines over a database: who is alive, and until when nobody may take what another one has in hand.

Each run of an engine has a row and a number. Where several engines work over the database, a run has a lease by the
database's clock, which it renews. Once that is over, whoever notices may declare the run lost; from that moment each of
its transactions is refused, and what it has in hand is nobody's. An engine that finds itself declared lost begins
another run, so the number of a run is its term too.
"""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

from peewee import Database, fn

from .domain.engine_state import LIVING, EngineState
from .statements import run, write_transaction
from .tables import EngineModel
from .totals import make_parts
from .writer import Turn, Writer

_KEPT = 100

_IS_ALIVE = f"state IN {LIVING}"
_JOIN = """
    INSERT INTO engines (
      host, process_id, process, started_at, processors, state, heartbeat_at, lease_until)
    VALUES (?, ?, ?, ?, ?, 'running', {now_us}, {now_us} + CAST(? AS {integer})) RETURNING id
"""
_RENEW = f"""
    UPDATE engines SET heartbeat_at = {{now_us}}, lease_until = {{now_us}} + CAST(? AS {{integer}}), state = ?,
      processors = ?
    WHERE id = ? AND {_IS_ALIVE}
"""
_LEAVE = f"UPDATE engines SET state = 'stopped', heartbeat_at = {{now_us}} WHERE id = ? AND {_IS_ALIVE}"
# With SQLite all orders are those of the one engine, which is alive as long as it has the database.
_LISTED = f"""
    SELECT id, host, process_id, started_at, CASE WHEN lease_until IS NULL THEN {{now_us}} ELSE heartbeat_at END, state,
      processors,
      (SELECT count(*) FROM orders WHERE status = 'Processing' AND (owner = engines.id OR owner IS NULL))
    FROM engines WHERE {_IS_ALIVE} ORDER BY id
"""
_LIVING = f"SELECT id, process, lease_until < {{now_us}} FROM engines WHERE {_IS_ALIVE} ORDER BY id"
# While one of its transactions is not over, it is left alone: the server ends one that stands still.
_DECLARE_LOST = f"""
    UPDATE engines SET state = 'lost' WHERE id IN (
      SELECT id FROM engines WHERE id = ? AND {_IS_ALIVE} AND (lease_until < {{now_us}} OR ? = 1){{skip_locked}})
"""


class Living(NamedTuple):
    """A run of an engine that is taken for alive."""

    id: int
    process: str | None
    """The same for no other process of any machine; None where nobody can tell."""
    is_over: bool
    """Whether its lease is over."""


def last(database: Database) -> int:
    """The number of the last run, 0 before the first."""
    highest: int | None = EngineModel.select(fn.MAX(EngineModel.id)).scalar(database)
    return highest or 0


def join(database: Writer, started_us: int, process: str | None, processors: int, lease_us: int | None) -> int:
    """Write down that an engine has started in this process, and forget the oldest of many that are over.

    Args:
        database: a connection that may write.
        started_us: when, microseconds since 1970-01-01T00:00:00Z.
        process: the same for no other process of any machine; None where nobody can tell.
        processors: how many it has.
        lease_us: how long it may go unheard of, in microseconds; None where no other can have the database.

    Returns:
        The number of this run, which no other run over this database has.

    Raises:
        peewee.DatabaseError, sqlite3.Error: the database did not take it.
    """
    database.owner = None
    with write_transaction(database):
        database.wait_for_turn(Turn.JOIN)
        if not database.is_shared:  # only one can have the database: the others are no more
            run(database, f"UPDATE engines SET state = 'lost' WHERE {_IS_ALIVE}")
        here = (platform.node(), os.getpid(), process)
        ((run_id,),) = run(database, _JOIN, (*here, started_us, processors, lease_us)).fetchall()
        if database.is_shared:
            make_parts(database, run_id)
        gone = EngineModel.state.is_null() | EngineModel.state.not_in(LIVING)
        EngineModel.delete().where((EngineModel.id <= run_id - _KEPT) & gone).execute(database)
    return int(run_id)


def renew(database: Writer, run_id: int, lease_us: int, state: str, processors: int) -> bool:
    """Say that a run is alive.

    Args:
        database: a connection that may write.
        run_id: the run.
        lease_us: how long it may go unheard of from now on, in microseconds.
        state: `running` or `stopping`.
        processors: how many it has.

    Returns:
        Whether it is taken for alive; otherwise nothing has changed.
    """
    return bool(run(database, _RENEW, (lease_us, state, processors, run_id)).rowcount)


def leave(database: Writer, run_id: int) -> None:
    """Say that a run is over; nothing happens where it is not taken for alive."""
    run(database, _LEAVE, (run_id,))


def living(database: Database) -> list[Living]:
    """The runs that are taken for alive, the eldest first: that one leads."""
    return [Living(number, process, bool(over)) for number, process, over in run(database, _LIVING).fetchall()]


def declare_lost(database: Writer, run_id: int, *, is_known: bool) -> bool:
    """Take a run for dead, if its lease is over still: each of its transactions is refused from now on.

    Args:
        database: a connection that may write.
        run_id: the run.
        is_known: whether its process is known to have ended: then its lease makes no difference.

    Returns:
        Whether this was what declared it lost.
    """
    return bool(run(database, _DECLARE_LOST, (run_id, int(is_known))).rowcount)


def listed(database: Database) -> list[EngineState]:
    """The runs that are taken for alive, the eldest first."""
    return [EngineState(*row) for row in run(database, _LISTED).fetchall()]
