"""Lines: the queue as `OrderQueue` keeps it in the database, here in memory, so that time may run as fast as it can.

Those who stand in line are given; who joins gets a place by the same `Turns`. The next is found by the same rule: of
each line the one with the lowest place, and of these the one that has waited longest, where each priority counts as so
much time. `tests/store/test_lines.py` holds the two against each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

from .domain.weight import NO_WEIGHTS, Weights
from .queues import bounds_of
from .turns import PLACES, Turns


class InLine(NamedTuple):
    """The orders that stand in line, sorted by their places and their arrival. Nobody changes them."""

    ranks: Sequence[int]
    sequences: Sequence[int]
    since_us: Sequence[int]
    """Since when each of them counts as waiting, less what its priority counts for."""
    users: Sequence[str]
    untaken: Mapping[int, int]
    """For each line, by its number, the lowest place of an order that was never taken, where there is one."""


class Lines:
    """All lines, in memory. Orders are known by their slots: those that are given by their index.

    Args:
        given: those that stand in line at the beginning.
        weights: of users whose share of the turns is another than that of the others.
    """

    def __init__(self, given: InLine, weights: Weights = NO_WEIGHTS) -> None:
        self._weights = weights
        self._given = given
        self._heads: list[tuple[int, int]] = []  # how long the first of each line has waited, and the line's number
        self._lines: dict[int, _Line] = {}
        self._last_of_user: dict[tuple[int, str], int] | None = None
        begin, count = 0, len(given.ranks)
        while begin < count:
            number = given.ranks[begin] // PLACES
            end = bisect_left(given.ranks, bounds_of(number)[1], begin)
            self._lines[number] = _Line(given, begin, end)
            heappush(self._heads, (given.since_us[begin], number))
            begin = end

    def __bool__(self) -> bool:
        return bool(self._heads)

    def take(self) -> int:
        """Take the next order; there is one."""
        heads = self._heads
        number = heads[0][1]
        line = self._lines[number]
        slot = line.take()
        head = line.head_us
        if head is None:
            heappop(heads)
        else:
            heapreplace(heads, (head, number))
        return slot

    def join(self, slot: int, sequence: int, number: int, user: str, since_us: int) -> None:
        """An order gets a place, as if it arrived at this moment.

        Args:
            slot: what it is known by.
            sequence: the number of its arrival.
            number: the number of its line.
            user: whose it is.
            since_us: since when it counts as waiting, less what its priority counts for.
        """
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = _Line(self._given, 0, 0)
        if line.turns is None:
            line.turns = self._turns(number, line)
        if line.taken is not None:
            line.turns.come_to(*line.taken)
        was_empty = line.head_us is None
        is_first = line.put(line.turns.give(user), sequence, since_us, slot, user)
        if was_empty:
            heappush(self._heads, (since_us, number))
        elif is_first:
            index = next(index for index, head in enumerate(self._heads) if head[1] == number)
            self._heads[index] = (since_us, number)
            self._heads.sort()  # a sorted list is a heap

    def _turns(self, number: int, line: _Line) -> Turns:
        ranks = self._given.ranks
        if line.begin == line.end:
            place, _ = bounds_of(number)
            return Turns(place, place - 1, lambda _: None, weights=self._weights)
        begin = self._given.untaken.get(number, ranks[line.begin])
        if self._last_of_user is None:  # the last one of each user and line stays
            lines = (rank // PLACES for rank in ranks)
            self._last_of_user = dict(zip(zip(lines, self._given.users, strict=False), ranks, strict=False))
        last = self._last_of_user
        return Turns(begin, ranks[line.end - 1], lambda user: last.get((number, user)), weights=self._weights)


class _Line:
    """One line: a stretch of those that were given, and those that have joined."""

    __slots__ = ("_given", "_joined", "_next", "begin", "end", "head_us", "taken", "turns")

    def __init__(self, given: InLine, begin: int, end: int) -> None:
        self._given = given
        self.begin = self._next = begin
        self.end = end
        self._joined: list[tuple[int, int, int, int, str]] = []
        self.head_us: int | None = given.since_us[begin] if begin < end else None
        """How long the first has waited; None where nobody is there."""
        self.taken: tuple[int, str] | None = None
        """The place of the last one that was taken, and whose it is; None before the first."""
        self.turns: Turns | None = None

    def take(self) -> int:
        given, following, joined = self._given, self._next, self._joined
        if joined and (following == self.end or joined[0] < (given.ranks[following], given.sequences[following])):
            rank, _, _, slot, user = heappop(joined)
            self.taken = rank, user
        else:
            self.taken, slot = (given.ranks[following], given.users[following]), following
            self._next = following = following + 1
        if not joined:
            self.head_us = given.since_us[following] if following < self.end else None
        else:
            self._look()
        return slot

    def put(self, rank: int, sequence: int, since_us: int, slot: int, user: str) -> bool:
        heappush(self._joined, (rank, sequence, since_us, slot, user))
        self._look()
        first = self._joined[0]
        given, following = self._given, self._next
        is_before = following == self.end or first < (given.ranks[following], given.sequences[following])
        return first[3] == slot and is_before

    def _look(self) -> None:
        given, following, joined = self._given, self._next, self._joined
        if joined and (following == self.end or joined[0] < (given.ranks[following], given.sequences[following])):
            self.head_us = joined[0][2]
        else:
            self.head_us = given.since_us[following]
