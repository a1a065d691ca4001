"""What the database holds of an order: its present state, and the transitions that led there."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import msgspec

from . import lifecycle
from .errors import TransitionRefused
from .lifecycle import Edge, OrderStatus
from .order import Order

_PENDING = OrderStatus.PENDING  # to look it up in the enumeration takes as long as to make a record
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Attempt(NamedTuple):
    """One attempt at an order: what a result belongs to."""

    sequence: int
    """The order's number."""
    number: int
    """1 for the first."""


class OrderRecord(msgspec.Struct, frozen=True, gc=False):
    """An order and where it is. Times are microseconds since 1970-01-01T00:00:00Z.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     status = engine.submit(make_order("o-1")).wait(timeout=5)
        ...     record = engine.order("o-1")
        >>> record.status.value, record.attempts, record.order.user_id
        ('Completed', 1, 'u-1')
    """

    order: Order
    sequence: int
    """Its number in the order of arrival."""
    status: OrderStatus
    attempts: int
    """How often a processor was given the order."""
    failures: int
    """How many of these failed since an operator last retried the order."""
    created_us: int
    updated_us: int
    """When the last of its transitions happened."""
    ready_us: int | None
    """No processor takes the order before this time; None unless it is Pending."""
    last_error: str | None = None
    """What went wrong in the last failed attempt, and stays when a later one succeeds; None before the first."""

    @property
    def order_id(self) -> str:
        """The client's name for the order."""
        return self.order.order_id

    @property
    def attempt(self) -> Attempt:
        """The latest attempt at the order."""
        return Attempt(self.sequence, self.attempts)

    @property
    def created_at(self) -> datetime:
        """When the order was accepted, in UTC."""
        return utc(self.created_us)

    @property
    def updated_at(self) -> datetime:
        """When the last of its transitions happened, in UTC."""
        return utc(self.updated_us)

    @property
    def ready_at(self) -> datetime | None:
        """The time before which no processor takes the order, in UTC; None unless it is Pending."""
        return None if self.ready_us is None else utc(self.ready_us)


def new_record(order: Order, sequence: int, at_us: int, now_us: int) -> OrderRecord:
    """An order that was just accepted.

    Args:
        order: it.
        sequence: its number in the order of arrival.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.
        now_us: since when it may be begun, on the queue's clock; later where it says so itself.
    """
    ready_us = now_us if order.not_before is None else max(now_us, microseconds_of(order.not_before))
    return OrderRecord(order, sequence, _PENDING, 0, 0, at_us, at_us, ready_us)


class Cause(NamedTuple):
    """Who caused a transition, and with what; nobody but the engine itself where nothing is known."""

    request_id: str | None = None
    """The request that caused it; None where none did."""
    acted_by: str | None = None
    """The name of the key that it was sent with; None without one."""
    traceparent: str | None = None
    """Which trace that is part of, as W3C's Trace Context writes it; stored with the orders that it brings."""


ENGINE = Cause()
"""The cause of what the engine does by itself."""


class Transition(msgspec.Struct, frozen=True):
    """One step of an order's history.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     status = engine.submit(make_order("o-1")).wait(timeout=5)
        ...     for step in engine.history("o-1"):
        ...         print(step.to_status.value, step.attempt)
        Pending 0
        Processing 1
        Completed 1
    """

    from_status: OrderStatus | None
    """None where the order was accepted."""
    to_status: OrderStatus
    at_us: int
    """When, in microseconds since 1970-01-01T00:00:00Z."""
    attempt: int
    """The attempt that the step belongs to, 0 before the first."""
    reason: str
    """Why, in words for people."""
    request_id: str | None = None
    """The request that caused it; None where none did."""
    acted_by: str | None = None
    """The name of the key that the request was sent with; None for the engine itself, and without a key."""

    @property
    def at(self) -> datetime:
        """When, in UTC."""
        return utc(self.at_us)


class HistoryPage(NamedTuple):
    """Some steps of an order's history."""

    transitions: list[Transition]
    after: int | None
    """Where the next page begins; None on the last."""


