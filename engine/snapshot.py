"""Snapshots: how an engine is doing at one moment, and what operators have set about it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ..store.domain.metrics import OrderMetrics
from ..store.domain.outlook import Accuracy
from ..store.domain.record import utc
from .telemetry.history import Done, Point, Window
from .telemetry.telemetry import Attempts, Commits, Histograms, RecentRates, Timings


class MetricsSnapshot(OrderMetrics, frozen=True, kw_only=True):
    """The metrics of one moment, of the orders and of the engine."""

    simulated: bool
    """Whether work is only simulated, since no handler was given."""
    backlog: int
    """Unfinished orders: Pending and Processing."""
    processors: int
    """Processor actors."""
    processors_busy: int
    """How many of them have an order in hand."""
    paused: bool
    """Whether no order is started, since somebody has paused the engine."""
    rates: RecentRates
    """How many orders a second were accepted, completed and failed lately."""
    timings: Timings
    """How long orders took."""
    attempts: Attempts
    """How often orders were put through the handler since the start, and how often that failed."""
    commits: Commits
    """How long transactions took, and how much was in them."""
    mailboxes: dict[str, int]
    """How many messages wait for each of the actors that there is one of."""
    wal_bytes: int | None
    """The size of the write-ahead log; null where it cannot be told."""
    abandoned_handlers: int
    """Handlers that have overrun their time and run on; their orders have moved on without them."""
    incidents: int
    """Unexpected errors in actors since the start, each of them logged."""
    uptime_seconds: float
    """Time since the start, in seconds."""
    outlooks: Accuracy | None = None
    """How often the expected spans of orders were right; null before the first was judged."""


class Exposition(msgspec.Struct, frozen=True):
    """The metrics of one moment, for a system that records them."""

    snapshot: MetricsSnapshot
    done: Done
    """What was done since the start."""
    histograms: Histograms


class Chart(msgspec.Struct, frozen=True):
    """What was done when, kept in memory since the start of the engine."""

    window: Window
    """How far it goes back."""
    points: list[Point]
    """Oldest first; stretches in which nothing happened are left out. Each is an array of its fields."""


class ProcessorSnapshot(msgspec.Struct, frozen=True):
    """What one of the processors is up to."""

    number: int
    """What it is called, 1 for the first."""
    since_us: int
    """Since when it has had its order in hand, or none, in microseconds since 1970-01-01T00:00:00Z."""
    order_id: str | None = None
    """The order that it has in hand; None while it is idle."""
    user_id: str | None = None
    """That order's."""
    attempt: int | None = None
    """Which attempt at that order it is, 1 for the first."""
    trouble: str | None = None
    """Why it cannot process any order, in words for people; None while it can."""

    @property
    def since(self) -> datetime:
        """Since when it has had its order in hand, or none, in UTC."""
        return utc(self.since_us)


class ControlSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What operators have set about an engine."""

    paused: bool
    """Whether no order is started."""
    paused_until_us: int | None
    """When the pause ends by itself, microseconds since 1970-01-01T00:00:00Z; None where somebody has to end it."""
    reason: str | None
    """Why it is paused, in words for people; None where nobody said, or where it is not."""
    error: str | None
    """The class of error that the engine has paused itself for; None where somebody has, or where it is not paused."""
    processors: int
    """How many processors there are."""

    @property
    def paused_until(self) -> datetime | None:
        """When the pause ends by itself, in UTC; None where somebody has to end it."""
        return None if self.paused_until_us is None else utc(self.paused_until_us)
