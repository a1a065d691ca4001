"""History: how much was done in each stretch of time, for rates and charts, in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from .durations import quantiles


class Window(StrEnum):
    """How far back a chart goes."""

    QUARTER_HOUR = "15m"
    """15 minutes, a point for 5 seconds."""
    DAY = "day"
    """24 hours, a point for 5 minutes."""
    WEEK = "week"
    """7 days, a point for an hour."""


class _Grain(NamedTuple):
    seconds: int
    points: int


_GRAINS = {Window.QUARTER_HOUR: _Grain(5, 180), Window.DAY: _Grain(300, 288), Window.WEEK: _Grain(3_600, 168)}


class Done(NamedTuple):
    """What was done, in numbers of orders."""

    accepted: int = 0
    completed: int = 0
    failed: int = 0

    def plus(self, more: Done) -> Done:
        """Both together."""
        return Done(self.accepted + more.accepted, self.completed + more.completed, self.failed + more.failed)


class Point(msgspec.Struct, frozen=True, array_like=True):
    """What a stretch of time has brought."""

    start: float
    """When it began, in seconds since 1970-01-01T00:00:00Z."""
    seconds: float
    """How long it is; the last one only as long as it has lasted yet."""
    accepted: int
    completed: int
    failed: int
    p50: float | None
    """Half of the orders that were completed then had taken less, from acceptance to the end, in seconds."""
    p95: float | None
    """95 of 100 had."""


class Rates(msgspec.Struct, frozen=True):
    """Orders a second."""

    accepted: float
    completed: float
    failed: float


class _Series:
    """Points of one grain. The stretches are those of the rising clock; only what is shown has the time of day."""

    def __init__(self, grain: _Grain) -> None:
        self._width_us = grain.seconds * 1_000_000
        self._closed: deque[tuple[int, Done, float | None, float | None]] = deque(maxlen=grain.points - 1)
        self._number: int | None = None
        self._done = Done()
        self._bins: Counter[int] = Counter()

    def add(self, done: Done, bins: Mapping[int, int], now_us: int) -> None:
        self._advance(now_us)
        self._done = self._done.plus(done)
        self._bins.update(bins)

    def points(self, now_us: int, wall_us: int) -> list[Point]:
        self._advance(now_us)
        assert self._number is not None
        present = (self._number, self._done, *self._quantiles())
        since = self._number - (self._closed.maxlen or 0)
        points = []
        for number, done, p50, p95 in (*self._closed, present):
            if number >= since:
                began_us = number * self._width_us
                lasts_us = min(self._width_us, now_us - began_us)
                start = round((wall_us - now_us + began_us) / 1e6, 3)  # the two clocks were not read at once
                points.append(Point(start, lasts_us / 1e6, *done, p50, p95))
        return points

    def rates(self, seconds: int, began_us: int, now_us: int) -> Rates:
        self._advance(now_us)
        assert self._number is not None
        since = self._number - seconds * 1_000_000 // self._width_us + 1
        found = [self._done, *(done for number, done, _, _ in self._closed if number >= since)]
        lasted = max(1.0, (now_us - max(began_us, since * self._width_us)) / 1e6)
        return Rates(*(round(sum(orders) / lasted, 3) for orders in zip(*found, strict=True)))

    def _advance(self, now_us: int) -> None:
        number = now_us // self._width_us
        if self._number is not None and number <= self._number:  # what was stored a moment ago may be told of later
            return
        if self._number is not None and any(self._done):  # a stretch without anything needs no place
            self._closed.append((self._number, self._done, *self._quantiles()))
        self._number, self._done, self._bins = number, Done(), Counter()

    def _quantiles(self) -> tuple[float | None, float | None]:
        found = quantiles(self._bins)
        return found.p50, found.p95


class History:
    """How much was done when.

    Args:
        now_us: of a clock that only rises, in microseconds: rates are told from here on.
    """

    def __init__(self, now_us: int) -> None:
        self._began_us = now_us
        self._series = {window: _Series(grain) for window, grain in _GRAINS.items()}

    def add(self, done: Done, bins: Mapping[int, int], now_us: int) -> None:
        """Add what was just done.

        Args:
            done: how much.
            bins: the times from acceptance to completion, as `Measured` counts milliseconds.
            now_us: of the same clock.
        """
        for series in self._series.values():
            series.add(done, bins, now_us)

    def points(self, window: Window, now_us: int, wall_us: int) -> list[Point]:
        """What each stretch of a window has brought, oldest first; those without anything are left out.

        Args:
            window: how far back.
            now_us: of the same clock.
            wall_us: what the clock on the wall says at the same moment, microseconds since 1970-01-01T00:00:00Z.
        """
        return self._series[window].points(now_us, wall_us)

    def rates(self, seconds: int, now_us: int) -> Rates:
        """Orders a second.

        Args:
            seconds: over how long, up to now: 10 to 900, or up to 5 less; less where the engine runs for less yet.
            now_us: of the same clock.
        """
        return self._series[Window.QUARTER_HOUR].rates(seconds, self._began_us, now_us)
