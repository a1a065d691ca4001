"""Rehearsal: what is likely to become of the backlog, if this or that happened."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from .bulk_action import BulkRequest

CONFIDENCE = 0.8
"""How many of the runs lie within a band."""
MAX_POINTS = 120
"""Points of a curve."""
MAX_EXAMPLES = 20
"""Orders that are named whose deadline is likely to break."""
MAX_OUTAGE_SECONDS = 2_592_000
"""How long everything may fail: thirty days."""
ERROR_CLASS = re.compile(r"[^\W\d][\w.]{0,99}")
"""What a class of errors is called."""
ERROR_CLASS_RULE = "the name of a class of errors, such as ProviderDown"
MAX_ARRIVALS = 100.0
"""How many times as many orders as are measured may arrive."""


class Outage(msgspec.Struct, frozen=True):
    """A stretch of time, from now on, in which every attempt that begins fails."""

    error: str
    """The class of the error."""
    for_seconds: float
    """How long."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be rehearsed."""

    processors: int | None = None
    """How many there are; None for as many as there are now."""
    arrivals: float = 1.0
    """How many orders arrive meanwhile, as a multiple of the measured rate; 0 for none."""
    pause: str | None = None
    """The queue whose orders are not begun, or the user where no queue is called that; None for none."""
    fail: Outage | None = None
    """What goes wrong; None for nothing beyond what did lately."""
    action: BulkRequest | None = None
    """What is done to many orders at the beginning; None for nothing."""


class Band(NamedTuple):
    """A number that the runs do not agree on."""

    expected: float
    """The median of the runs."""
    low: float
    """Few runs are below..."""
    high: float
    """... and as few are above: together `CONFIDENCE` lie between."""


class Point(NamedTuple):
    """How many orders are unfinished at a time."""

    seconds: float
    """From the beginning."""
    backlog: Band


class LikelyLate(NamedTuple):
    """An order whose deadline is likely to break."""

    order_id: str
    complete_by_us: int
    """Its deadline, microseconds since 1970-01-01T00:00:00Z."""
    broken: float
    """In which share of the runs it does."""


class Deadlines(NamedTuple):
    """What becomes of the deadlines of the orders that are unfinished now."""

    orders: int
    """How many have one."""
    broken: Band
    """How many of these break."""
    first: tuple[LikelyLate, ...]
    """The earliest of those that break in half of the runs or more."""


class Rehearsal(NamedTuple):
    """What came of a scenario. Times are microseconds since 1970-01-01T00:00:00Z."""

    at_us: int
    """When the backlog was read."""
    backlog: int
    """Orders that were unfinished then."""
    processors: int
    runs: int
    """How often it was rehearsed; 0 where too little is known."""
    attempts: int
    """How many measured attempts the durations were drawn from."""
    arrivals_per_second: float
    """How many orders arrive, as they were rehearsed."""
    empty_seconds: Band | None
    """When nothing that may be begun is unfinished any more, from the beginning; None where nobody can tell."""
    why: str | None
    """Why nobody can tell, in words for people."""
    left: Band | None
    """Orders that are unfinished even then, since they are paused, or others of their key are in their way."""
    failed: Band | None
    """Orders that are Failed for good until then."""
    deadlines: Deadlines | None
    curve: tuple[Point, ...]
    notes: tuple[str, ...]
    """What was taken for granted, in words for people."""
    without: Rehearsal | None = None
    """The same without the `action` of the scenario, at the same times; None where it has none."""
