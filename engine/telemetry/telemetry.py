"""Telemetry: what an engine has done since its start, from one transaction to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from .durations import RELATIVE_ERROR, Durations, Histogram, Quantiles, histogram
from .history import Done, History, Point, Rates, Window
from .progress import Progress

MAX_ERRORS = 50
"""Classes of errors that are told apart; further ones count as OTHER."""
OTHER = "other"


class RecentRates(msgspec.Struct, frozen=True):
    """Orders a second, up to now; each over up to 5 seconds less."""

    last_minute: Rates
    last_15_minutes: Rates


class Timing(msgspec.Struct, frozen=True):
    """How long something took."""

    last_10_minutes: Quantiles
    overall: Quantiles
    """Since the start."""


class Timings(msgspec.Struct, frozen=True):
    """How long orders took. Quantiles are as near to the true ones as `relative_error` says."""

    queueing: Timing
    """From when an order could be processed to Processing."""
    processing: Timing
    """From Processing to Completed, of the attempts that succeeded."""
    end_to_end: Timing
    """From acceptance to Completed."""
    relative_error: float = RELATIVE_ERROR
    """How far a quantile may be from the true one, as a share of it."""


class Attempts(msgspec.Struct, frozen=True):
    """Attempts at orders since the start."""

    begun: int
    """How many."""
    failed: int
    """How many of them failed."""
    retries: int
    """How often an order was put back to be tried again after one, or retried by an operator."""
    failed_by_error: dict[str, int]
    """How many failed with which class of errors; those of the 51st class and later count as `other`."""


class Commits(msgspec.Struct, frozen=True):
    """Transactions since the start."""

    count: int
    steps: int
    """How many steps of orders they recorded."""
    last_10_minutes: Quantiles
    """How long they took."""
    overall: Quantiles


class Histograms(msgspec.Struct, frozen=True):
    """What was measured since the start, counted by size: durations in milliseconds."""

    queueing: Histogram
    processing: Histogram
    end_to_end: Histogram
    commits: Histogram
    commit_steps: Histogram
    """Numbers of steps that were recorded together."""


class Telemetry:
    """Adds up what transactions bring.

    Args:
        now_us: of a clock that only rises, in microseconds, as all times here.
    """

    def __init__(self, now_us: int) -> None:
        self._queueing, self._processing, self._end_to_end = Durations(), Durations(), Durations()
        self._commits = Durations()
        self._steps: Counter[int] = Counter()
        self._steps_total = 0
        self._begun = self._retries = 0
        self._errors: Counter[str] = Counter()
        self._history = History(now_us)
        self.done = Done()
        """What was done since the start."""

    def add(self, progress: Progress) -> None:
        """Add what a transaction has brought."""
        now_us = progress.at_us
        self._commits.add(progress.commit, now_us)
        self._steps.update(progress.steps.bins)
        self._steps_total += progress.steps.total
        self._begun += progress.attempts
        self._retries += progress.retries
        if progress.queueing.bins:
            self._queueing.add(progress.queueing, now_us)
        if progress.end_to_end.bins:
            self._processing.add(progress.processing, now_us)
            self._end_to_end.add(progress.end_to_end, now_us)
        if progress.errors:
            self._count_errors(progress.errors)
        done = Done(progress.accepted, progress.completed, progress.failed)
        if any(done):
            self.done = self.done.plus(done)
            self._history.add(done, progress.end_to_end.bins, now_us)

    def _count_errors(self, errors: Mapping[str, int]) -> None:
        for name, count in errors.items():
            self._errors[name if name in self._errors or len(self._errors) < MAX_ERRORS else OTHER] += count

    def rates(self, now_us: int) -> RecentRates:
        """How many orders a second there were lately."""
        return RecentRates(self._history.rates(60, now_us), self._history.rates(900, now_us))

    def timings(self, now_us: int) -> Timings:
        """How long orders took."""
        return Timings(
            _timing(self._queueing, now_us), _timing(self._processing, now_us), _timing(self._end_to_end, now_us)
        )

    def attempts(self) -> Attempts:
        """The attempts since the start."""
        return Attempts(self._begun, self._errors.total(), self._retries, dict(self._errors.most_common()))

    def commits(self, now_us: int) -> Commits:
        """The transactions since the start."""
        overall = self._commits.overall()
        return Commits(overall.count, self._steps_total // 1_000, self._commits.recent(now_us), overall)

    def histograms(self) -> Histograms:
        """All that was measured, counted by size."""
        return Histograms(
            self._queueing.histogram(),
            self._processing.histogram(),
            self._end_to_end.histogram(),
            self._commits.histogram(),
            histogram(self._steps, self._steps_total),
        )

    def points(self, window: Window, now_us: int, wall_us: int) -> list[Point]:
        """What each stretch of a window has brought, as `History.points`."""
        return self._history.points(window, now_us, wall_us)


def _timing(durations: Durations, now_us: int) -> Timing:
    return Timing(durations.recent(now_us), durations.overall())
