"""Bulk actions: what an operator does to all orders that a filter means."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from .act import Action
from .lifecycle import OrderStatus
from .order_filter import OrderFilter
from .record import Cause, OrderRecord, rfc3339


class ActionState(StrEnum):
    """Where a bulk action is."""

    RUNNING = "running"
    """It moves orders, or will when the engine runs."""
    DONE = "done"
    """It has moved all that it could."""
    STOPPED = "stopped"
    """It was stopped; what it had moved before stays moved."""


STATUSES: dict[Action, tuple[OrderStatus, ...]] = {
    Action.CANCEL: (OrderStatus.PENDING,),
    Action.RETRY: (OrderStatus.FAILED, OrderStatus.PENDING),
    Action.SETTLE: (OrderStatus.REVIEW,),
}
"""The orders that each action is for, by their status. A retry is for Pending ones that wait for their next attempt."""
NAMED_STATUSES: dict[Action, tuple[OrderStatus, ...]] = STATUSES | {
    Action.RETRY: (*STATUSES[Action.RETRY], OrderStatus.REVIEW)
}
"""Likewise where the filter names the status: what is in Review is not retried by mistake."""


class BulkRequest(NamedTuple):
    """What is to be done, and to which orders."""

    action: Action
    """CANCEL, RETRY or SETTLE."""
    wanted: OrderFilter
    """Which orders, of those that the action is for."""
    settled: OrderStatus | None = None
    """What a SETTLE settles them as: Completed or Failed; None for the others."""

    @property
    def statuses(self) -> tuple[OrderStatus, ...]:
        """The orders that it is for, by their status."""
        return STATUSES[self.action] if self.wanted.status is None else (self.wanted.status,)

    @property
    def told(self) -> str:
        """Which orders, and what they are settled as, in words for people."""
        filters = {name: getattr(self.wanted, name) for name in self.wanted.__struct_fields__}
        parts = [
            f"{name.removesuffix('_us')}={rfc3339(value) if name.endswith('_us') else value}"
            for name, value in filters.items()
            if value is not None
        ]
        as_what = "" if self.settled is None else f" as {self.settled}"
        return f"orders{as_what} where {', '.join(parts)}" if parts else f"all orders{as_what}"


class ActionPreview(NamedTuple):
    """What a bulk action would do."""

    matched: int
    """How many orders it would move."""
    examples: list[OrderRecord]
    """The newest of them, ten at the most."""


class BulkAction(msgspec.Struct, frozen=True):
    """A bulk action, as it is by now. Times are microseconds since 1970-01-01T00:00:00Z."""

    id: int
    request: BulkRequest
    """What it does, and to which orders."""
    reason: str | None
    """Why, in the words of whoever wants it; it goes into the history of each order."""
    cause: Cause
    """Who wants it."""
    state: ActionState
    matched: int
    """How many orders it was to move when it was begun."""
    moved: int
    """How many it has moved."""
    refused: int
    """How many it found moved on already, when it came to them."""
    before: int
    """It goes on with orders below this sequence; none that come later are touched."""
    created_us: int
    ended_us: int | None
    """When it was done or stopped; None before."""


class ActionProgress(NamedTuple):
    """What one transaction does of a bulk action."""

    action_id: int
    before: int
    """Where it goes on."""
    refused: int
    """How many orders were found moved on before the transaction."""
    is_last: bool
    """Whether it is done with it."""
