"""Orders are found late once, when the time has come that they were to be completed by, and not before."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import START_US, make_order
from ordermill.store import event_log, queries
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.event import Event, EventFilter
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.metrics import LATE_ORDERS
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.statements import run

BY_US = START_US + 100


@pytest.fixture
def ledger(writer: SqliteDatabase) -> Ledger:
    return Ledger(writer)


def accept(ledger: Ledger, *order_ids: str, by_us: int = BY_US, **fields: Any) -> list[OrderRecord]:
    orders = [make_order(order_id, complete_by=utc(by_us), **fields) for order_id in order_ids]
    return [record for _, record in ledger.record(orders, [], START_US).acceptances]


def step(ledger: Ledger, record: OrderRecord, edge: lifecycle.Edge, at_us: int = START_US, **more: Any) -> OrderRecord:
    (moved,) = ledger.record([], [move(record, edge, at_us, **more)], at_us).moved
    return moved.after


def late(writer: SqliteDatabase, **wanted: Any) -> list[Event]:
    return [event for event in event_log.page(writer, 0, 1_000, EventFilter(**wanted)).events if event.is_late]


def test_an_order_is_late_when_its_time_is_over_and_only_once(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a")
    assert ledger.next_deadline_us == BY_US
    ledger.record([], [], BY_US)
    assert late(writer) == []

    ledger.record([], [], BY_US + 1)
    ledger.record([], [], BY_US + 2)

    pending = OrderStatus.PENDING
    reason = "late: it was to be completed by 2027-01-15T08:00:00.000100Z"
    assert late(writer) == [Event(2, "a", "u-1", pending, pending, BY_US + 1, 0, reason, is_late=True)]
    assert ledger.next_deadline_us is None
    assert queries.totals(writer)[LATE_ORDERS] == 1
    assert audit(writer).faults == []


def test_the_events_of_late_orders_come_among_all_others_in_the_sequence_of_their_recording(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    first, _ = accept(ledger, "a", "b")
    ledger.record([make_order("c")], [], BY_US + 1)
    step(ledger, first, lifecycle.CANCEL, BY_US + 2)

    pages = [event_log.page(writer, after, 2) for after in (0, 2, 4)]

    assert [[(event.id, event.order_id, event.is_late) for event in page.events] for page in pages] == [
        [(1, "a", False), (2, "b", False)],
        [(3, "c", False), (4, "a", True)],
        [(5, "b", True), (6, "a", False)],
    ]
    assert [(page.through, page.is_last) for page in pages] == [(2, False), (4, False), (6, True)]
    assert event_log.page(writer, 4, 10).events == pages[2].events


def test_who_follows_a_user_or_an_order_is_told_of_those_and_who_follows_a_status_of_steps_alone(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    accept(ledger, "a", user_id="ann")
    accept(ledger, "b", user_id="bob")
    ledger.record([], [], BY_US + 1)

    assert [event.order_id for event in late(writer, user_id="bob")] == ["b"]
    assert [event.order_id for event in late(writer, order_id="a")] == ["a"]
    assert late(writer, status=OrderStatus.PENDING) == []
    assert [EventFilter(status=OrderStatus.PENDING).takes(event) for event in late(writer)] == [False, False]


@pytest.mark.parametrize(
    ("edges", "at_us", "is_late"),
    [
        ((lifecycle.ASSIGN,), BY_US, True),
        ((lifecycle.ASSIGN, lifecycle.COMPLETE), BY_US, False),
        ((lifecycle.ASSIGN, lifecycle.COMPLETE), BY_US + 1, True),
        ((lifecycle.ASSIGN, lifecycle.FAIL), BY_US, False),
        ((lifecycle.ASSIGN, lifecycle.PARK), BY_US, True),
        ((lifecycle.CANCEL,), BY_US, False),
    ],
)
def test_an_order_is_late_unless_it_was_over_in_time(
    writer: SqliteDatabase, ledger: Ledger, edges: tuple[lifecycle.Edge, ...], at_us: int, is_late: bool
) -> None:
    (record,) = accept(ledger, "a")
    for edge in edges:
        record = step(ledger, record, edge, at_us if edge is edges[-1] else START_US)

    ledger.record([], [], BY_US + 5)

    assert [event.to_status for event in late(writer)] == [record.status] * is_late


def test_one_that_is_retried_after_it_has_failed_is_watched_again(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "a")
    failed = step(ledger, step(ledger, record, lifecycle.ASSIGN), lifecycle.FAIL, error="no")
    ledger.record([], [], BY_US + 1)
    assert late(writer) == []

    step(ledger, failed, lifecycle.RETRY_FAILED, BY_US + 2)

    assert [event.at_us for event in late(writer)] == [BY_US + 2]


def test_it_is_late_by_the_time_that_it_was_rescheduled_to(writer: SqliteDatabase, ledger: Ledger) -> None:
    moved, freed, kept = accept(ledger, "moved", "freed", "kept")
    to_us = BY_US + 50
    steps = [
        reschedule(moved, Schedule(complete_by=utc(to_us)), START_US, START_US),
        reschedule(freed, Schedule(complete_by=None), START_US, START_US),
        reschedule(kept, Schedule(priority=9), START_US, START_US),
    ]
    ledger.record([], steps, START_US)

    ledger.record([], [], BY_US + 1)
    assert [event.order_id for event in late(writer)] == ["kept"]
    assert ledger.next_deadline_us == to_us
    ledger.record([], [], to_us + 1)
    assert [event.order_id for event in late(writer)] == ["kept", "moved"]


def test_a_new_time_for_one_that_was_late_is_not_watched(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "a")
    ledger.record([], [], BY_US + 1)

    ledger.record([], [reschedule(record, Schedule(complete_by=utc(BY_US + 9)), BY_US + 2, BY_US)], BY_US + 2)
    ledger.record([], [], BY_US + 10)

    assert len(late(writer)) == 1


def test_orders_are_watched_after_a_restart(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a")
    accept(ledger, "b", by_us=BY_US + 50)
    ledger.record([], [], BY_US + 1)

    successor = Ledger(writer)
    assert successor.next_deadline_us == BY_US + 50
    successor.record([], [], BY_US + 51)

    assert [event.order_id for event in late(writer)] == ["a", "b"]


def test_many_are_looked_at_a_thousand_at_a_time(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, *(f"o-{number}" for number in range(1_001)))

    ledger.record([], [], BY_US + 1)
    assert (queries.totals(writer)[LATE_ORDERS], ledger.next_deadline_us) == (1_000, BY_US)
    ledger.record([], [], BY_US + 2)
    assert (queries.totals(writer)[LATE_ORDERS], ledger.next_deadline_us) == (1_001, None)


def test_what_is_known_of_orders_goes_with_them(writer: SqliteDatabase, ledger: Ledger) -> None:
    late_one, other = accept(ledger, "a")[0], accept(ledger, "b", by_us=BY_US + 1_000)[0]
    ledger.record([], [], BY_US + 1)
    for record in (late_one, other):
        step(ledger, record, lifecycle.CANCEL, BY_US + 2)

    prune(writer, BY_US + 3, 10, None)

    for table in ("deadlines", "late_orders"):
        assert run(writer, f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert queries.totals(writer)[LATE_ORDERS] == 1
    assert audit(writer).faults == []
    page = event_log.page(writer, 0, 10)
    assert (page.events, page.removed_through) == ([], 5)


def test_orders_without_such_a_time_are_not_watched(writer: SqliteDatabase, ledger: Ledger) -> None:
    ledger.record([make_order("a"), make_order("b", priority=9)], [], START_US)

    assert ledger.next_deadline_us is None
    assert run(writer, "SELECT count(*) FROM deadlines").fetchone() == (0,)
