"""Line counts: how many orders of a line go before a place, without counting all of them each time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

import msgspec
from peewee import Database

from .queries import IS_IN_LINE
from .queues import bounds_of
from .statements import run
from .turns import PLACES

MAX_COUNTED = 1_000_000
"""Orders of a line that are told apart; a place behind more of them is told as if it were behind so many."""
APART = 512
"""Orders from one mark to the next."""
LASTS_US = 10
"""For each order that was counted, marks are good for so long: less than a hundredth of a processor makes them anew."""

_MOST_BETWEEN = 4 * APART
_LEAST_ARRIVED = 1_000

_FIRST = (
    f"SELECT rank, sequence FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} ORDER BY rank, sequence LIMIT 1"
)
# As two lists that are in sequence already: a comparison of both columns at once would look through a whole place.
_FURTHER = f"""
    SELECT rank, sequence FROM (
      SELECT rank, sequence FROM orders WHERE rank = ? AND sequence >= ? AND {IS_IN_LINE}
      UNION ALL SELECT rank, sequence FROM orders WHERE rank > ? AND rank < ? AND {IS_IN_LINE}) AS found
    ORDER BY rank, sequence LIMIT 1 OFFSET {APART}
"""
_COUNT_AT = f"SELECT count(*) FROM orders WHERE rank = ? AND sequence >= ? AND sequence < ? AND {IS_IN_LINE}"
_COUNT = f"""
    SELECT (SELECT count(*) FROM orders WHERE rank = ? AND sequence >= ? AND {IS_IN_LINE})
      + (SELECT count(*) FROM orders WHERE rank > ? AND rank < ? AND {IS_IN_LINE})
      + (SELECT count(*) FROM orders WHERE rank = ? AND sequence < ? AND {IS_IN_LINE})
"""
_LAST = "SELECT coalesce(max(sequence), 0) FROM orders"
_ARRIVED = """
    SELECT sequence, CASE WHEN ready_at IS NOT NULL AND parked IS NULL THEN rank END
    FROM orders WHERE sequence > ? ORDER BY sequence LIMIT ?
"""


class Spot(NamedTuple):
    """A point in a line: before it go those with a lower rank, and of one rank, those with a lower sequence."""

    rank: int
    sequence: int = 0


class LineCounts:
    """Remembers where in each line every 512th order stood.

    Only what is before the first of these, and between the last of them and the place that is asked for, is counted in
    the table. Orders that have come since are added, and those that were taken left from the front, so that they are
    not counted. What is not seen until a line is counted anew: orders that were cancelled, rescheduled, or got in line
    some time after they had come. That is after ten microseconds for each that was counted: a second for a hundred
    thousand.

    Used by one thread.
    """

    def __init__(self) -> None:
        self._lines: dict[int, _Marks] = {}
        self._seen = 0  # the last of the orders that have come
        self._now_us = 0

    def look_around(self, database: Database, now_us: int) -> None:
        """See which orders have come, and forget what was counted too long ago: before anything is asked for.

        Args:
            database: connected in this thread.
            now_us: microseconds since 1970-01-01T00:00:00Z.
        """
        self._now_us = now_us
        self._lines = {line: marks for line, marks in self._lines.items() if marks.are_good_at(now_us)}
        if not self._lines:
            (self._seen,) = run(database, _LAST).fetchone()
            return
        most = max(_LEAST_ARRIVED, sum(marks.counted for marks in self._lines.values()) // 16)
        arrived = run(database, _ARRIVED, (self._seen, most)).fetchall()
        if len(arrived) == most:  # counting anew is less work
            self._lines.clear()
            (self._seen,) = run(database, _LAST).fetchone()
            return
        for sequence, rank in arrived:
            if rank is not None and (marks := self._lines.get(rank // PLACES)) is not None:
                marks.add(Spot(rank, sequence))
            self._seen = sequence

    def before(self, database: Database, line: int, spot: Spot) -> int:
        """How many orders of a line go before a spot in it.

        Args:
            database: connected in this thread.
            line: its number.
            spot: that.
        """
        front = _first(database, line)
        if front is None or spot <= front:
            return 0
        marks = self._lines.get(line)
        if marks is None:
            marks = self._lines[line] = _Marks([front], [], self._now_us)
            _extend(database, line, marks, spot)
        if marks.counted >= MAX_COUNTED and marks.spots[-1] < spot:
            return MAX_COUNTED
        count, is_too_much = _count_by(database, line, marks, front, spot)
        if is_too_much:
            del self._lines[line]
        return min(MAX_COUNTED, count)


class _Marks(msgspec.Struct):
    """Of a line."""

    spots: list[Spot]
    """Where orders stood, about as many from one to the next; in the sequence of the line."""
    between: list[int]
    """How many orders there are from each to the next."""
    made_us: int
    """When, microseconds since 1970-01-01T00:00:00Z."""

    @property
    def counted(self) -> int:
        """How many orders there are between the first and the last."""
        return len(self.between) * APART

    def are_good_at(self, now_us: int) -> bool:
        return 0 <= now_us - self.made_us <= LASTS_US * self.counted

    def add(self, spot: Spot) -> None:
        """An order has come."""
        index = bisect_right(self.spots, spot) - 1
        if 0 <= index < len(self.between):
            self.between[index] += 1


def _count_by(database: Database, line: int, marks: _Marks, front: Spot, spot: Spot) -> tuple[int, bool]:
    # And whether there was so much to count that it should be marked anew.
    spots, between = marks.spots, marks.between
    last = bisect_right(spots, spot) - 1
    first = bisect_left(spots, front)
    if first > last:
        count = _count(database, front, spot)
        return count, count > _MOST_BETWEEN
    begin, end = _count(database, front, spots[first]), _count(database, spots[last], spot)
    if last == len(between) and end > 2 * APART:  # the line has become longer
        _extend(database, line, marks, spot)
    return begin + sum(between[first:last]) + end, max(begin, end) > _MOST_BETWEEN


def _extend(database: Database, line: int, marks: _Marks, spot: Spot) -> None:
    _, end = bounds_of(line)
    while marks.spots[-1] < spot and marks.counted < MAX_COUNTED:
        last = marks.spots[-1]
        further = run(database, _FURTHER, (*last, last.rank, end)).fetchone()
        if further is None:
            return
        marks.spots.append(Spot(*further))
        marks.between.append(APART)


def _first(database: Database, line: int) -> Spot | None:
    found = run(database, _FIRST, bounds_of(line)).fetchone()
    return None if found is None else Spot(*found)


def _count(database: Database, begin: Spot, end: Spot) -> int:
    if begin >= end:
        return 0
    if begin.rank == end.rank:
        (count,) = run(database, _COUNT_AT, (*begin, end.sequence)).fetchone()
    else:
        (count,) = run(database, _COUNT, (*begin, begin.rank, end.rank, *end)).fetchone()
    return int(count)
