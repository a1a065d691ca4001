"""The audit log is read newest first, in pages, and has what was done as it was done."""

from __future__ import annotations

from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import audit_log
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Act, Action
from ordermill.store.domain.record import Cause, move
from ordermill.store.ledger import Ledger
from ordermill.store.statements import write_transaction


def test_pages_follow_each_other(writer: SqliteDatabase) -> None:
    with write_transaction(writer):
        audit_log.write_acts(writer, [Act(Action.CANCEL, f"o-{number}") for number in range(5)], 1)

    first = audit_log.page(writer, limit=2)
    second = audit_log.page(writer, before=first[-1].id, limit=10)

    assert [entry.target for entry in (*first, *second)] == ["o-4", "o-3", "o-2", "o-1", "o-0"]


def test_old_entries_are_forgotten_oldest_first(writer: SqliteDatabase) -> None:
    with write_transaction(writer):
        for at_us in (1, 2, 9, 3):
            audit_log.write_acts(writer, [Act(Action.PAUSE, f"at {at_us}")], at_us)

        assert audit_log.forget(writer, before_us=4, limit=2) == 2
        assert audit_log.forget(writer, before_us=4, limit=1) == 0
        assert audit_log.forget(writer, before_us=4, limit=2) == 1

    assert [entry.target for entry in audit_log.page(writer, limit=10)] == ["at 9"]


def test_a_step_that_is_refused_leaves_no_entry(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer)
    records = [record for _, record in ledger.record([make_order("o-1"), make_order("o-2")], [], 1).acceptances]
    steps = [move(record, lifecycle.CANCEL, 2) for record in records]
    ledger.record([], [steps[1]], 2)
    acts = [(step, Act(Action.CANCEL, step.after.order_id, "twice", 1, Cause("r", "ann"))) for step in steps]

    recorded = ledger.record([], steps, 3, acts=acts)

    assert (recorded.moved, recorded.refused) == ([steps[0]], [steps[1]])
    (entry,) = audit_log.page(writer, limit=10)
    assert (entry.at_us, entry.target, entry.reason, entry.orders) == (3, "o-1", "twice", 1)
    assert (entry.request_id, entry.acted_by) == ("r", "ann")
