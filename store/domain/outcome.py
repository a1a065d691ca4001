"""What became of orders that were handed in, and of steps that were to be recorded."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

from .lifecycle import Edge
from .record import Move, OrderRecord


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


class Acceptance(NamedTuple):
    """The answer to one order that was handed in."""

    outcome: Outcome
    record: OrderRecord
    """The stored order of that id: the new one, or the one that was there before."""


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
