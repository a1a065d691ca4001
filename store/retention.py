"""Retention: removing orders that have been terminal for long, a few at a time, after writing them to an export."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from peewee import Database, DatabaseError

from . import lifecycle, queries
from .errors import StoreUnavailable
from .lifecycle import OrderStatus
from .models import OrderModel, TransitionModel
from .order import format_cents
from .record import OrderRecord, Transition, rfc3339
from .statements import run_for_each, to_sql, write_transaction
from .totals import (
    PRUNED_COMPLETED,
    PRUNED_PROCESSING_MICROSECONDS,
    PRUNED_TIMED_ORDERS,
    add_to_totals,
)

_DELETE_TRANSITIONS = to_sql(TransitionModel.delete().where(TransitionModel.sequence == 0))
_DELETE_ORDER = to_sql(OrderModel.delete().where(OrderModel.sequence == 0))


class Pruned(NamedTuple):
    """What was removed."""

    orders: int
    """How many orders."""
    changes: Counter[str]
    """What was added to each of the running totals."""


def prune(database: Database, before_us: int, limit: int, export: Path | None) -> Pruned:
    """Remove terminal orders whose status last changed before a time, with their histories, in one transaction.

    Args:
        database: a connection that may write.
        before_us: microseconds since 1970-01-01T00:00:00Z.
        limit: how many in each status at the most; so nobody waits long for the one writer.
        export: a file that they are appended to first, one JSON object a line. After a crash in between, some are
            there twice.

    Raises:
        StoreUnavailable: the database or the export did not take it; nothing was removed.
    """
    try:
        with write_transaction(database):
            records = [
                record
                for status in OrderStatus
                if status.is_terminal
                for record in queries.oldest(database, status, limit)
                if record.updated_us < before_us
            ]
            if not records:
                return Pruned(0, Counter())
            histories = [queries.history(database, record.order_id) for record in records]
            if export is not None:
                _append(export, records, histories)
            sequences = [(record.sequence,) for record in records]
            run_for_each(database, _DELETE_TRANSITIONS, sequences)
            run_for_each(database, _DELETE_ORDER, sequences)
            changes = _changes(records, histories)
            add_to_totals(database, changes)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        raise StoreUnavailable(error) from error
    return Pruned(len(records), changes)


def _append(export: Path, records: Sequence[OrderRecord], histories: Sequence[Sequence[Transition]]) -> None:
    encode = msgspec.json.Encoder().encode
    with export.open("ab") as file:
        for record, history in zip(records, histories, strict=True):
            file.write(encode(_exported(record, history)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _exported(record: OrderRecord, history: Sequence[Transition]) -> dict[str, object]:
    order = record.order
    return {
        "order_id": order.order_id,
        "user_id": order.user_id,
        "item_ids": order.item_ids,
        "total_amount": format_cents(order.total_cents),
        "status": record.status,
        "attempts": record.attempts,
        "created_at": rfc3339(record.created_us),
        "updated_at": rfc3339(record.updated_us),
        "transitions": [
            {
                "from": step.from_status,
                "to": step.to_status,
                "at": rfc3339(step.at_us),
                "attempt": step.attempt,
                "reason": step.reason,
                "request_id": step.request_id,
            }
            for step in history
        ],
    }


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
