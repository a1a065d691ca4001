"""Schedules of orders that were changed after their arrival, and what these orders had said at first.

What a client has said makes an order the same when it is sent again: so it is kept, beside the few orders that it is
needed for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from peewee import Database

from .domain.order import DEFAULT_QUEUE, Order
from .domain.record import Move, OrderRecord, complete_by_us, not_before_us, utc
from .rows import queue_column
from .statements import run, run_for_each, to_sql
from .tables import FirstScheduleModel, OrderModel

_KEEP = """
    INSERT INTO first_schedules (sequence, priority, not_before, complete_by, queue)
    SELECT sequence, priority, not_before, complete_by, queue FROM orders WHERE sequence = ? ON CONFLICT DO NOTHING
"""
_CHANGED: dict[Any, Any] = {
    OrderModel.priority: 0,
    OrderModel.not_before: 0,
    OrderModel.queue: "",
    OrderModel.complete_by: 0,
}
_CHANGE = to_sql(OrderModel.update(_CHANGED).where(OrderModel.sequence == 0))
_FIRST = to_sql(
    FirstScheduleModel.select(
        FirstScheduleModel.priority,
        FirstScheduleModel.not_before,
        FirstScheduleModel.complete_by,
        FirstScheduleModel.queue,
    ).where(FirstScheduleModel.sequence == 0)
)
_FORGET = to_sql(FirstScheduleModel.delete().where(FirstScheduleModel.sequence == 0))


def change(database: Database, steps: Sequence[Move]) -> None:
    """Store the schedules that orders have after these steps, in the transaction that takes them."""
    run_for_each(database, _KEEP, [(step.after.sequence,) for step in steps])
    run_for_each(
        database,
        _CHANGE,
        [
            (order.priority, not_before_us(order), queue_column(order), complete_by_us(order), sequence)
            for order, sequence in ((step.after.order, step.after.sequence) for step in steps)
        ],
    )


def as_sent(database: Database, record: OrderRecord) -> Order:
    """An order as its client has sent it."""
    row = run(database, _FIRST, (record.sequence,)).fetchone()
    if row is None:
        return record.order
    priority, not_before, complete_by, queue = row
    return replace(
        record.order,
        priority=priority,
        not_before=None if not_before is None else utc(not_before),
        complete_by=None if complete_by is None else utc(complete_by),
        queue=DEFAULT_QUEUE if queue is None else queue,
    )


def forget(database: Database, sequences: Sequence[int]) -> None:
    """Remove what is kept of orders that are removed, in the same transaction."""
    run_for_each(database, _FORGET, [(sequence,) for sequence in sequences])
