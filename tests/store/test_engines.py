"""Each run of an engine has a number of its own, and few are kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

from peewee import SqliteDatabase

from ordermill.engine import OrderEngine
from ordermill.store.connect import connect
from ordermill.store.engines import join
from ordermill.store.statements import run
from ordermill.store.tables import EngineModel


def test_a_run_has_a_number_that_no_other_has(writer: SqliteDatabase) -> None:
    first, second = join(writer, 5, None, 8, 1), join(writer, 5, None, 8, 1)
    run(writer, "DELETE FROM engines")

    assert first < second < join(writer, 5, None, 8, 1)


def test_the_last_hundred_runs_are_kept(writer: SqliteDatabase) -> None:
    numbers = [join(writer, number, None, 8, 1) for number in range(150)]

    kept = [number for (number,) in EngineModel.select(EngineModel.id).tuples().execute(writer)]
    assert kept == numbers[-100:]


def test_an_engine_says_that_it_has_started_and_where(start_engine: Callable[..., OrderEngine], database: Path) -> None:
    for _ in range(2):
        start_engine().stop()

    readers = connect(database).open_readers(1)
    with readers.connection_context():
        rows = run(readers, "SELECT id, host, process_id FROM engines").fetchall()
    readers.close_all()
    assert rows == [(number, platform.node(), os.getpid()) for number in (1, 2)]
