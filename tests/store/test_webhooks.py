"""Webhooks in the database: what was sent of an order's events is found by looking at that order alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ordermill.engine.testing import START_US, make_order
from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.record import ENGINE
from ordermill.store.domain.webhook import CreateWebhook, DeleteWebhook, DeliveryState, NewSecret, WebhookEvent
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.connection import SqliteWriter
from ordermill.store.statements import run
from ordermill.store.webhooks import change_webhooks, deliveries_of_order

ALL = tuple(event.value for event in WebhookEvent)


@pytest.fixture
def writer(database: Path) -> Iterator[SqliteWriter]:
    """A new database."""
    writer = connect(database).open_writer(Durability.NORMAL)
    yield writer
    writer.close()


def hook(writer: SqliteWriter) -> str:
    """The id of a new webhook."""
    change = CreateWebhook("https://shop.example", ALL, None)
    made: NewSecret = change_webhooks(writer, change, ENGINE, START_US, START_US)
    return made.webhook.webhook_id


def test_an_order_has_the_deliveries_of_its_events_to_all_webhooks_that_are_there(writer: SqliteWriter) -> None:
    first, second, gone = hook(writer), hook(writer), hook(writer)
    Ledger(writer).record([make_order("o-1"), make_order("o-2")], [], START_US)
    change_webhooks(writer, DeleteWebhook(gone), ENGINE, START_US, START_US)

    found = deliveries_of_order(writer, "o-1", limit=10)

    assert {delivery.webhook_id for delivery in found} == {first, second}
    assert {(one.order_id, one.type, one.state) for one in found} == {("o-1", "order.accepted", DeliveryState.WAITING)}
    assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
    assert deliveries_of_order(writer, "o-1", limit=1) == found[:1]
    assert deliveries_of_order(writer, "o-1", before=found[0].id, limit=10) == found[1:]
    assert deliveries_of_order(writer, "none", limit=10) == []


def test_the_deliveries_of_an_order_are_found_without_looking_at_others(writer: SqliteWriter) -> None:
    plan = run(writer, "EXPLAIN QUERY PLAN SELECT id FROM deliveries WHERE sequence = ? ORDER BY id DESC", (1,))

    ((*_, step),) = plan.fetchall()
    assert step == "SEARCH deliveries USING COVERING INDEX deliveries_by_order (sequence=?)"
