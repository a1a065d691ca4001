"""Work: the orders that a processor was given, as both the pool and the processor see them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ..store.record import OrderRecord


class InHand(NamedTuple):
    """The order whose handler runs."""

    record: OrderRecord
    began_us: int
    """Since when, on the monotonic clock, in microseconds."""


class Work:
    """Shared by two threads: the processor takes orders from the left, and the pool may take back from the right.

    Args:
        records: all recorded as Processing.
    """

    __slots__ = ("_unbegun", "in_hand")

    def __init__(self, records: Iterable[OrderRecord]) -> None:
        self._unbegun = deque(records)
        self.in_hand: InHand | None = None
        """What the processor works at; None before and between."""

    def begin(self, monotonic_us: int) -> OrderRecord | None:
        """The next order, which is in hand from now on; None when none is left."""
        try:
            # In hand before it is taken: at no moment is an order in neither place.
            self.in_hand = InHand(self._unbegun[0], monotonic_us)
            return self._unbegun.popleft()
        except IndexError:
            self.in_hand = None
            return None

    def take_back(self) -> list[OrderRecord]:
        """All orders that are not begun, which the processor will not get any more; in their sequence."""
        taken: list[OrderRecord] = []
        while True:
            try:
                taken.append(self._unbegun.pop())
            except IndexError:
                return taken[::-1]
