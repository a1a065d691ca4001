"""Events are written with the steps that they tell of, or not at all; of one order they go one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine.testing import START_US, make_order
from ordermill.store import outbox
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.lifecycle import Edge
from ordermill.store.domain.record import ENGINE, OrderRecord, move, utc
from ordermill.store.domain.webhook import Attempt, CreateWebhook, Tried, UpdateWebhook, WebhookEvent
from ordermill.store.ledger import Ledger
from ordermill.store.outbox import KEPT_US
from ordermill.store.sqlite.connection import SqliteWriter
from ordermill.store.statements import run, write_transaction
from ordermill.store.webhooks import change_webhooks

ALL = tuple(event.value for event in WebhookEvent)


@pytest.fixture
def writer(database: Path) -> Iterator[SqliteWriter]:
    """A new database."""
    writer = connect(database).open_writer(Durability.NORMAL)
    yield writer
    writer.close()


def hook(writer: SqliteWriter, events: tuple[str, ...] = ALL) -> Any:
    return change_webhooks(writer, CreateWebhook("https://shop.example", events, None), ENGINE, START_US, START_US)


def accept(ledger: Ledger, order_id: str = "o-1") -> OrderRecord:
    return ledger.record([make_order(order_id)], [], START_US).acceptances[0].record


def step(ledger: Ledger, record: OrderRecord, edge: Edge, **more: Any) -> OrderRecord:
    (moved,) = ledger.record([], [move(record, edge, START_US, **more)], START_US).moved
    return moved.after


def rows(writer: SqliteWriter) -> list[Any]:
    return list(run(writer, "SELECT type, number FROM outbox ORDER BY id").fetchall())


def over(delivery: int, number: int = 1, **more: Any) -> Tried:
    return Tried(delivery, number, Attempt(START_US, 200, None, "ok", 1), None, True, **more)


def note(writer: SqliteWriter, *tries: Tried, now_us: int = START_US) -> None:
    with write_transaction(writer):
        outbox.note_tries(writer, tries, now_us)


def test_without_a_webhook_nothing_is_written(writer: SqliteWriter) -> None:
    ledger = Ledger(writer)

    assert not ledger.record([make_order()], [], START_US).has_events
    assert rows(writer) == []


def test_each_event_has_its_place_in_the_history_of_its_order(writer: SqliteWriter) -> None:
    hook(writer)
    ledger = Ledger(writer)
    record = step(ledger, accept(ledger), lifecycle.ASSIGN)
    record = step(ledger, record, lifecycle.RETURN, error="boom")
    record = step(ledger, record, lifecycle.ASSIGN)
    step(ledger, record, lifecycle.COMPLETE)

    assert rows(writer) == [("order.accepted", 1), ("order.retrying", 3), ("order.completed", 5)]


def test_a_late_order_is_an_event(writer: SqliteWriter) -> None:
    hook(writer, ("order.late",))
    ledger = Ledger(writer)
    ledger.record([make_order(complete_by=utc(START_US + 1))], [], START_US)
    assert not ledger.record([], [], START_US + 1).has_events

    assert ledger.record([], [], START_US + 2).has_events

    assert rows(writer) == [("order.late", 1)]
    ((at_us, subject),) = run(writer, "SELECT at, subject FROM outbox").fetchall()
    told = json.loads(subject)
    assert (at_us, told["status"], told["complete_by"]) == (START_US + 2, "Pending", "2027-01-15T08:00:00.000001Z")


def test_an_order_that_is_only_given_back_is_nobodys_business(writer: SqliteWriter) -> None:
    hook(writer, ("order.retrying",))
    ledger = Ledger(writer)
    step(ledger, step(ledger, accept(ledger), lifecycle.ASSIGN), lifecycle.RETURN)

    assert rows(writer) == []


def test_a_transaction_that_fails_writes_no_event(writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    hook(writer)
    ledger = Ledger(writer)
    monkeypatch.setattr("ordermill.store.ledger.note_tries", None)

    with pytest.raises(TypeError):  # last of all in the transaction
        ledger.record([make_order()], [], START_US, tries=[over(1)])

    assert rows(writer) == []
    assert run(writer, "SELECT count(*) FROM orders").fetchone() == (0,)


def test_of_one_order_the_next_event_is_due_when_the_one_before_is_over(writer: SqliteWriter) -> None:
    webhook = hook(writer).webhook
    ledger = Ledger(writer)
    record = accept(ledger)
    accept(ledger, "o-2")
    step(ledger, record, lifecycle.CANCEL)

    def due() -> list[tuple[int, str]]:
        return [(due.delivery, due.type) for due in outbox.due(writer, webhook.number, START_US, 10)]

    assert due() == [(1, "order.accepted"), (2, "order.accepted")]
    note(writer, over(1))
    assert due() == [(2, "order.accepted"), (3, "order.cancelled")]
    note(writer, over(1), over(2), over(3))  # the first once more: it is over
    assert due() == []


def test_a_delivery_that_is_over_is_forgotten_after_a_week(writer: SqliteWriter) -> None:
    hook(writer)
    ledger = Ledger(writer)
    accept(ledger)
    accept(ledger, "o-2")
    note(writer, over(1))
    note(writer, over(2), now_us=START_US + KEPT_US + 1)

    assert run(writer, "SELECT id FROM deliveries").fetchall() == [(2,)]
    assert run(writer, "SELECT count(*) FROM outbox").fetchone() == (1,)
    assert run(writer, "SELECT delivery FROM delivery_attempts").fetchall() == [(2,)]


def test_nothing_is_written_for_a_webhook_that_is_disabled(writer: SqliteWriter) -> None:
    webhook = hook(writer).webhook
    change = UpdateWebhook(webhook.webhook_id, None, None, None, False)
    change_webhooks(writer, change, ENGINE, START_US, START_US)
    ledger = Ledger(writer)
    accept(ledger)

    assert rows(writer) == []
    assert outbox.targets(writer, START_US) == []


def test_an_event_is_addressed_by_looking_at_its_own_order_alone(writer: SqliteWriter) -> None:
    plan = run(writer, f"EXPLAIN QUERY PLAN {outbox._ADDRESS}", (START_US, START_US, 0)).fetchall()

    assert any("deliveries_open (webhook=? AND sequence=?)" in row[-1] for row in plan), plan


def test_the_event_that_is_due_first_is_found_for_each_webhook_that_is_sent_to(writer: SqliteWriter) -> None:
    busy, idle = hook(writer).webhook, hook(writer, ("order.failed",)).webhook
    assert outbox.first_due_us(writer) == {busy.webhook_id: None, idle.webhook_id: None}
    ledger = Ledger(writer)
    accept(ledger)
    accept(ledger, "o-2")

    assert outbox.first_due_us(writer) == {busy.webhook_id: START_US, idle.webhook_id: None}
    note(writer, over(1), over(2))
    assert outbox.first_due_us(writer) == {busy.webhook_id: None, idle.webhook_id: None}
