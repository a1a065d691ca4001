"""Failures: which orders have failed with which error, kept beside the orders: those that succeed cost nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from peewee import SQL, Case, Database, fn

from .domain.failure import ErrorName, FailureGroup, error_name, is_failure, without_details
from .domain.lifecycle import OrderStatus
from .domain.record import Move
from .statements import run, run_for_each, to_sql
from .tables import ErrorModel, FailureModel, OrderModel

MOST_ERRORS = 1_000
"""Names of errors that are told apart; further ones are put together by their class."""
_MOST_CLASSES = 1_500
_OTHERS = ErrorName("other errors", "other errors")
_CLEAN_EVERY_US = 60_000_000

_FIND = to_sql(ErrorModel.select(ErrorModel.id).where(ErrorModel.name == ""))
_OF_CLASS = to_sql(ErrorModel.select(ErrorModel.id).where(ErrorModel.kind == ""))
_COUNT = to_sql(ErrorModel.select(fn.COUNT(SQL("*"))))
# Another engine may have noted the same one at the same moment.
_ADD = (
    to_sql(ErrorModel.insert({ErrorModel.name: "", ErrorModel.kind: ""}))
    + " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"
)
_FORGET_UNUSED = to_sql(
    ErrorModel.delete().where(
        ~fn.EXISTS(FailureModel.select(SQL("1")).where(FailureModel.error == SQL('"errors"."id"')))
    )
)
_NOTE = to_sql(
    FailureModel.insert(
        {FailureModel.sequence: 0, FailureModel.error: 0, FailureModel.status: "", FailureModel.at: 0}
    ).on_conflict(
        conflict_target=[FailureModel.sequence],
        preserve=[FailureModel.error, FailureModel.status, FailureModel.at],
    )
)
_FORGET = to_sql(FailureModel.delete().where(FailureModel.sequence == 0))


class Failures:
    """Notes which orders have failed, and with what. One per database, used by one thread.

    Args:
        database: open in the calling thread with a connection that may write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cleaned_us = 0

    def note(self, moved: Iterable[Move]) -> None:
        """Take note of what these steps have changed, in their transaction.

        An order that is tried again stays noted until it succeeds: its assignment changes nothing here.
        """
        failed: list[Move] = []
        over: list[tuple[int]] = []
        for step in moved:
            before, after = step.before, step.after
            if after.last_error is None or after.status is OrderStatus.PROCESSING:
                continue
            if not is_failure(after):
                if is_failure(before):
                    over.append((after.sequence,))
            elif after.status is not OrderStatus.PENDING or after.failures > before.failures:
                failed.append(step)
        if over:
            run_for_each(self._database, _FORGET, over)
        if failed:
            self._note(failed)

    def _note(self, failed: Sequence[Move]) -> None:
        ids: dict[ErrorName, int] = {}
        rows = []
        for step in failed:
            after = step.after
            name = error_name(after.last_error or "", after.order)
            if (error_id := ids.get(name)) is None:
                error_id = ids[name] = self._id_of(name, after.updated_us)
            rows.append((after.sequence, error_id, after.status.value, after.updated_us))
        run_for_each(self._database, _NOTE, rows)

    def _id_of(self, error: ErrorName, at_us: int) -> int:
        rest = ErrorName(error.kind, f"{error.kind}: …")
        for name, most in ((error, MOST_ERRORS), (rest, _MOST_CLASSES), (_OTHERS, None)):
            found = run(self._database, _FIND, (name.name,)).fetchone()
            if found is not None:
                return int(found[0])
            if most is None or self._has_room(most, at_us):
                return int(run(self._database, _ADD, (name.name, name.kind)).fetchone()[0])
        raise AssertionError  # the last of them always has room

    def _has_room(self, most: int, at_us: int) -> bool:
        if self._count() < most:
            return True
        if at_us - self._cleaned_us < _CLEAN_EVERY_US:
            return False
        self._cleaned_us = at_us
        run(self._database, _FORGET_UNUSED)
        return self._count() < most

    def _count(self) -> int:
        return int(run(self._database, _COUNT).fetchone()[0])


def forget(database: Database, sequences: Sequence[int]) -> None:
    """Forget orders that are removed, in that transaction."""
    run_for_each(database, _FORGET, [(sequence,) for sequence in sequences])


def error_ids(database: Database, error: str) -> list[int]:
    """The numbers of the errors of that name or that class, or whose name is what that text of one comes to."""
    found = run(database, _OF_CLASS, (error,)).fetchall()
    for name in {error, without_details(error)}:
        found += run(database, _FIND, (name,)).fetchall()
    return sorted({error_id for (error_id,) in found})


def groups(database: Database, limit: int) -> list[FailureGroup]:
    """The errors that most orders have failed with, or wait for their next attempt after.

    Args:
        database: connected in this thread.
        limit: how many at the most.
    """
    counted = (
        FailureModel.select(
            FailureModel.error.alias("error"),
            fn.COUNT(SQL("*")).alias("orders"),
            fn.COUNT(Case(None, [(FailureModel.status == OrderStatus.PENDING.value, 1)])).alias("waiting"),
            fn.MIN(FailureModel.at).alias("first"),
            fn.MAX(FailureModel.at).alias("last"),
            fn.MAX(FailureModel.sequence).alias("newest"),
        )
        .where(FailureModel.status != OrderStatus.REVIEW.value)
        .group_by(FailureModel.error)
    )
    names = (
        ErrorModel.select(
            ErrorModel.name,
            counted.c.orders,
            counted.c.waiting,
            counted.c.first,
            counted.c.last,
            OrderModel.order_id,
        )
        .join(counted, on=(counted.c.error == ErrorModel.id))
        .join(OrderModel, on=(OrderModel.sequence == counted.c.newest))
        .order_by(counted.c.orders.desc(), ErrorModel.name)
        .limit(limit)
    )
    return [FailureGroup(*row) for row in names.tuples().execute(database)]
