"""The write-ahead log stays bounded while orders come and readers read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order
from ordermill.store import log

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
    engine.submit(make_order("first")).wait(timeout=5)
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM orders").fetchone()
        while small_log.stat().st_size < 2 * BOUND:
            lot = small_log.stat().st_size
            engine.submit_many(make_order(f"o-{lot}-{number}") for number in range(200))
        assert engine.trouble() == ()
        reader.execute("COMMIT")
    while small_log.stat().st_size >= 2 * BOUND:
        lot += 1
        engine.submit_many(make_order(f"o-{lot}-{number}") for number in range(200))
    engine.drain(timeout=30)

    assert small_log.stat().st_size < 2 * BOUND
