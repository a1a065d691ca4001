"""Limited lines: the lines in memory where limits keep some orders waiting, as `Limits` does in the database.

An order that is met while a value of it is at its limit is parked, and is back in its line when there may be room for
it. A line whose queue is at its limit is left out until there is room. `tests/store/test_limited_lines.py` holds this
against the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from .domain.limit import Limit
from .domain.weight import Weights
from .lines import InLine, Lines, Standing
from .queues import queue_of

_LET_GO_AT_ONCE = 1_000


class LimitState(NamedTuple):
    """A limit, and how it stands."""

    limit: Limit
    next_us: int = 0
    """When the next order is to be begun at an even rate, on the queue's clock."""
    closed_until_us: int | None = None
    """None is begun before; None where nobody said so."""


class LimitStates(NamedTuple):
    """All limits."""

    queues: Mapping[int, LimitState]
    """Of queues, by their numbers."""
    of_value: Callable[[str], LimitState]
    """Gives the limit by a value of orders, by the name that `Limits.names_of` has for it."""


class LimitedLines(Lines):
    """All lines, and what is at its limit.

    Args:
        given: those that stand in line at the beginning.
        weights: of users whose share of the turns is another than that of the others.
        states: the limits.
        names_of: gives the names of the limits by values that an order is under, by its slot.
    """

    def __init__(
        self, given: InLine, weights: Weights, states: LimitStates, names_of: Callable[[int], Sequence[str]]
    ) -> None:
        super().__init__(given, weights)
        self._names_of = names_of
        self._states = states
        self._queues = {number: _Limited(number, state) for number, state in states.queues.items()}
        self._values: dict[str, _Limited] = {}
        self._opened: set[_Limited] = set()  # where there may be room for orders that wait
        self._opening: list[tuple[int, int, _Limited]] = []  # when a rate lets one begin, and which
        self._away = 0  # how many orders are parked, and how many lines are left out

    def __bool__(self) -> bool:
        return bool(self._heads or self._away)

    @property
    def opens_us(self) -> int | None:
        """When an order may be begun that a rate keeps waiting; None where none does."""
        opening = self._opening
        while opening and opening[0][2].opens_us != opening[0][0]:
            heappop(opening)
        return opening[0][0] if opening else None

    def park(self, name: str, number: int, standing: Standing) -> None:
        """An order was parked before the beginning.

        Args:
            name: of the limit that it waits for.
            number: of its line.
            standing: its place and the rest; the slot is as of those that join.
        """
        limited = self._limited(name)
        heappush(limited.parked.setdefault(number, []), standing)
        self._away += 1
        self._opened.add(limited)
        rank, *_, user = standing
        self.keep_place(number, user, rank)

    def note_begun(self, number: int, names: Iterable[str]) -> None:
        """An order is Processing at the beginning.

        Args:
            number: of its line.
            names: the limits by values that it is under.
        """
        for limited in self._over(number, names):
            limited.in_hand += 1

    def note_ended(self, number: int, names: Iterable[str]) -> None:
        """An order is Processing no longer. Arguments as of `note_begun`."""
        for limited in self._over(number, names):
            limited.in_hand -= 1
            if limited.parked or limited.left_out:
                self._opened.add(limited)

    def take_at(self, now_us: int) -> int | None:
        """Take the next order that may be begun.

        Args:
            now_us: the time, on the queue's clock.

        Returns:
            Its slot; None where there is none.
        """
        while True:
            self._let_go(now_us)
            slot = self._take_first(now_us)
            if slot is not None or not self._opened:
                return slot

    def _take_first(self, now_us: int) -> int | None:
        heads, queues = self._heads, self._queues
        while heads:
            number = heads[0][2]
            of_queue = queues.get(queue_of(number)) if queues else None
            if of_queue is not None and of_queue.room(now_us) < 1:
                heappop(heads)
                of_queue.left_out.append(number)
                self._away += 1
                self._open_in_time(of_queue, 0, now_us)
                continue
            standing = self._pop()
            values = [self._limited(name) for name in self._names_of(standing[3])]
            closed = next((limited for limited in values if limited.room(now_us) < 1), None)
            if closed is not None:
                self._park(closed, number, standing, values, now_us)
                continue
            for limited in values if of_queue is None else (*values, of_queue):
                limited.count(now_us)
            self._come_to(number, standing[0], standing[4])
            return standing[3]
        return None

    def _park(self, closed: _Limited, number: int, standing: Standing, values: Iterable[_Limited], now_us: int) -> None:
        heappush(closed.parked.setdefault(number, []), standing)
        self._away += 1
        self._open_in_time(closed, 0, now_us)
        # Others of its values may have been parked before it could be begun.
        self._opened.update(limited for limited in values if limited is not closed and limited.parked)

    def _let_go(self, now_us: int) -> None:
        while (opens_us := self.opens_us) is not None and opens_us <= now_us:
            limited = heappop(self._opening)[2]
            limited.opens_us = None
            self._opened.add(limited)
        if not self._opened:
            return
        opened, self._opened = self._opened, set()
        for limited in opened:
            room = int(min(_LET_GO_AT_ONCE, max(0, limited.room(now_us))))
            if room:
                self._put_back(limited, room)
            if limited.parked or limited.left_out:
                self._open_in_time(limited, room, now_us)
                if limited.limit.is_none:
                    self._opened.add(limited)
            else:
                limited.opens_us = None

    def _put_back(self, limited: _Limited, room: int) -> None:
        left_out, limited.left_out = limited.left_out, []
        self._away -= len(left_out)
        for number in left_out:
            self._show(self._lines[number])
        for number, parked in list(limited.parked.items()):
            for _ in range(min(room, len(parked))):
                self._put(number, heappop(parked))
                self._away -= 1
            if not parked:
                del limited.parked[number]

    def _open_in_time(self, limited: _Limited, begun: int, now_us: int) -> None:
        opens_us = limited.opening_us(begun, now_us)
        if opens_us <= now_us:
            limited.opens_us = None
        elif opens_us != limited.opens_us:
            limited.opens_us = opens_us
            heappush(self._opening, (opens_us, limited.number, limited))

    def _over(self, number: int, names: Iterable[str]) -> list[_Limited]:
        found = [self._limited(name) for name in names]
        if (of_queue := self._queues.get(queue_of(number))) is not None:
            found.append(of_queue)
        return found

    def _limited(self, name: str) -> _Limited:
        limited = self._values.get(name)
        if limited is None:
            limited = self._values[name] = _Limited(-len(self._values) - 1, self._states.of_value(name))
        return limited


class _Limited:
    """A limit, and what waits for it."""

    __slots__ = ("closed_until_us", "in_hand", "left_out", "limit", "next_us", "number", "opens_us", "parked")

    def __init__(self, number: int, state: LimitState) -> None:
        self.number = number
        self.limit, self.next_us, self.closed_until_us = state
        self.in_hand = 0
        self.opens_us: int | None = None
        """When a rate lets the next one begin, where orders wait for that."""
        self.parked: dict[int, list[Standing]] = {}
        """The orders that wait for it, by the numbers of their lines."""
        self.left_out: list[int] = []
        """The numbers of the lines of a queue that wait for it."""

    def room(self, now_us: int) -> float:
        return self.limit.room(self.in_hand, self.next_us, self.closed_until_us, now_us)

    def count(self, now_us: int) -> None:
        self.in_hand += 1
        if self.limit.rate is not None:
            self.next_us = self.limit.after(1, self.next_us, now_us)

    def opening_us(self, begun: int, now_us: int) -> int:
        limit = self.limit
        opens_us = 0 if limit.rate is None else limit.opens_us(limit.after(begun, self.next_us, now_us))
        return max(opens_us, self.closed_until_us or 0)
