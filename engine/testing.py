"""For tests of your own handlers: orders with defaults, and a clock that moves when you say so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..store.domain.order import Order
from .clock import Timer, Timers

START_US = 1_800_000_000_000_000
"""The time of a new ManualClock: 2027-01-15T08:00:00Z in microseconds since 1970-01-01T00:00:00Z."""


class ManualClock:
    """A clock that stands still until a test moves it: pass it to an engine as `clock=`.

    Example:
        >>> clock = ManualClock()
        >>> with OrderEngine("orders.db", handler=lambda order: None, clock=clock) as engine:
        ...     created_us = engine.submit(make_order("o-1")).record.created_us
        >>> created_us == clock.now_us()
        True
        >>> clock.advance(60)
        >>> clock.now_us() - created_us
        60000000

    Args:
        now_us: its first time, in microseconds since 1970-01-01T00:00:00Z.
    """

    def __init__(self, now_us: int = START_US) -> None:
        self._wall_us = now_us
        self._monotonic_us = now_us
        self._calls = Timers()
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Its wall-clock time, in microseconds since 1970-01-01T00:00:00Z."""
        return self._wall_us

    def monotonic_us(self) -> int:
        """How far it was moved by `advance`, in microseconds, counted from its first time."""
        return self._monotonic_us

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once the test has moved it on so far; at once where that is no time."""
        timer = Timer(self._monotonic_us + round(seconds * 1e6), callback)
        with self._lock:
            self._calls.add(timer)
        self._call_due()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not make that call; nothing happens where it was made already."""
        with self._lock:
            self._calls.cancel(timer)

    def close(self) -> None:
        """Forget all callbacks."""
        with self._lock:
            self._calls.clear()

    def advance(self, seconds: float) -> None:
        """Let time pass, and make the calls that are due.

        Args:
            seconds: how much.
        """
        self._wall_us += round(seconds * 1e6)
        self._monotonic_us += round(seconds * 1e6)
        self._call_due()

    def set_wall(self, now_us: int) -> None:
        """Set the wall clock, as an operator or a time server does. No time passes.

        Args:
            now_us: its new time, in microseconds since 1970-01-01T00:00:00Z.
        """
        self._wall_us = now_us

    def _call_due(self) -> None:
        while True:
            with self._lock:
                callback = self._calls.take_due(self._monotonic_us)
            if callback is None:
                return
            callback()


def make_order(order_id: str = "o-1", **fields: Any) -> Order:
    """An order, with defaults for whatever the test does not care about.

    Example:
        >>> make_order(user_id="u-7").user_id
        'u-7'

    Args:
        order_id: its id.
        fields: other fields of `Order`, by name.
    """
    defaults: dict[str, Any] = {"user_id": "u-1", "item_ids": ("sku-1", "sku-2"), "total_amount": Decimal("19.99")}
    return Order(order_id=order_id, **(defaults | fields))
