"""Retention: removing orders that have been terminal for long, a few at a time, after writing them to an export.

What people did goes at the same age.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from peewee import Database, DatabaseError

from . import audit_log, bulk_actions, deadlines, event_log, failures, queries, schedules, trace_contexts
from .domain import lifecycle
from .domain.errors import OrdermillError
from .domain.lifecycle import OrderStatus
from .domain.metrics import PRUNED_COMPLETED, PRUNED_PROCESSING_MICROSECONDS, PRUNED_TIMED_ORDERS
from .domain.record import OrderRecord, Transition, rfc3339
from .export import append, mend
from .statements import run_for_each, to_sql, write_transaction
from .tables import OrderModel, TransitionModel
from .totals import add_to_totals
from .translation import translated_errors
from .writer import Turn, Writer

_DELETE_TRANSITIONS = to_sql(TransitionModel.delete().where(TransitionModel.sequence == 0))
_DELETE_ORDER = to_sql(OrderModel.delete().where(OrderModel.sequence == 0))


class Pruned(NamedTuple):
    """What was removed."""

    orders: int
    """How many orders."""
    changes: Counter[str]
    """What was added to each of the running totals."""


def prune(
    database: Writer, before_us: int, limit: int, export: Path | None, keyed_before_us: int | None = None
) -> Pruned:
    """Remove terminal orders whose status last changed before a time, with their histories, in one transaction.

    Args:
        database: a connection that may write.
        before_us: microseconds since 1970-01-01T00:00:00Z.
        limit: how many at the most; so nobody waits long for the one writer.
        export: a file that they are appended to first, one JSON object a line.
        keyed_before_us: a further time for orders that an idempotency key came with: they stay where they changed, or
            one came with them again, since then; none by default.

    Raises:
        StoreUnavailable: the database or the export did not take it; nothing was removed.
    """
    with translated_errors(also=(OSError,)):
        try:
            keyed_us = before_us if keyed_before_us is None else keyed_before_us
            return _remove(database, before_us, keyed_us, limit, export)
        except OrdermillError:
            raise  # it was never begun
        except BaseException:
            # Otherwise it is done before the next removal. In a transaction: the file may be another engine's by now.
            with suppress(DatabaseError, sqlite3.Error, OSError, OrdermillError), write_transaction(database):
                _mend(database, export, limit)
            raise


def prune_acts(database: Database, before_us: int, limit: int) -> int:
    """Remove what people did before a time: entries of the audit log, and bulk actions that were over by then.

    Args:
        database: a connection that may write.
        before_us: microseconds since 1970-01-01T00:00:00Z.
        limit: how many of each at the most; so nobody waits long for the one writer.

    Returns:
        How many were removed.

    Raises:
        StoreUnavailable: the database did not take it; nothing was removed.
    """
    with translated_errors(), write_transaction(database):
        return audit_log.forget(database, before_us, limit) + bulk_actions.forget(database, before_us, limit)


def _remove(database: Writer, before_us: int, keyed_us: int, limit: int, export: Path | None) -> Pruned:
    with write_transaction(database):
        database.wait_for_turn(Turn.KEYS)  # no other order begins to wait for one of these
        records = queries.over(database, before_us, keyed_us, limit)
        if not records:
            return Pruned(0, Counter())
        _mend(database, export, limit)
        histories = [queries.history(database, record.order_id) for record in records]
        sequences = [(record.sequence,) for record in records]
        event_log.note_removal(database, [record.sequence for record in records])
        failures.forget(database, [record.sequence for record in records])
        trace_contexts.forget(database, [record.sequence for record in records])
        schedules.forget(database, [record.sequence for record in records])
        deadlines.forget(database, [record.sequence for record in records])
        run_for_each(database, _DELETE_TRANSITIONS, sequences)
        run_for_each(database, _DELETE_ORDER, sequences)
        changes = _changes(records, histories)
        add_to_totals(database, changes)
        # Last of all before the commit, when hardly anything can fail any more.
        if export is not None:
            append(export, zip(records, histories, strict=True))
    return Pruned(len(records), changes)


def _mend(database: Database, export: Path | None, limit: int) -> None:
    def is_stored(order_id: str, created_at: str, updated_at: str) -> bool:
        record = queries.find(database, order_id)
        return record is not None and (created_at, updated_at) == (
            rfc3339(record.created_us),
            rfc3339(record.updated_us),
        )

    if export is not None:
        mend(export, limit, is_stored)


def _changes(records: Sequence[OrderRecord], histories: Sequence[Sequence[Transition]]) -> Counter[str]:
    changes: Counter[str] = Counter()
    for record, history in zip(records, histories, strict=True):
        changes[record.status] -= 1
        if record.status is OrderStatus.COMPLETED:
            changes[PRUNED_COMPLETED] += 1
            if history[-1].from_status is lifecycle.COMPLETE.source:
                changes[PRUNED_TIMED_ORDERS] += 1
                changes[PRUNED_PROCESSING_MICROSECONDS] += history[-1].at_us - history[-2].at_us
    return changes
