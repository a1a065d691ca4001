"""What became of orders that were handed in, and of steps that were to be recorded."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import NamedTuple, Self

from .errors import DeadlineUnlikely, OrderConflict
from .lifecycle import Edge
from .record import Move, OrderRecord, utc


class Outcome(StrEnum):
    """What became of an order that was handed in.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     [receipt.outcome.value for receipt in engine.submit_many([make_order("o-1"), make_order("o-1")])]
        ['accepted', 'duplicate']
    """

    ACCEPTED = "accepted"
    """New, and stored."""
    DUPLICATE = "duplicate"
    """The very same order was stored before."""
    CONFLICT = "conflict"
    """Its id is taken by an order with other content; nothing was changed."""
    UNLIKELY = "unlikely"
    """It is unlikely to be completed by the time that it is to be; it was not stored."""


class Promise(NamedTuple):
    """What can be said when an order is handed in that is to be completed by a time."""

    confidence: float | None
    """How likely it is over by then, 0 to 1; None where too little is known."""
    earliest_us: int | None
    """By when it is over with as much confidence as is asked for, in microseconds since 1970-01-01T00:00:00Z; None
    where nobody knows."""


class Acceptance(NamedTuple):
    """The answer to one order that was handed in."""

    outcome: Outcome
    record: OrderRecord
    """The stored order of that id: the new one, or the one that was there before; of one that is unlikely to be
    completed in time, what it would have been."""

    @property
    def promise(self) -> Promise | None:
        """None where the order is not new, or says no time that it is to be completed by."""
        return None


class PromisedAcceptance(Acceptance):
    """The answer to a new order that is to be completed by a time."""

    def __new__(cls, outcome: Outcome, record: OrderRecord, promise: Promise) -> Self:
        acceptance = super().__new__(cls, outcome, record)
        acceptance._promise = promise
        return acceptance

    _promise: Promise

    @property
    def promise(self) -> Promise:
        """What can be said when it is handed in."""
        return self._promise


def error_of(acceptance: Acceptance, *, is_visible: bool = True) -> OrderConflict | DeadlineUnlikely | None:
    """Why an order was not accepted; None where it was, now or before.

    Args:
        acceptance: the answer to it.
        is_visible: whether the caller may know anything of another order that has its id.
    """
    (outcome, record), promise = acceptance, acceptance.promise
    order = record.order
    if outcome is Outcome.CONFLICT:
        return OrderConflict(order.order_id, is_visible=is_visible)
    if outcome is not Outcome.UNLIKELY or promise is None or order.complete_by is None:
        return None
    earliest = None if promise.earliest_us is None else utc(promise.earliest_us)
    return DeadlineUnlikely(order.order_id, order.complete_by, promise.confidence or 0.0, earliest)


class Recorded(NamedTuple):
    """What a transaction stored."""

    acceptances: list[Acceptance]
    """One for each order handed in, in the same sequence."""
    moved: list[Move]
    """The steps that were recorded."""
    refused: list[Move]
    """The steps that were not: the order was no longer where its mover saw it."""
    changes: Counter[str]
    """What was added to each of the running totals."""
    taken: Counter[Edge]
    """How many orders took each edge."""
    has_events: bool = False
    """Whether a webhook is to be told of any of it."""
