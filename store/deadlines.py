"""Deadlines: which orders are to be completed by which time, and which of them are late. Each is found late once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from peewee import SQL, Database

from . import queries
from .domain.lifecycle import OrderStatus
from .domain.record import Move, OrderRecord, complete_by_us
from .statements import ManyRows, given_values, run, run_for_each, to_sql
from .tables import DeadlineModel, LateOrderModel

_LOOKED_AT_ONCE = 1_000

_NEXT = "SELECT min(complete_by) FROM deadlines"
_WATCH = """
    INSERT INTO deadlines (sequence, complete_by)
    SELECT sequence, complete_by FROM orders
    WHERE sequence = ? AND complete_by IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM late_orders WHERE late_orders.sequence = orders.sequence)
    ON CONFLICT (sequence) DO UPDATE SET complete_by = excluded.complete_by
"""
_SEQUENCE, _BY = SQL("column1"), SQL("column2")
_watch_new = ManyRows(
    DeadlineModel.insert_from(
        given_values(2).select(_SEQUENCE, _BY).where(SQL("EXISTS (SELECT 1 FROM orders WHERE sequence = column1)")),
        (DeadlineModel.sequence, DeadlineModel.complete_by),
    ),
    width=2,
    types="ii",
)
"""Of orders that have just come, unless another one had the id of one."""
_FORGET = to_sql(DeadlineModel.delete().where(DeadlineModel.sequence == 0))
_FORGET_LATE = to_sql(LateOrderModel.delete().where(LateOrderModel.sequence == 0))
_COME = """
    SELECT deadlines.sequence, status, updated_at > deadlines.complete_by
    FROM deadlines JOIN orders ON orders.sequence = deadlines.sequence
    WHERE deadlines.complete_by < ? ORDER BY deadlines.complete_by, deadlines.sequence LIMIT ?{skip_locked}
"""
_NOTE = "INSERT INTO late_orders (id, sequence, complete_by, at, status, attempt) VALUES (?, ?, ?, ?, ?, ?)"
_OVER_BEFORE = (OrderStatus.FAILED, OrderStatus.CANCELLED)


class Deadlines:
    """Watches the times that orders are to be completed by, in the ledger's transactions. Used by one thread.

    What it remembers is as the database has it after each commit. After a rollback it is not: make another one.

    Args:
        database: connected in this thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.next_us: int | None = None
        """The next of these times, in microseconds since 1970-01-01T00:00:00Z; None where there is none."""
        self._read_next()

    def look_around(self) -> None:
        """Find out which times other engines watch for as well: whoever comes first tells of them."""
        self._read_next()

    def watch_new(self, records: Iterable[OrderRecord]) -> None:
        """These orders have just come, and are to be completed by a time, if they say one."""
        if times := _times(records):
            _watch_new.run(self._database, [*times], [*times.values()])
            self._note(times)

    def watch(self, records: Iterable[OrderRecord]) -> None:
        """These orders are to be completed by a time, if they say one; one that was found late is not watched again."""
        if times := _times(records):
            run_for_each(self._database, _WATCH, [(sequence,) for sequence in times])
            self._note(times)

    def change(self, steps: Sequence[Move]) -> None:
        """These orders were rescheduled."""
        changed = [step.after for step in steps if step.after.order.complete_by != step.before.order.complete_by]
        if changed:
            forget_deadlines(self._database, [record.sequence for record in changed])
            self.watch(changed)

    def find_late(self, at_us: int) -> list[OrderRecord]:
        """Look at orders whose time has come, some at a time, and note which of them are late.

        Those are that are not over, and those that were completed too late. What has failed, or was cancelled, is over.

        Args:
            at_us: microseconds since 1970-01-01T00:00:00Z.
        """
        if self.next_us is None or self.next_us >= at_us:
            return []
        come = run(self._database, _COME, (at_us, _LOOKED_AT_ONCE)).fetchall()
        forget_deadlines(self._database, [sequence for sequence, *_ in come])
        self._read_next()
        late = [
            sequence
            for sequence, status, is_later in come
            if status not in _OVER_BEFORE and (is_later or status != OrderStatus.COMPLETED)
        ]
        records = queries.numbered(self._database, late) if late else []
        run_for_each(
            self._database,
            _NOTE,
            [
                (self._next_event(), of.sequence, complete_by_us(of.order), at_us, of.status.value, of.attempts)
                for of in records
            ],
        )
        return records

    def _note(self, times: Mapping[int, int]) -> None:
        first_us = min(times.values())
        self.next_us = first_us if self.next_us is None else min(self.next_us, first_us)

    def _next_event(self) -> int:
        ((number,),) = run(self._database, "{next_event}").fetchall()
        return int(number)

    def _read_next(self) -> None:
        (self.next_us,) = run(self._database, _NEXT).fetchone()


def _times(records: Iterable[OrderRecord]) -> Mapping[int, int]:
    # By their sequences.
    return {of.sequence: by_us for of in records if (by_us := complete_by_us(of.order)) is not None}


def forget_deadlines(database: Database, sequences: Sequence[int]) -> None:
    """Watch these orders no longer."""
    run_for_each(database, _FORGET, [(sequence,) for sequence in sequences])


def forget(database: Database, sequences: Sequence[int]) -> None:
    """Remove what is kept of orders that are removed, in the same transaction."""
    forget_deadlines(database, sequences)
    run_for_each(database, _FORGET_LATE, [(sequence,) for sequence in sequences])
