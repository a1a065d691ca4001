"""Retention: what is old and over goes, after it was exported; what is not stays; the totals keep counting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.engine import Order, OrderEngine, OrderNotFound, OrderStatus, Reject
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.database import open_readers

DAY = 86_400


def fail_some(order: Order) -> None:
    """Rejects orders whose id says so."""
    if order.order_id.startswith("bad"):
        raise Reject("bad")


def pass_through_the_recorder(engine: OrderEngine, times: int) -> None:
    """Have the recorder answer something: between two answers it removes a lot of old orders, if there are any."""
    for _ in range(times):
        with pytest.raises(OrderNotFound):
            engine.cancel("none")


def test_old_terminal_orders_are_exported_and_removed_and_the_metrics_keep_counting(
    start_engine: Callable[..., OrderEngine], database: Path, tmp_path: Path, clock: ManualClock
) -> None:
    export = tmp_path / "removed.ndjson"
    engine = start_engine(fail_some, clock=clock, retain_seconds=DAY, export_path=str(export))
    engine.submit_many(make_order(f"old-{number}") for number in range(500))
    engine.submit(make_order("bad"))
    engine.drain(timeout=10)
    clock.advance(DAY)
    engine.submit(make_order("new"))
    before = engine.drain(timeout=10)
    clock.advance(10)
    pass_through_the_recorder(engine, times=10)
    engine.stop()

    lines = [json.loads(line) for line in export.read_text().splitlines()]
    assert {line["order_id"] for line in lines} == {"bad", *(f"old-{number}" for number in range(500))}
    assert len(lines) == 501
    assert lines[0]["transitions"][-1]["to"] == lines[0]["status"]
    engine.start()
    after = engine.metrics()
    assert engine.status("new") is OrderStatus.COMPLETED
    with pytest.raises(OrderNotFound):
        engine.status("old-0")
    assert after.total_orders_processed == before.total_orders_processed == 501
    assert after.average_processing_time_seconds == before.average_processing_time_seconds
    assert after.orders_by_status[OrderStatus.COMPLETED] == 1
    assert after.orders_by_status[OrderStatus.FAILED] == 0
    readers = open_readers(database, max_connections=1)
    with readers.connection_context():
        found = audit(readers)
        assert queries.totals(readers) == queries.recount(readers)
    readers.close_all()
    assert found == (1, [])


def test_unfinished_orders_are_never_removed(start_engine: Callable[..., OrderEngine], clock: ManualClock) -> None:
    def fail(_order: Order) -> None:
        raise ConnectionError

    engine = start_engine(fail, clock=clock, retain_seconds=0, retry_seconds=10 * DAY, retry_max_seconds=10 * DAY)
    engine.submit(make_order("o-1"))
    clock.advance(DAY)
    pass_through_the_recorder(engine, times=3)

    assert not engine.status("o-1").is_terminal


def test_nothing_is_removed_when_it_cannot_be_exported(
    start_engine: Callable[..., OrderEngine], tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(clock=clock, retain_seconds=DAY, export_path=str(tmp_path / "no" / "such" / "folder"))
    engine.submit(make_order("o-1")).wait(timeout=5)
    clock.advance(2 * DAY)
    engine.submit(make_order("o-2")).wait(timeout=5)

    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert engine.trouble() == ()
    engine.stop()
    assert "old orders were not removed" in caplog.text


def test_nothing_is_removed_by_default(start_engine: Callable[..., OrderEngine], clock: ManualClock) -> None:
    engine = start_engine(clock=clock)
    engine.submit(make_order("o-1")).wait(timeout=5)
    clock.advance(10_000 * DAY)
    engine.stop()
    engine.start()

    assert engine.status("o-1") is OrderStatus.COMPLETED
