"""Durations: how long something takes, as quantiles and as a histogram, in bounded memory.

What is measured is counted in bins of equal width on a logarithmic scale, as DDSketch does (C. Masson, J. E. Rim,
H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019). The width
is such that powers of two lie between two bins, so that a histogram by powers of two is exact.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

_BINS = 35  # from one power of two to the next
_GAMMA = 2 ** (1 / _BINS)
_ONE = 10 * _BINS  # the number of the bin that ends at 1: the first ends below a thousandth
_ENDS = [int(1_000 * 2 ** (power / _BINS)) for power in range(-_ONE, 40 * _BINS)]

RELATIVE_ERROR = 0.01
"""How far a quantile may be from the true one, as a share of it: half of a bin's width."""
BOUNDS = tuple(2**power for power in range(25))
"""Upper bounds of a histogram's buckets, in the unit of what is measured: milliseconds, mostly."""
RECENT_MINUTES = 10

_MINUTE_US = 60_000_000


class Measured(NamedTuple):
    """What was measured at once."""

    bins: Counter[int]
    """How many of them are in each bin, by its number: 1,750 bins are enough for a microsecond and for a lifetime."""
    total: int
    """Their sum, in thousandths of their unit."""

    @classmethod
    def of(cls, values: list[int]) -> Measured:
        """Count these.

        Args:
            values: in thousandths of their unit: microseconds, or thousandths of a number of something. What is less
                than 0 counts as 0. Many cost hardly more than few: they are sorted, and each bin takes its share.
        """
        values.sort()
        if values and values[0] < 0:
            values = [max(0, value) for value in values]
        bins: Counter[int] = Counter()
        begin, count = 0, len(values)
        while begin < count:
            number = bisect_left(_ENDS, values[begin])
            end = bisect_right(values, _ENDS[number], begin) if number < len(_ENDS) else count
            bins[number] = end - begin
            begin = end
        return cls(bins, sum(values))


NOTHING = Measured(Counter(), 0)


class Quantiles(msgspec.Struct, frozen=True):
    """How long it took, in seconds."""

    count: int
    """How many durations these are of."""
    p50: float | None
    """Half of them were shorter; null where nothing was measured."""
    p95: float | None
    """95 of 100 were shorter."""
    p99: float | None
    """99 of 100 were shorter."""


class Histogram(msgspec.Struct, frozen=True):
    """The same, counted by size, since the start."""

    cumulative: tuple[int, ...]
    """For each of BOUNDS, how many were not larger."""
    count: int
    """How many there were."""
    total: float
    """Their sum, in the unit of the bounds."""


class Durations:
    """How long something takes: since the start, and in the last RECENT_MINUTES.

    Example:
        >>> durations = Durations()
        >>> durations.add(Measured.of([20_000] * 99 + [3_000_000]), now_us=0)
        >>> durations.histogram().count
        100
        >>> abs(durations.recent(now_us=0).p50 - 0.02) <= 0.02 * RELATIVE_ERROR
        True
    """

    def __init__(self) -> None:
        self._before: Counter[int] = Counter()  # the present minute
        self._minutes: deque[tuple[int, Counter[int]]] = deque(maxlen=RECENT_MINUTES)
        self._total = 0

    def add(self, measured: Measured, now_us: int) -> None:
        """Add what has just been measured.

        Args:
            measured: that, in microseconds.
            now_us: of a clock that only rises, in microseconds.
        """
        minute = now_us // _MINUTE_US
        if not self._minutes or self._minutes[-1][0] < minute:
            self._before = self._all()
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1].update(measured.bins)
        self._total += measured.total

    def overall(self) -> Quantiles:
        """Of all since the start."""
        return quantiles(self._all())

    def recent(self, now_us: int) -> Quantiles:
        """Of the last RECENT_MINUTES, the present one included as far as it has come.

        Args:
            now_us: of the same clock.
        """
        merged: Counter[int] = Counter()
        for minute, bins in self._minutes:
            if minute > now_us // _MINUTE_US - RECENT_MINUTES:
                merged.update(bins)
        return quantiles(merged)

    def histogram(self) -> Histogram:
        """All since the start, counted by length."""
        return histogram(self._all(), self._total)

    def _all(self) -> Counter[int]:
        merged = self._before.copy()
        if self._minutes:
            merged.update(self._minutes[-1][1])
        return merged


def quantiles(bins: Mapping[int, int]) -> Quantiles:
    """The quantiles that people ask for.

    Args:
        bins: where they are counted.
    """
    count = sum(bins.values())
    return Quantiles(count, *_at_ranks(bins, [share * (count - 1) for share in (0.5, 0.95, 0.99)]))


def _at_ranks(bins: Mapping[int, int], ranks: Iterable[float]) -> list[float | None]:
    below = 0
    found: list[float | None] = []
    left = iter(sorted(bins.items()))
    number = 0
    for rank in ranks:
        while below <= rank and (entry := next(left, None)) is not None:
            number = entry[0]
            below += entry[1]
        found.append(_middle(number) if below else None)
    return found


def _middle(number: int) -> float:
    """What stands for all in a bin, in seconds: as far from its begin as from its end, in shares of these."""
    return float(f"{2 * _GAMMA ** (number - _ONE) / (_GAMMA + 1) / 1_000:.4g}")


def histogram(bins: Mapping[int, int], total: int) -> Histogram:
    """What was measured, counted by size.

    Args:
        bins: where it was counted.
        total: its sum, in thousandths.
    """
    found = [0] * (len(BOUNDS) + 1)
    for number, count in bins.items():
        found[min(max(0, -((_ONE - number) // _BINS)), len(BOUNDS))] += count
    below, cumulative = 0, []
    for count in found:
        below += count
        cumulative.append(below)
    return Histogram(tuple(cumulative[:-1]), below, total / 1_000)
