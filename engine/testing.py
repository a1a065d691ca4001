"""For tests of your own handlers: orders with defaults, and a clock that moves when you say so."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..store.order import Order

START_US = 1_800_000_000_000_000
"""The time of a new ManualClock: 2027-01-15T08:00:00Z in microseconds since 1970-01-01T00:00:00Z."""


class ManualClock:
    """A clock that stands still until a test moves it: pass it to an engine as `clock=`.

    Args:
        now_us: its first time, in microseconds since 1970-01-01T00:00:00Z.
    """

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us
        self._calls: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Its time, in microseconds since 1970-01-01T00:00:00Z."""
        return self._now_us

    def call_at(self, at_us: int, callback: Callable[[], None]) -> None:
        """Call once that time has come; at once where it has."""
        with self._lock:
            heapq.heappush(self._calls, (at_us, next(self._numbers), callback))
        self._call_due()

    def close(self) -> None:
        """Forget all callbacks."""
        self._calls.clear()

    def advance(self, seconds: float) -> None:
        """Move on, and make the calls that are due.

        Args:
            seconds: how far.
        """
        self._now_us += round(seconds * 1e6)
        self._call_due()

    def _call_due(self) -> None:
        while True:
            with self._lock:
                if not self._calls or self._calls[0][0] > self._now_us:
                    return
                _, _, callback = heapq.heappop(self._calls)
            callback()


def make_order(order_id: str = "o-1", **fields: Any) -> Order:
    """An order, with defaults for whatever the test does not care about.

    Args:
        order_id: its id.
        fields: other fields of `Order`, by name.
    """
    defaults: dict[str, Any] = {"user_id": "u-1", "item_ids": ("sku-1", "sku-2"), "total_amount": Decimal("19.99")}
    return Order(order_id=order_id, **(defaults | fields))
