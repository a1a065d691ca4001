"""Event: a line of the log of all transitions, for whoever follows what happens to the orders."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from .lifecycle import OrderStatus
from .record import utc


class Event(msgspec.Struct, frozen=True, gc=False):
    """One step of some order, as the log of all transitions has it; or that the order is late.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     status = engine.submit(make_order("o-1")).wait(timeout=5)
        ...     first = next(engine.events(after=0))
        >>> first.order_id, first.to_status.value
        ('o-1', 'Pending')
    """

    id: int
    """Rises in the order of recording, with gaps; never given twice."""
    order_id: str
    user_id: str
    """Whose order it is."""
    from_status: OrderStatus | None
    """None where the order was accepted."""
    to_status: OrderStatus
    at_us: int
    """When, in microseconds since 1970-01-01T00:00:00Z."""
    attempt: int
    """The attempt that the step belongs to, 0 before the first."""
    reason: str
    """Why, in words for people."""
    is_late: bool = False
    """Whether it is no step: the order is late, and where it was."""

    @property
    def at(self) -> datetime:
        """When, in UTC."""
        return utc(self.at_us)


class EventFilter(NamedTuple):
    """Which events somebody follows; all where nothing is said."""

    user_id: str | None = None
    """Only of this user's orders."""
    status: OrderStatus | None = None
    """Only steps to this status."""
    order_id: str | None = None
    """Only of this order."""

    def takes(self, event: Event) -> bool:
        """Whether it is one of them."""
        return (
            (self.user_id is None or event.user_id == self.user_id)
            and (self.status is None or (event.to_status is self.status and not event.is_late))
            and (self.order_id is None or event.order_id == self.order_id)
        )


EVERYTHING = EventFilter()


class EventPage(NamedTuple):
    """Some of the log."""

    events: list[Event]
    """Oldest first."""
    through: int
    """The log was looked through as far as this id: go on after it."""
    is_last: bool
    """Whether that was all there is so far."""
    removed_through: int
    """The highest id of those that were removed with their orders; 0 where none was."""
