"""Front: the orders of a line that are next, read ahead, so that no claim reads what the one before has read."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Sequence
from operator import attrgetter

import msgspec

from .domain.record import OrderRecord

_SPOT = attrgetter("spot")


class InLine(msgspec.Struct, frozen=True, gc=False):
    """An order in a line: there are as many as are claimed, so the garbage collector has nothing to do with them."""

    rank: int
    """Its place."""
    sequence: int
    since_us: int
    """Since when it waits, microseconds since 1970-01-01T00:00:00Z."""
    record: OrderRecord

    @property
    def spot(self) -> tuple[int, int]:
        """Where it is: behind those with a lower rank, and of one rank, behind those with a lower sequence."""
        return self.rank, self.sequence


class Front:
    """What is known of a line: its first orders. None is missing, but those that were taken, or set aside, since."""

    def __init__(self) -> None:
        self.orders: deque[InLine] = deque()
        """In the sequence of their places."""
        self.known_to: tuple[int, int] | None = None
        """Up to where it is known; None where nothing is."""
        self.is_whole = False
        """Whether there are none behind that."""

    def extend(self, orders: Sequence[InLine], *, is_whole: bool) -> None:
        """More is known of the line.

        Args:
            orders: those that come next.
            is_whole: whether there are none behind them.
        """
        self.orders.extend(orders)
        self.is_whole = is_whole
        if orders:
            self.known_to = orders[-1].spot

    def note(self, rank: int, sequence: int) -> None:
        """An order gets into the line at that place, so that from there on nothing is known any more."""
        orders = self.orders
        while orders and (rank, sequence) < orders[-1].spot:
            orders.pop()
        if self.known_to is not None and (rank, sequence) < self.known_to:
            self.known_to = (rank, sequence - 1)
        self.is_whole = False

    def put_back(self, order: InLine) -> None:
        """One that was set aside is to be met again, if the line is known up to there."""
        if self.known_to is not None and order.spot <= self.known_to:
            index = bisect_left(self.orders, order.spot, key=_SPOT)
            if index == len(self.orders) or self.orders[index].sequence != order.sequence:
                self.orders.insert(index, order)


class Walk:
    """The way of a claim along a line: it takes orders from the front, and passes over those that it must not take.

    Args:
        line: the number of the line.
        queue: the number of its queue.
        front: what is known of it, and more as it is read.
        head_start_us: how much longer than they do the orders of this line count as waiting.
        most: how many orders are read at once.
        is_limited: whether the queue has a limit, or is paused.
    """

    __slots__ = ("_passed", "front", "head_start_us", "is_limited", "line", "most", "queue")

    def __init__(self, line: int, queue: int, front: Front, head_start_us: int, most: int, *, is_limited: bool) -> None:
        self.line = line
        self.queue = queue
        self.front = front
        self.head_start_us = head_start_us
        self.most = most
        self.is_limited = is_limited
        self._passed: list[InLine] = []

    def come_to_next(self, but_not: Collection[int]) -> InLine | None:
        """The next order in the line; None where no further one is known.

        Args:
            but_not: the sequences of those that are passed over.
        """
        orders = self.front.orders
        while orders:
            order = orders[0]
            if order.sequence not in but_not:
                return order
            self._passed.append(orders.popleft())
        return None

    def end(self) -> None:
        """What was passed over is in line as before."""
        if self._passed:
            self.front.orders.extendleft(reversed(self._passed))
