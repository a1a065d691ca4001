"""The write-ahead log stays bounded while orders come and readers read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from peewee import SqliteDatabase

from ordermill.engine import OrderEngine, OrderNotFound
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite import wal as log
from ordermill.store.statements import run

BOUND = 2 * 200 * 4096


@pytest.fixture
def small_log(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of the test's database, which is to stay under 2 x 200 pages."""
    monkeypatch.setattr(log, "CHECKPOINT_PAGES", 200)
    return Path(f"{database}-wal")


@pytest.mark.slow
def test_the_log_stays_bounded_under_continuous_load_with_readers(
    start_engine: Callable[..., OrderEngine], small_log: Path
) -> None:
    engine = start_engine()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            engine.orders(limit=20)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    sizes = []
    for lot in range(50):
        engine.submit_many(make_order(f"o-{lot}-{number}") for number in range(100))
        sizes.append(small_log.stat().st_size)
    engine.drain(timeout=30)
    is_over.set()
    for reader in readers:
        reader.join()

    assert max(sizes) < 2 * BOUND


def test_a_reader_of_long_does_not_keep_orders_from_being_accepted(
    start_engine: Callable[..., OrderEngine], database: Path, small_log: Path
) -> None:
    engine = start_engine()
    engine.submit(make_order("first")).wait(timeout=60)
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM orders").fetchone()
        while small_log.stat().st_size < 2 * BOUND:
            lot = small_log.stat().st_size
            engine.submit_many(make_order(f"o-{lot}-{number}") for number in range(200))
        assert engine.unready_reasons() == ()
        reader.execute("COMMIT")
    while small_log.stat().st_size >= 2 * BOUND:
        lot += 1
        engine.submit_many(make_order(f"o-{lot}-{number}") for number in range(200))
    engine.drain(timeout=30)

    assert small_log.stat().st_size < 2 * BOUND


@contextmanager
def reader_of_long(database: Path) -> Iterator[None]:
    """Somebody who reads one moment of the database until the end of the block."""
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM orders").fetchone()
        yield


def grow(writer: SqliteDatabase, log_file: Path, size: int) -> None:
    """Write until the log has that size."""
    ledger = Ledger(writer)
    while log_file.stat().st_size < size:
        ledger.record([make_order(uuid4().hex) for _ in range(200)], [], 5)


def test_the_log_is_begun_anew_when_a_reader_of_long_has_gone(
    writer: SqliteDatabase, database: Path, small_log: Path
) -> None:
    log_file = log.WriteAheadLog(writer)
    with reader_of_long(database):
        grow(writer, small_log, 2 * BOUND)
        assert log_file.keep_bounded()
        size = small_log.stat().st_size
        assert log_file.keep_bounded(again=True)

    assert log_file.keep_bounded()  # not each time
    assert small_log.stat().st_size == size
    assert not log_file.keep_bounded(again=True)
    assert small_log.stat().st_size == 0


def test_the_log_that_sqlite_begins_anew_shrinks_too(writer: SqliteDatabase, database: Path, small_log: Path) -> None:
    log_file = log.WriteAheadLog(writer)
    with reader_of_long(database):
        grow(writer, small_log, 2 * BOUND)
        log_file.keep_bounded()
    run(writer, "PRAGMA wal_checkpoint(PASSIVE)")

    Ledger(writer).record([make_order()], [], 5)

    assert small_log.stat().st_size <= BOUND


def test_an_engine_tries_again_when_nothing_is_written(
    start_engine: Callable[..., OrderEngine],
    database: Path,
    small_log: Path,
    clock: ManualClock,
) -> None:
    engine = start_engine(clock=clock)
    with reader_of_long(database):
        while small_log.stat().st_size < 2 * BOUND:
            engine.submit_many(make_order(uuid4().hex) for _ in range(200))
        engine.drain(timeout=30)
        size = small_log.stat().st_size
        clock.advance(10)  # in vain
        pass_through_the_recorder(engine)
        assert small_log.stat().st_size == size

    clock.advance(10)
    pass_through_the_recorder(engine)

    assert small_log.stat().st_size == 0


def pass_through_the_recorder(engine: OrderEngine) -> None:
    """Return when the recorder has done all that it was told before."""
    for _ in range(2):  # the first may be answered in the same lot
        with pytest.raises(OrderNotFound):
            engine.cancel("none")
