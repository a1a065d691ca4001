"""The database's files are deleted or moved under an engine: it says so, acknowledges nothing, and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.engine import Order, OrderEngine, StoreUnavailable
from ordermill.engine.testing import ManualClock, make_order

pytestmark = pytest.mark.sqlite  # whose files are ours

GONE = "deleted, moved or replaced"


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_readiness_tells_at_once_and_no_order_is_acknowledged(
    start_engine: Callable[..., OrderEngine], database: Path, suffix: str
) -> None:
    engine = start_engine()
    engine.submit(make_order("o-1")).wait(timeout=60)
    assert engine.unready_reasons() == ()
    Path(f"{database}{suffix}").unlink()

    (trouble,) = engine.unready_reasons()  # before any order has met with it
    with pytest.raises(StoreUnavailable, match=GONE):
        engine.submit(make_order("o-2"))

    assert GONE in trouble
    assert engine.unready_reasons() == (trouble,)


def test_an_engine_at_rest_notices_within_a_second(
    start_engine: Callable[..., OrderEngine],
    database: Path,
    clock: ManualClock,
    let_record: Callable[[OrderEngine], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = start_engine(clock=clock)
    engine.submit(make_order("o-1")).wait(timeout=60)
    let_record(engine)
    database.unlink()
    let_record(engine)
    assert GONE not in caplog.text

    clock.advance(1)
    let_record(engine)

    assert f"{database} was {GONE} while it was open" in caplog.text
    (trouble,) = engine.unready_reasons()
    assert GONE in trouble


def test_a_log_that_was_deleted_takes_nothing_with_it(start_engine: Callable[..., OrderEngine], database: Path) -> None:
    engine = start_engine()
    for number in range(20):
        engine.submit(make_order(f"o-{number}")).wait(timeout=60)
    Path(f"{database}-wal").unlink()
    with pytest.raises(StoreUnavailable):
        engine.submit(make_order("late"))
    engine.stop()

    with OrderEngine(database, handler=lambda _: None) as again:
        assert again.metrics().total_orders_processed == 20


def test_results_are_kept_until_the_same_file_is_back(start_engine: Callable[..., OrderEngine], database: Path) -> None:
    is_running, may_end = threading.Event(), threading.Event()
    runs: list[Order] = []

    def handler(order: Order) -> None:
        runs.append(order)
        is_running.set()
        assert may_end.wait(60)

    engine = start_engine(handler)
    receipt = engine.submit(make_order("o-1"))
    assert is_running.wait(60)
    moved = database.rename(database.with_name("moved.db"))
    may_end.set()
    with pytest.raises(StoreUnavailable, match=GONE):
        engine.submit(make_order("o-2"))
    assert not database.exists()

    moved.rename(database)

    assert receipt.wait(timeout=60) == "Completed"
    assert engine.submit(make_order("o-3")).wait(timeout=60) == "Completed"
    assert [order.order_id for order in runs] == ["o-1", "o-3"]
    assert engine.unready_reasons() == ()
    assert not engine.incidents()
