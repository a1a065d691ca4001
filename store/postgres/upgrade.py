"""Bringing a database of an older version up to date, while no engine is at work over it."""

from __future__ import annotations

import logging

from peewee import Database

from ... import sql
from ..domain.engine_state import LIVING
from ..domain.errors import DatabaseRefused
from ..statements import run, run_script, write_transaction
from ..writer import Turn, Writer

_AT_WORK = f"SELECT id, host FROM engines WHERE state IN {LIVING} AND lease_until >= {{now_us}} ORDER BY id"

_log = logging.getLogger("ordermill.store")


def schema_version(database: Database) -> int:
    """The version of the schema that is there."""
    (version,) = run(database, "SELECT version FROM ordermill_schema").fetchone()
    return int(version)


def upgrade(database: Writer, name: str, version: int) -> None:
    """Bring the schema of a database up to date, version by version; nothing happens where it is.

    All of it is one transaction: a process that dies has upgraded the database, or has changed nothing. No copy of it
    is kept.

    Args:
        database: a connection that may write, whose caller sees to it that nobody else upgrades.
        name: the database, for people.
        version: the version to reach.

    Raises:
        DatabaseRefused: an engine is at work over it, which knows the older schema; nothing was changed.
        peewee.DatabaseError: it failed; nothing was changed.
    """
    found = schema_version(database)
    if found >= version:
        return
    with write_transaction(database):
        database.wait_for_turn(Turn.JOIN)  # nobody begins to work meanwhile
        if at_work := run(database, _AT_WORK).fetchall():
            who = " and ".join(f"engine {number} on {host}" for number, host in at_work)
            raise DatabaseRefused(
                f"{name} has schema version {found}, this Ordermill works with {version}, and {who} "
                f"{'is' if len(at_work) == 1 else 'are'} at work over it: stop all engines, then start this one, which "
                "upgrades it."
            )
        _log.warning("upgrading %s from schema version %d to %d", name, found, version)
        for reached in range(found + 1, version + 1):
            run_script(database, sql.read(f"upgrade-postgres-{reached}.sql"))
        run(database, "UPDATE ordermill_schema SET version = ?", (version,))
    _log.warning("%s has schema version %d now", name, version)
