"""What clients get about a rehearsal: its shapes, and how they are made."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ...engine import Rehearsal
from ...store.domain.record import rfc3339
from ...store.domain.rehearsal import CONFIDENCE, MAX_EXAMPLES, MAX_POINTS, Band
from .fields import Count, Share, Timestamp

Amount = Annotated[float, Meta(extra_json_schema={"minimum": 0})]


class BandPayload(msgspec.Struct):
    """A number that the runs do not agree on."""

    expected: Amount
    """The median of the runs."""
    low: Amount
    """A tenth of the runs are below, ..."""
    high: Amount
    """... and a tenth above."""


class TimeBandPayload(msgspec.Struct):
    """Likewise a time."""

    expected: Timestamp
    low: Timestamp
    high: Timestamp


class BacklogPointPayload(msgspec.Struct):
    """How many orders are unfinished at a time."""

    at: Timestamp
    expected: Amount
    low: Amount
    high: Amount


class LikelyLatePayload(msgspec.Struct):
    """An order whose deadline is likely to break."""

    order_id: str
    complete_by: Timestamp
    broken: Share
    """In which share of the runs it breaks."""


class RehearsedDeadlinesPayload(msgspec.Struct):
    """What becomes of the deadlines of the orders that are unfinished now."""

    orders: Count
    """How many have one."""
    broken: BandPayload
    """How many of these break."""
    first: Annotated[list[LikelyLatePayload], Meta(extra_json_schema={"maxItems": MAX_EXAMPLES})]
    """The earliest of those that break in half of the runs or more."""


class RehearsalPayload(msgspec.Struct):
    """What is likely to become of the backlog."""

    rehearsed_at: Timestamp
    """When the backlog was read."""
    backlog: Count
    """Orders that were unfinished then."""
    processors: Count
    arrivals_per_second: Amount
    """How many orders arrive, as they were rehearsed."""
    attempts: Count
    """How many measured attempts it is made of."""
    runs: Count
    """How often it was rehearsed; 0 with too little data."""
    confidence: Share
    """How many of the runs lie within a band."""
    empty: TimeBandPayload | None
    """When nothing that may be begun is unfinished any more; null where that would be a guess."""
    why: str | None
    """Why it would be a guess; null where it is none."""
    left: BandPayload | None
    """Orders that are unfinished even then, since they are paused, or others of their key are in their way."""
    failed: BandPayload | None
    """Orders that are Failed by then."""
    deadlines: RehearsedDeadlinesPayload | None
    """Null where no order has one."""
    points: Annotated[list[BacklogPointPayload], Meta(extra_json_schema={"maxItems": MAX_POINTS})]
    """How the backlog goes, at even distances of time."""
    notes: list[str]
    """What was taken for granted."""


class RehearsedActionPayload(msgspec.Struct):
    """What is likely to become of the backlog with an action on many orders, and without; at the same times."""

    after: RehearsalPayload
    without: RehearsalPayload


def rehearsed_action_payload(told: Rehearsal) -> RehearsedActionPayload:
    """What came of the rehearsal of an action, as clients see it."""
    without = told if told.without is None else told.without
    return RehearsedActionPayload(rehearsal_payload(told), rehearsal_payload(without))


def rehearsal_payload(told: Rehearsal) -> RehearsalPayload:
    """What came of a rehearsal, as clients see it."""

    def at(seconds: float) -> str:
        return rfc3339(told.at_us + round(seconds * 1e6))

    empty, deadlines = told.empty_seconds, told.deadlines
    return RehearsalPayload(
        rfc3339(told.at_us),
        told.backlog,
        told.processors,
        round(told.arrivals_per_second, 6),
        told.attempts,
        told.runs,
        CONFIDENCE,
        None if empty is None else TimeBandPayload(*map(at, empty)),
        told.why,
        _band(told.left),
        _band(told.failed),
        None
        if deadlines is None
        else RehearsedDeadlinesPayload(
            deadlines.orders,
            BandPayload(*deadlines.broken),
            [LikelyLatePayload(late.order_id, rfc3339(late.complete_by_us), late.broken) for late in deadlines.first],
        ),
        [BacklogPointPayload(at(point.seconds), *point.backlog) for point in told.curve],
        list(told.notes),
    )


def _band(band: Band | None) -> BandPayload | None:
    return None if band is None else BandPayload(*band)
