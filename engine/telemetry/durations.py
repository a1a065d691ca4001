"""Durations: how long something takes, as quantiles and as a histogram, in bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from itertools import accumulate

import msgspec
from ddsketch import LogCollapsingLowestDenseDDSketch

RELATIVE_ERROR = 0.01
"""How far a quantile may be from the true one, as a share of it: what DDSketch guarantees (Masson, Rim, Lee 2019)."""
RECENT_MINUTES = 10
BUCKET_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Upper bounds of the histogram's buckets."""

# From a microsecond to a year needs some 1,600 bins at this error; below the lowest of them they are put together.
_BINS = 2_048
_MINUTE_US = 60_000_000


class Quantiles(msgspec.Struct, frozen=True):
    """How long it took, in seconds; None where nothing was measured."""

    count: int
    """How many durations these are of."""
    p50: float | None
    """Half of them were shorter."""
    p95: float | None
    """95 of 100 were shorter."""
    p99: float | None
    """99 of 100 were shorter."""


class Histogram(msgspec.Struct, frozen=True):
    """The same durations, counted by length."""

    cumulative: tuple[int, ...]
    """For each of BUCKET_SECONDS, how many were not longer."""
    count: int
    """How many there were."""
    total_seconds: float
    """Their sum."""


class Sketch:
    """Quantiles of a stream of durations."""

    def __init__(self) -> None:
        self._sketch = LogCollapsingLowestDenseDDSketch(RELATIVE_ERROR, _BINS)

    def add(self, microseconds: int, times: int) -> None:
        """Add a duration.

        Args:
            microseconds: how long.
            times: how often.
        """
        self._sketch.add(microseconds / 1e6, times)

    def merge(self, other: Sketch) -> None:
        """Add all that another one has."""
        self._sketch.merge(other._sketch)

    def quantile(self, share: float) -> float | None:
        """What this share of the durations is not longer than, in seconds; None where there is none."""
        found: float | None = self._sketch.get_quantile_value(share)
        return found

    def quantiles(self) -> Quantiles:
        """The quantiles that people ask for."""
        return Quantiles(int(self._sketch.count), *map(self.quantile, (0.5, 0.95, 0.99)))


class Durations:
    """How long something takes: since the start, and in the last RECENT_MINUTES.

    Example:
        >>> durations = Durations()
        >>> durations.add({20_000: 99, 3_000_000: 1}, now_us=0)
        >>> durations.histogram().count
        100
        >>> abs(durations.recent(now_us=0).p50 - 0.02) <= 0.02 * RELATIVE_ERROR
        True
    """

    def __init__(self) -> None:
        self._overall = Sketch()
        self._minutes: deque[tuple[int, Sketch]] = deque(maxlen=RECENT_MINUTES)
        self._buckets = [0] * (len(BUCKET_SECONDS) + 1)
        self._total_us = 0

    def add(self, durations: Mapping[int, int], now_us: int) -> None:
        """Add what has just been measured.

        Args:
            durations: how often each was, by its length in microseconds.
            now_us: of a clock that only rises, in microseconds.
        """
        minute = now_us // _MINUTE_US
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Sketch()))
        sketches = (self._overall, self._minutes[-1][1])
        for microseconds, times in durations.items():
            for sketch in sketches:
                sketch.add(microseconds, times)
            self._buckets[bisect_left(BUCKET_SECONDS, microseconds / 1e6)] += times
            self._total_us += microseconds * times

    def overall(self) -> Quantiles:
        """Of all since the start."""
        return self._overall.quantiles()

    def recent(self, now_us: int) -> Quantiles:
        """Of the last RECENT_MINUTES, the present one included as far as it has come.

        Args:
            now_us: of the same clock.
        """
        merged = Sketch()
        for minute, sketch in self._minutes:
            if minute > now_us // _MINUTE_US - RECENT_MINUTES:
                merged.merge(sketch)
        return merged.quantiles()

    def histogram(self) -> Histogram:
        """All since the start, counted by length."""
        *cumulative, count = accumulate(self._buckets)
        return Histogram(tuple(cumulative), count, self._total_us / 1e6)
