"""Schedule: when an order's turn comes, as somebody wants it afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from . import lifecycle
from .order import Order
from .record import ENGINE, Cause, Move, OrderRecord, microseconds_of, move, rfc3339


class Schedule(NamedTuple):
    """What is to be another one of an order that is not begun."""

    priority: int | None = None
    """How early its turn comes; None leaves it as it is."""
    not_before: datetime | UnsetType | None = UNSET
    """When it may be begun at the earliest; None for at once, UNSET leaves it as it is."""
    complete_by: datetime | UnsetType | None = UNSET
    """When it is to be Completed; None for no such time, UNSET leaves it as it is."""
    queue: str | None = None
    """The queue that it waits in; None leaves it as it is."""

    def of(self, order: Order) -> Order:
        """That order, with this schedule.

        Raises:
            InvalidOrder: a field breaks its rule.
        """
        priority = order.priority if self.priority is None else self.priority
        not_before = order.not_before if isinstance(self.not_before, UnsetType) else self.not_before
        complete_by = order.complete_by if isinstance(self.complete_by, UnsetType) else self.complete_by
        queue = order.queue if self.queue is None else self.queue
        return replace(order, priority=priority, not_before=not_before, complete_by=complete_by, queue=queue)


def reschedule(
    record: OrderRecord,
    schedule: Schedule,
    at_us: int,
    now_us: int,
    reason: str | None = None,
    cause: Cause = ENGINE,
) -> Move:
    """The step of an order that gets another schedule. It takes its turn there like a new one.

    What waits for its next attempt goes on waiting for that.

    Args:
        record: the order as it is known.
        schedule: what is to be another one.
        at_us: when that happens, microseconds since 1970-01-01T00:00:00Z.
        now_us: the queue's time, likewise.
        reason: why, in words for people.
        cause: who wants it.

    Raises:
        InvalidOrder: a field of the schedule breaks its rule.
        TransitionRefused: the order is not Pending.
    """
    order = schedule.of(record.order)
    ready_us = max(now_us, record.ready_us or 0) if record.failures else now_us
    if order.not_before is not None:
        ready_us = max(ready_us, microseconds_of(order.not_before))
    when = "at once" if order.not_before is None else f"not before {rfc3339(microseconds_of(order.not_before))}"
    why = f"{lifecycle.RESCHEDULE.why}: priority {order.priority}, {when}"
    if order.complete_by is not None:
        why += f", to be completed by {rfc3339(microseconds_of(order.complete_by))}"
    if schedule.queue is not None:
        why += f", queue {order.queue}"
    step = move(
        record,
        lifecycle.RESCHEDULE,
        at_us,
        why if reason is None else f"{why}; {reason}",
        ready_us=ready_us,
        cause=cause,
    )
    return replace(step, after=replace(step.after, order=order))
