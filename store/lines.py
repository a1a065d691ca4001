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
from .turns import PLACES, STEP, Turns, step_for


class InLine(NamedTuple):
    """The orders that stand in line, sorted by their places and their arrival. Nobody changes them."""

    ranks: Sequence[int]
    sequences: Sequence[int]
    since_us: Sequence[int]
    """Since when each of them counts as waiting, less what its priority counts for."""
    users: Sequence[str]
    untaken: Mapping[int, int]
    """For each line, by its number, the lowest place of an order that was never taken, where there is one."""


_Head = tuple[int, int, int]
"""The first of a line: since when it counts as waiting, the number of its arrival, and the line's."""
Standing = tuple[int, int, int, int, str]
"""An order in a line: its place, the number of its arrival, since when it counts as waiting, its slot and its user."""


class Lines:
    """All lines, in memory. Orders are known by their slots: those that are given by their index.

    Args:
        given: those that stand in line at the beginning.
        weights: of users whose share of the turns is another than that of the others.
    """

    def __init__(self, given: InLine, weights: Weights = NO_WEIGHTS) -> None:
        self._weights = weights
        self._steps = {user: step_for(weight) for user, weight in weights.items()}
        self._given = given
        self._heads: list[_Head] = []
        self._lines: dict[int, _Line] = {}
        # The last place that is kept for an order, of each user in each line.
        self._kept_places: dict[tuple[int, str], int] = {}
        self._last_of_user: dict[tuple[int, str], int] | None = None
        begin, count = 0, len(given.ranks)
        while begin < count:
            number = given.ranks[begin] // PLACES
            end = bisect_left(given.ranks, bounds_of(number)[1], begin)
            line = self._lines[number] = _Line(given, number, begin, end)
            self._show(line)
            begin = end

    def __bool__(self) -> bool:
        return bool(self._heads)

    def take(self) -> int:
        """Take the next order; there is one."""
        number = self._heads[0][2]
        rank, _, _, slot, user = self._pop()
        self._come_to(number, rank, user)
        return slot

    def stretch(self) -> tuple[int, int]:
        """The slots that are next one after another as long as nobody joins: the first one, and the end of them.

        There may be more that follow; where nothing is known without comparing, there are none.
        """
        if len(self._heads) != 1:
            return 0, 0
        return self._lines[self._heads[0][2]].stretch()

    def skip_to(self, slot: int) -> None:
        """Those of the `stretch` before this one were taken."""
        (_, _, number), *_ = self._heads
        line = self._lines[number]
        line.skip_to(slot)
        self._come_to(number, self._given.ranks[slot - 1], self._given.users[slot - 1])
        self._heads = [] if line.head is None else [line.head]

    def keep_place(self, number: int, user: str, rank: int) -> None:
        """An order has a place, and does not stand there at the beginning.

        Args:
            number: of its line.
            user: whose it is.
            rank: its place.
        """
        self._kept_places[number, user] = max(rank, self._kept_places.get((number, user), rank))

    def give(self, number: int, user: str) -> int:
        """The place of an order that arrives at this moment, whether it joins at once or not.

        Args:
            number: the number of its line.
            user: whose it is.
        """
        line = self._line(number)
        if line.turns is None:
            line.turns = self._turns(number, line)
        line.turns.begin_at(line.begins_at)
        return line.turns.give(user)

    def join(self, slot: int, sequence: int, number: int, user: str, since_us: int, place: int | None = None) -> None:
        """An order gets in line.

        Args:
            slot: what it is known by.
            sequence: the number of its arrival.
            number: the number of its line.
            user: whose it is.
            since_us: since when it counts as waiting, less what its priority counts for.
            place: its place; by default it gets one, as if it arrived at this moment.
        """
        rank = self.give(number, user) if place is None else place
        self._put(number, (rank, sequence, since_us, slot, user))

    def _line(self, number: int) -> _Line:
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = _Line(self._given, number, 0, 0)
        return line

    def _come_to(self, number: int, rank: int, user: str) -> None:
        line = self._lines[number]
        line.begins_at = max(line.begins_at, rank + self._steps.get(user, STEP))

    def _put(self, number: int, standing: Standing) -> None:
        line = self._line(number)
        before, after = line.head, line.put(standing)
        if before is None:
            self._show(line)
        elif after != before and before in self._heads:
            self._heads[self._heads.index(before)] = after
            self._heads.sort()  # a sorted list is a heap

    def _show(self, line: _Line) -> None:
        if line.head is not None:
            heappush(self._heads, line.head)

    def _pop(self) -> Standing:
        heads = self._heads
        line = self._lines[heads[0][2]]
        standing = line.pop()
        if line.head is None:
            heappop(heads)
        else:
            heapreplace(heads, line.head)
        return standing

    def _turns(self, number: int, line: _Line) -> Turns:
        place, end = bounds_of(number)
        ranks = self._given.ranks
        begin = place if line.begin == line.end else self._given.untaken.get(number, ranks[line.begin])
        if self._last_of_user is None:
            self._last_of_user = self._last_of_users()
        last = self._last_of_user
        return Turns(begin, end, lambda user: last.get((number, user)), weights=self._weights)

    def _last_of_users(self) -> dict[tuple[int, str], int]:
        # The last one of each user and line stays.
        lines = (rank // PLACES for rank in self._given.ranks)
        last = dict(zip(zip(lines, self._given.users, strict=False), self._given.ranks, strict=False))
        for place, rank in self._kept_places.items():
            last[place] = max(rank, last.get(place, rank))
        return last


class _Line:
    """One line: a stretch of those that were given, and those that have joined."""

    __slots__ = ("_given", "_joined", "_next", "_number", "begin", "begins_at", "end", "head", "turns")

    def __init__(self, given: InLine, number: int, begin: int, end: int) -> None:
        self._given = given
        self._number = number
        self.begin = self._next = begin
        self.end = end
        self._joined: list[Standing] = []
        self.head: _Head | None = self._look()
        """Its first; None where nobody is there."""
        self.begins_at = 0
        """Nobody gets a place before this one, since the line has come there."""
        self.turns: Turns | None = None

    def pop(self) -> Standing:
        """The first one; it is no longer there."""
        given, following = self._given, self._next
        if self._is_joined_first():
            first = heappop(self._joined)
        else:
            first = (
                given.ranks[following],
                given.sequences[following],
                given.since_us[following],
                following,
                given.users[following],
            )
            self._next = following + 1
        self.head = self._look()
        return first

    def stretch(self) -> tuple[int, int]:
        """As of `Lines`."""
        given, following, joined = self._given, self._next, self._joined
        return following, bisect_left(given.ranks, joined[0][0], following, self.end) if joined else self.end

    def skip_to(self, slot: int) -> None:
        """Likewise."""
        self._next = slot
        self.head = self._look()

    def put(self, standing: Standing) -> _Head:
        """One more is there.

        Returns:
            Which is the first now.
        """
        heappush(self._joined, standing)
        head = self.head = self._look()
        assert head is not None
        return head

    def _look(self) -> _Head | None:
        if self._is_joined_first():
            _, sequence, since_us, *_ = self._joined[0]
            return since_us, sequence, self._number
        given, following = self._given, self._next
        return (given.since_us[following], given.sequences[following], self._number) if following < self.end else None

    def _is_joined_first(self) -> bool:
        given, following, joined = self._given, self._next, self._joined
        return bool(joined) and (
            following == self.end or joined[0] < (given.ranks[following], given.sequences[following])
        )
