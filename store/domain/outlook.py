"""Outlook: where an order is in the queue, what it waits for, and when it is likely to be over."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from .lifecycle import OrderStatus
from .outcome import Promise

CONFIDENCE = 0.8
"""How many of the expected spans are to hold."""
ACCURACY_DAYS = 7
"""How long it is remembered whether they did."""


class WaitReason(StrEnum):
    """What keeps an order waiting."""

    PAUSE = "pause"
    """Somebody has paused the engine, or it has paused itself."""
    BACKOFF = "backoff"
    """An attempt has failed, and the next one is due later."""
    NOT_BEFORE = "not_before"
    """The client said that it is not to be begun earlier."""
    KEY = "key"
    """Other orders of its key go first."""
    PRIORITY = "priority"
    """Orders of other priorities or queues go first."""
    LIMIT = "limit"
    """Its queue, or a value of its own, is at a limit."""
    PROCESSORS = "processors"
    """Its turn comes when a processor is free for it."""


class Wait(msgspec.Struct, frozen=True):
    """One thing that an order waits for."""

    reason: WaitReason
    detail: str
    """In words for people."""
    ahead: int | None = None
    """How many orders go first for this reason; None where it is not about other orders."""
    until_us: int | None = None
    """When that ends, microseconds since 1970-01-01T00:00:00Z; None where nobody knows."""


class Expected(msgspec.Struct, frozen=True):
    """When an order is likely to be over: Completed, or Failed for good."""

    from_us: int
    """Microseconds since 1970-01-01T00:00:00Z."""
    to_us: int
    """Likewise."""
    confidence: float = CONFIDENCE
    """How likely it is over within that span."""


class Accuracy(msgspec.Struct, frozen=True):
    """How often that was right lately."""

    kept: float
    """The share of expected spans within which the order was over."""
    of: int
    """How many were judged."""
    days: int = ACCURACY_DAYS
    """How far back that goes."""


class Outlook(msgspec.Struct, frozen=True):
    """Where an order is, why it waits, and when it is likely to be over."""

    order_id: str
    status: OrderStatus
    position: int | None
    """1 for the order that is next; None where it has no place in the queue."""
    waiting_for: tuple[Wait, ...]
    expected: Expected | None
    """None where too little is known, or nothing is left to expect."""
    accuracy: Accuracy | None
    """None before the first one was judged."""


class Place(NamedTuple):
    """Where an order stands in the queue."""

    ahead_in_line: int | None
    """Orders of its own priority that go first; None where it has no place in line."""
    ahead_by_priority: int
    """Orders of other priorities that go first."""
    ahead_of_key: int | None
    """Unfinished orders of its key that go first; None where it does not wait for them."""
    in_hand_since_us: tuple[int, ...]
    """Since when orders are Processing, each; a thousand at the most."""
    obstacles: tuple[Wait, ...] = ()
    """What keeps it from being begun although a processor be free: a pause of its queue, and limits."""


class Estimate(NamedTuple):
    """A span that was given as the expected one. Times are microseconds since 1970-01-01T00:00:00Z."""

    sequence: int
    """The order's."""
    given_us: int
    model_from_us: int
    """What the model says, before it is calibrated."""
    model_to_us: int
    from_us: int
    """What was told."""
    to_us: int


class Promised(NamedTuple):
    """What can be said of a new order that is to be completed by a time."""

    promise: Promise
    estimate: Estimate | None
    """What of it is to be judged when the order is over, but for its sequence, which it has not got yet."""


class Judged(NamedTuple):
    """An estimate whose order is over."""

    estimate: Estimate
    ended_us: int


class Attempt(NamedTuple):
    """An attempt that is over."""

    began_us: int
    """When it was recorded as Processing, microseconds since 1970-01-01T00:00:00Z."""
    took_us: int
    """How long it took to wherever it led, in microseconds."""
    before_us: int | None
    """How long after its order's first attempt it was begun; None where the order was not over with it."""


class Evidence(NamedTuple):
    """What was measured lately. Times are microseconds since 1970-01-01T00:00:00Z."""

    attempts: tuple[Attempt, ...]
    in_hand_since_us: tuple[int, ...]
    """Since when orders are Processing, each; a thousand at the most."""
    arrivals: tuple[tuple[int, int], ...]
    """When the latest orders were accepted, and the priority of each; newest first."""
    judged: tuple[Judged, ...]
    """Oldest first."""
    overdue: int
    """How many other estimates have passed without their order being over."""
    accuracy: Accuracy | None
