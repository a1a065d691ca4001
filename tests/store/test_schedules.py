"""What an order said at first is kept as long as the order, where its schedule was changed, and nowhere else."""

from __future__ import annotations

from peewee import SqliteDatabase

from ordermill.engine.testing import START_US, make_order
from ordermill.store import queries, schedules
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.record import move, utc
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.statements import run


def test_what_an_order_said_at_first_is_kept_and_goes_with_it(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer)
    sent = make_order("o-1", priority=1, complete_by=utc(START_US + 9))
    records = [record for _, record in ledger.record([sent, make_order("o-2")], [], START_US).acceptances]
    step = reschedule(records[0], Schedule(priority=9, complete_by=None), START_US, START_US)

    assert ledger.record([], [step], START_US).refused == []

    found = queries.find(writer, "o-1")
    assert found == step.after
    assert [schedules.as_sent(writer, record) for record in (found, records[1])] == [sent, records[1].order]
    assert run(writer, "SELECT sequence FROM first_schedules").fetchall() == [(found.sequence,)]
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for record in (found, records[1])], START_US)
    assert audit(writer).faults == []
    prune(writer, START_US + 1, 10, None)
    assert run(writer, "SELECT count(*) FROM first_schedules").fetchone() == (0,)


def test_a_step_that_comes_too_late_changes_nothing(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer)
    ((_, record),) = ledger.record([make_order("o-1")], [], START_US).acceptances
    step = reschedule(record, Schedule(priority=9, complete_by=None), START_US, START_US)
    cancelled = move(record, lifecycle.CANCEL, START_US)
    ledger.record([], [cancelled], START_US)

    assert ledger.record([], [step], START_US).refused == [step]

    assert queries.find(writer, "o-1") == cancelled.after
    assert run(writer, "SELECT count(*) FROM first_schedules").fetchone() == (0,)
