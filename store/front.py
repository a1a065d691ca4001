"""Front: the orders of a line that are next, read ahead, so that no claim reads what the one before has read."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from .domain.record import OrderRecord


class InLine(NamedTuple):
    """An order in a line; the sequence of its fields is that of the line."""

    rank: int
    """Its place."""
    sequence: int
    since_us: int
    """Since when it waits, microseconds since 1970-01-01T00:00:00Z."""
    record: OrderRecord


class Front:
    """What is known of a line: its first orders, without a gap."""

    def __init__(self) -> None:
        self.orders: list[InLine] = []
        """In the sequence of their places."""
        self.is_whole = False
        """Whether there are none besides these in the line."""

    def note(self, rank: int, sequence: int) -> None:
        """An order gets into the line at that place, so that from there on nothing is known any more."""
        index = bisect_left(self.orders, (rank, sequence))
        if self.is_whole or index < len(self.orders):
            del self.orders[index:]
            self.is_whole = False

    def remove(self, sequences: set[int]) -> None:
        """These orders are not in line any more."""
        first = len(sequences)
        if sequences.issuperset([order.sequence for order in self.orders[:first]]):  # as nearly always
            del self.orders[:first]
        else:
            self.orders = [order for order in self.orders if order.sequence not in sequences]
