"""Time: what the engine reads it from, and how it is woken at a later one. Tests bring a clock of their own."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time and calls back."""

    def now_us(self) -> int:
        """The time in microseconds since 1970-01-01T00:00:00Z; never less than it answered before."""

    def call_at(self, at_us: int, callback: Callable[[], None]) -> None:
        """Call once that time has come; the callback must be quick and may run in any thread."""

    def close(self) -> None:
        """Forget all callbacks."""


class SystemClock:
    """The machine's clock, held from running backwards, and a thread for callbacks that starts with the first one.

    Args:
        floor_us: a time that it never answers less than: the last time that the database has seen.
    """

    def __init__(self, floor_us: int = 0) -> None:
        self._last_us = floor_us
        self._calls: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def now_us(self) -> int:
        """The time in microseconds since 1970-01-01T00:00:00Z; never less than it answered before."""
        now = time.time_ns() // 1000
        if now < self._last_us:
            return self._last_us
        self._last_us = now
        return now

    def call_at(self, at_us: int, callback: Callable[[], None]) -> None:
        """Call once that time has come, in the clock's thread."""
        with self._changed:
            call = (at_us, next(self._numbers), callback)
            heapq.heappush(self._calls, call)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="ordermill-clock", daemon=True)
                self._thread.start()
            if self._calls[0] is call:  # otherwise the thread wakes soon enough
                self._changed.notify()

    def close(self) -> None:
        """Forget all callbacks and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (not self._calls or self._calls[0][0] > self.now_us()):
                    # Re-read the clock at least once a second: it may have been set meanwhile.
                    wait_us = self._calls[0][0] - self.now_us() if self._calls else 1_000_000
                    self._changed.wait(min(wait_us / 1e6, 1.0))
                if self._is_closed:
                    return
                _, _, callback = heapq.heappop(self._calls)
            callback()