class Move(msgspec.Struct, frozen=True, gc=False):
    """An order's step along an edge, not recorded yet."""

    edge: Edge
    """A member of `lifecycle.EDGES`."""
    before: OrderRecord
    """The order as the mover knows it; recorded only if its status and attempt are still these."""
    after: OrderRecord
    reason: str
    cause: Cause = ENGINE
    slowed_until_us: int | None = None
    """Until when the limits that the order is under let none begin, on the queue's clock; None where this step has
    nothing to say of that."""


def keeps_place(step: Move) -> bool:
    """Whether an order that becomes Pending has its old place in the queue: it was taken, and comes back unharmed."""
    return step.before.status is OrderStatus.PROCESSING and step.before.failures == step.after.failures


def move(
    record: OrderRecord,
    edge: Edge,
    at_us: int,
    reason: str | None = None,
    *,
    ready_us: int | None = None,
    error: str | None = None,
    cause: Cause = ENGINE,
) -> Move:
    """The step of `record` along `edge`.

    Args:
        record: the order as the mover knows it.
        edge: a member of `lifecycle.EDGES` other than ACCEPT.
        at_us: when it happens, microseconds since 1970-01-01T00:00:00Z. Where that is before the order's last step,
            since the clock was set back, it is that step's time: an order's stamps never run backwards.
        reason: why; the edge's own words by default.
        ready_us: for an edge to Pending, the time before which no processor takes the order; `at_us` by default.
        error: what went wrong in the attempt, which counts as failed; None where it does not.
        cause: who wants it.

    Raises:
        TransitionRefused: the order is not where the edge begins.
    """
    if record.status is not edge.source:
        raise TransitionRefused(record.order_id, record.status, edge.target)
    if at_us < record.updated_us:
        at_us = record.updated_us
    failures = record.failures + (error is not None)
    if edge.target is not _PENDING:
        ready_us = None
    else:
        if ready_us is None:
            ready_us = at_us
        if edge in lifecycle.RETRIES:
            failures = 0
    after = OrderRecord(
        record.order,
        record.sequence,
        edge.target,
        record.attempts + (edge is lifecycle.ASSIGN),
        failures,
        record.created_us,
        at_us,
        ready_us,
        record.last_error if error is None else error,
    )
    return Move(edge, record, after, edge.why if reason is None else reason, cause)


@lru_cache(maxsize=1024)  # whatever one transaction changed has the same time
def rfc3339(microseconds: int) -> str:
    """A time of the database as it is written in answers: RFC 3339 in UTC with microseconds.

    Args:
        microseconds: since 1970-01-01T00:00:00Z.
    """
    return utc(microseconds).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


RFC3339 = re.compile(
    r"(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,6}))?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
"""A time as clients write it: RFC 3339, from 1970 on."""


def parse_rfc3339(text: str) -> int | None:
    """A time as clients write it, in microseconds since 1970-01-01T00:00:00Z; None where it is none.

    A month may be given more days than it has: these are of the next one.
    """
    found = RFC3339.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    days = date(year, month, 1).toordinal() - _EPOCH.toordinal() + day - 1
    offset = 0 if found[8] is None else (int(found[9]) * 60 + int(found[10])) * (1 if found[8] == "+" else -1)
    seconds = days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second
    return seconds * 1_000_000 + int((found[7] or "").ljust(6, "0"))


def microseconds_of(time: datetime) -> int:
    """A time with its offset from UTC in microseconds since 1970-01-01T00:00:00Z."""
    return (time - _EPOCH) // _MICROSECOND


def not_before_us(order: Order) -> int | None:
    """When an order may be begun at the earliest, in microseconds since 1970-01-01T00:00:00Z."""
    return None if order.not_before is None else microseconds_of(order.not_before)


def complete_by_us(order: Order) -> int | None:
    """When an order is to be Completed, in microseconds since 1970-01-01T00:00:00Z."""
    return None if order.complete_by is None else microseconds_of(order.complete_by)


def utc(microseconds: int) -> datetime:
    """A time of the database as a datetime in UTC.

    Args:
        microseconds: since 1970-01-01T00:00:00Z.
    """
    return _EPOCH + microseconds * _MICROSECOND  # to make another timedelta takes twice as long
