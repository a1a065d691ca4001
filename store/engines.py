"""The runs of engines over a database, the running one last."""

from __future__ import annotations

import os
import platform

from peewee import Database, fn

from .statements import insert_one, write_transaction
from .tables import EngineModel

_KEPT = 100


def last(database: Database) -> int:
    """The number of the last run, 0 before the first."""
    highest: int | None = EngineModel.select(fn.MAX(EngineModel.id)).scalar(database)
    return highest or 0


def register(database: Database, started_us: int) -> int:
    """Write down that an engine has started in this process, and forget the oldest of many.

    Args:
        database: a connection that may write.
        started_us: when, microseconds since 1970-01-01T00:00:00Z.

    Returns:
        The number of this run, which no other run over this database has.

    Raises:
        peewee.DatabaseError, sqlite3.Error: the database did not take it.
    """
    with write_transaction(database):
        values = {
            EngineModel.host: platform.node(),
            EngineModel.process_id: os.getpid(),
            EngineModel.started_at: started_us,
        }
        run_id = insert_one(database, EngineModel.insert(values), EngineModel.id)
        EngineModel.delete().where(EngineModel.id <= run_id - _KEPT).execute(database)
    return run_id
