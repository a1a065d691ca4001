"""Retention: what is old and over goes, after it was exported; what is not stays; the totals keep counting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peewee import OperationalError, SqliteDatabase

from ordermill.engine import (
    IdempotencyKey,
    Order,
    OrderEngine,
    OrderNotFound,
    OrderRecord,
    OrderStatus,
    Outcome,
    Reject,
    StoreUnavailable,
)
from ordermill.engine.actors import maintenance
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store import queries, retention
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.record import move
from ordermill.store.export import append
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune

DAY = 86_400


def fail_some(order: Order) -> None:
    """Rejects orders whose id says so."""
    if order.order_id.startswith("bad"):
        raise Reject("bad")


def orders_named(prefix: str, count: int) -> list[Order]:
    """So many orders."""
    return [make_order(f"{prefix}-{number}") for number in range(count)]


def cancel(ledger: Ledger, *order_ids: str, at_us: int = START_US) -> list[OrderRecord]:
    """Accept orders and cancel them at once. Returns how they are then."""
    accepted = ledger.record([make_order(order_id) for order_id in order_ids], [], at_us).acceptances
    moves = [move(record, lifecycle.CANCEL, at_us) for _, record in accepted]
    return [step.after for step in ledger.record([], moves, at_us).moved]


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
    engine.drain(timeout=60)
    clock.advance(DAY)
    engine.submit(make_order("new"))
    before = engine.drain(timeout=60)
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
    readers = connect(database).open_readers(max_connections=1)
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
    engine.submit(make_order("o-1")).wait(timeout=60)
    clock.advance(2 * DAY)
    engine.submit(make_order("o-2")).wait(timeout=60)

    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert engine.unready_reasons() == ()
    engine.stop()
    assert "old orders were not removed" in caplog.text


def test_nothing_is_removed_when_the_disk_of_the_export_is_full(writer: SqliteDatabase, ledger: Ledger) -> None:
    cancel(ledger, "o-1")

    with pytest.raises(StoreUnavailable, match="No space left"):
        prune(writer, START_US + 10, 200, Path("/dev/full"))

    assert audit(writer) == (1, [])


def test_what_an_earlier_process_has_left_of_its_export_is_mended(
    writer: SqliteDatabase, ledger: Ledger, tmp_path: Path
) -> None:
    export = tmp_path / "removed.ndjson"
    (gone,) = cancel(ledger, "gone")
    prune(writer, START_US + 10, 200, export)
    stored = cancel(ledger, "a", "b")
    append(export, [(record, queries.history(writer, record.order_id)) for record in stored])
    with export.open("ab") as file:
        file.write(b'{"order_id":"c","us')

    prune(writer, START_US + 10, 200, export)

    assert [json.loads(line)["order_id"] for line in export.read_text().splitlines()] == ["gone", "a", "b"]
    assert gone.order_id == "gone"


def test_an_order_that_comes_again_under_the_id_of_a_removed_one_leaves_the_export_alone(
    writer: SqliteDatabase, ledger: Ledger, tmp_path: Path
) -> None:
    export = tmp_path / "removed.ndjson"
    for at_us in (START_US, START_US + 5):
        cancel(ledger, "o-1", at_us=at_us)
        prune(writer, START_US + 10, 200, export)
    cancel(ledger, "o-1", at_us=START_US + 7)
    cancel(ledger, "o-2")

    prune(writer, START_US + 7, 200, export)

    assert [json.loads(line)["order_id"] for line in export.read_text().splitlines()] == ["o-1", "o-1", "o-2"]


def test_what_was_removed_although_the_database_says_it_failed_stays_in_the_export(
    writer: SqliteDatabase, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "removed.ndjson"
    cancel(ledger, "o-1")
    remove = retention._remove

    def remove_and_deny(*arguments: Any) -> Any:
        remove(*arguments)
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(retention, "_remove", remove_and_deny)
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        prune(writer, START_US + 10, 200, export)

    assert [json.loads(line)["order_id"] for line in export.read_text().splitlines()] == ["o-1"]
    assert audit(writer) == (0, [])


def test_orders_go_by_their_own_age_whatever_others_have_done_since(writer: SqliteDatabase, ledger: Ledger) -> None:
    records = [record for _, record in ledger.record(orders_named("o", 500), [], START_US).acceptances]
    ledger.record([], [move(record, lifecycle.CANCEL, START_US + 90) for record in records[:200]], 0)
    ledger.record([], [move(record, lifecycle.CANCEL, START_US + 10) for record in records[200:]], 0)

    removed = 0
    while (pruned := prune(writer, START_US + 50, 70, None)).orders:
        assert pruned.orders <= 70
        removed += pruned.orders

    assert removed == 300
    assert audit(writer) == (200, [])


def test_the_oldest_go_first(writer: SqliteDatabase, ledger: Ledger, tmp_path: Path) -> None:
    export = tmp_path / "removed.ndjson"
    cancel(ledger, "later", at_us=START_US + 2)
    cancel(ledger, "first", at_us=START_US + 1)

    prune(writer, START_US + 10, 1, export)

    assert json.loads(export.read_text())["order_id"] == "first"


def test_an_order_stays_as_long_as_an_idempotency_key_that_came_with_it(
    start_engine: Callable[..., OrderEngine], clock: ManualClock
) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), clock=clock, retain_seconds=600)
    key = IdempotencyKey("k-1", "u-1", "print")
    again = IdempotencyKey("k-2", "u-1", "print")
    engine.begin_submit([make_order("keyed")], None, key).get(timeout=60)
    engine.submit_many([make_order("plain"), make_order("keyed-later")])
    engine.drain(timeout=60)
    clock.advance(300)
    engine.begin_submit([make_order("keyed-later")], None, again).get(timeout=60)
    pass_through_the_recorder(engine, times=3)

    clock.advance(DAY - 301)
    pass_through_the_recorder(engine, times=6)
    assert {record.order_id for record in engine.orders()} == {"keyed", "keyed-later"}
    ((outcome, record),) = engine.begin_submit([make_order("keyed")], None, key).get(timeout=60)
    assert (outcome, record.status) == (Outcome.DUPLICATE, OrderStatus.COMPLETED)

    clock.advance(2 * DAY)
    pass_through_the_recorder(engine, times=6)
    assert engine.orders() == []
    assert sorted(handled) == ["keyed", "keyed-later", "plain"]


def test_an_incident_does_not_end_the_removal_of_old_orders(
    start_engine: Callable[..., OrderEngine], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(clock=clock, retain_seconds=DAY)
    engine.submit(make_order("o-1")).wait(timeout=60)
    clock.advance(DAY - 5)
    pass_through_the_recorder(engine, times=3)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "prune", fail)
        clock.advance(10)
        pass_through_the_recorder(engine, times=3)
    assert engine.incidents()["RecorderActor"] == 1
    assert engine.order("o-1").status is OrderStatus.COMPLETED
    clock.advance(10)
    pass_through_the_recorder(engine, times=3)

    assert engine.orders() == []


def test_nothing_is_removed_by_default(start_engine: Callable[..., OrderEngine], clock: ManualClock) -> None:
    engine = start_engine(clock=clock)
    engine.submit(make_order("o-1")).wait(timeout=60)
    clock.advance(10_000 * DAY)
    engine.stop()
    engine.start()

    assert engine.status("o-1") is OrderStatus.COMPLETED
