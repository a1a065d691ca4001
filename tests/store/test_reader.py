"""Reading: so many at once, first come, first served, and every failure is one of ours."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, OperationalError

from ordermill.engine import OrderEngine, StoreUnavailable
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store import reader as reader_module
from ordermill.store.connect import connect
from ordermill.store.reader import Reader, Turns
from ordermill.store.statements import run


@pytest.fixture
def reader(start_engine: Callable[..., OrderEngine], database: Path) -> Reader:
    """Two connections to a database with one order."""
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()
    return Reader(connect(database), 2)


def test_many_threads_read_over_few_connections(reader: Reader) -> None:
    with ThreadPoolExecutor(32) as threads:
        found = list(threads.map(lambda _: reader.read(lambda database: queries.find(database, "o-1")), range(500)))
    reader.close()

    assert {record.order_id for record in found if record is not None} == {"o-1"}
    assert len(found) == 500


def test_what_the_database_does_not_answer_is_an_error_of_ours(reader: Reader) -> None:
    def fail(_: Database) -> None:
        raise OperationalError("disk I/O error")

    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            reader.read(fail)

    assert reader.read(queries.last_sequence) == 1
    reader.close()


def test_a_page_that_is_damaged_is_an_error_of_ours_though_peewee_does_not_see_it(
    reader: Reader, database: Path
) -> None:
    with sqlite3.connect(database) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'orders'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with database.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(bytes(size))

    def step(connected: Database) -> object:
        cursor: Any = run(connected, "SELECT 1 UNION ALL SELECT item_ids FROM orders")  # its first row is sound
        return cursor.fetchall()

    with pytest.raises(StoreUnavailable, match="malformed"):
        reader.read(step)
    reader.close()


def test_who_waits_too_long_for_a_turn_is_told_so(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_PATIENCE_SECONDS", 0.01)
    may_go, reading = threading.Event(), threading.Semaphore(0)

    def read_long(database: Database) -> int:
        reading.release()
        assert may_go.wait(60)
        return queries.last_sequence(database)

    with ThreadPoolExecutor(2) as threads:
        long = [threads.submit(reader.read, read_long) for _ in range(2)]
        for _ in range(2):
            assert reading.acquire(timeout=60)
        with pytest.raises(StoreUnavailable, match="too many threads read at once"):
            reader.read(queries.last_sequence)
        may_go.set()
        assert [future.result(timeout=60) for future in long] == [1, 1]

    assert reader.read(queries.last_sequence) == 1
    reader.close()


def test_whoever_comes_first_goes_first() -> None:
    turns = Turns(1)
    gone: list[str] = []
    waiting = threading.Event()

    def wait() -> None:
        with turns.turn(10):
            gone.append("who waited")

    with turns.turn(0):
        thread = threading.Thread(target=wait)
        thread.start()
        while not turns._waiting:
            waiting.wait(0.001)
    with turns.turn(10):  # at once again: behind whoever waited
        gone.append("who came again")
    thread.join()

    assert gone == ["who waited", "who came again"]


def test_a_turn_that_nobody_waited_for_any_more_is_the_next_ones() -> None:
    turns = Turns(1)
    with turns.turn(0):
        for _ in range(3):
            with pytest.raises(TimeoutError), turns.turn(0.001):
                pytest.fail("there is no place")

    with turns.turn(0):
        pass
