"""The log of all transitions is read page by page: in order, whole, and never much of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ordermill.engine.testing import START_US, make_order
from ordermill.store import event_log
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.event import Event, EventFilter
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.sqlite.connection import SqliteWriter


@pytest.fixture
def writer(database: Path) -> Iterator[SqliteWriter]:
    """A database with three orders of two users, the first of them Completed: events 1 to 5."""
    writer = connect(database).open_writer(Durability.NORMAL)
    ledger = Ledger(writer)
    orders = [make_order("a", user_id="ann"), make_order("b", user_id="bob"), make_order("c", user_id="ann")]
    record = ledger.record(orders, [], START_US).acceptances[0].record
    for edge in (lifecycle.ASSIGN, lifecycle.COMPLETE):
        record = step(ledger, record, edge)
    yield writer
    writer.close()


def step(ledger: Ledger, record: OrderRecord, edge: lifecycle.Edge) -> OrderRecord:
    (moved,) = ledger.record([], [move(record, edge, record.updated_us + 1)], START_US).moved
    return moved.after


def ids(events: list[Event]) -> list[int]:
    return [event.id for event in events]


def test_an_event_tells_whose_order_went_where_when_and_why(writer: SqliteWriter) -> None:
    *_, assigned, completed = event_log.page(writer, 0, 10).events

    assert assigned == Event(
        4, "a", "ann", OrderStatus.PENDING, OrderStatus.PROCESSING, START_US + 1, 1, "assigned to a processor"
    )
    assert (completed.from_status, completed.to_status) == (OrderStatus.PROCESSING, OrderStatus.COMPLETED)


def test_a_page_goes_on_where_the_one_before_has_ended(writer: SqliteWriter) -> None:
    first = event_log.page(writer, 0, 2)
    rest = event_log.page(writer, first.through, 10)

    assert (ids(first.events), first.through, first.is_last) == ([1, 2], 2, False)
    assert (ids(rest.events), rest.through, rest.is_last) == ([3, 4, 5], 5, True)
    assert event_log.page(writer, rest.through, 10) == ([], 5, True, 0)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EventFilter(user_id="ann"), [1, 3, 4, 5]),
        (EventFilter(status=OrderStatus.PENDING), [1, 2, 3]),
        (EventFilter(order_id="a"), [1, 4, 5]),
        (EventFilter("ann", OrderStatus.PENDING, "a"), [1]),
        (EventFilter("bob", order_id="a"), []),
        (EventFilter(order_id="none"), []),
    ],
)
def test_a_page_has_what_is_wanted_and_was_looked_through_for_all_of_it(
    writer: SqliteWriter, wanted: EventFilter, found: list[int]
) -> None:
    page = event_log.page(writer, 0, 10, wanted)

    assert (ids(page.events), page.through, page.is_last) == (found, 5, True)
    everything = event_log.page(writer, 0, 10).events
    assert [event.id for event in everything if wanted.takes(event)] == found


def test_one_read_looks_through_a_span_of_the_log_however_little_of_it_is_wanted(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "_SPAN", 2)

    page = event_log.page(writer, 0, 10, EventFilter(status=OrderStatus.COMPLETED))

    assert (page.events, page.through, page.is_last) == ([], 2, False)
    # An order's own history is short, wherever it is in the log.
    assert ids(event_log.page(writer, 0, 10, EventFilter(order_id="a")).events) == [1, 4, 5]


def test_what_was_removed_is_told_and_its_ids_are_not_given_again(writer: SqliteWriter, tmp_path: Path) -> None:
    prune(writer, START_US + 1_000_000, 10, tmp_path / "export.ndjson")

    assert event_log.page(writer, 0, 10) == event_log.EventPage(
        event_log.page(writer, 1, 10).events, through=5, is_last=True, removed_through=5
    )
    assert ids(event_log.page(writer, 0, 10).events) == [2, 3]
    assert event_log.last_id(writer) == 5
    assert audit(writer).faults == []


def test_an_empty_log_has_no_last_event(database: Path) -> None:
    writer = connect(database).open_writer(Durability.NORMAL)

    assert event_log.last_id(writer) == 0
    assert event_log.page(writer, 0, 10) == ([], 0, True, 0)
    assert event_log.page(writer, 7, 10) == ([], 7, True, 0)
    writer.close()
