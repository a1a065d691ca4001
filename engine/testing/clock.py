"""Clocks that move when you say so."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ..actors.messages import CheckFiles
from ..clock import Timer, Timers
from ..requests import AwaitOrder

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
        """Call once the test has moved it on so far; at once where that is zero or less."""
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


class WatchedClock(ManualClock):
    """A `ManualClock` that also tells for which times the engine asks to be called.

    So a test can wait until the engine has planned something, such as the next attempt, before it moves the clock. Left
    out are what the engine does each second whatever happens, a look at its files, and the end of somebody's wait for
    an order, which is asked for or not as that order takes longer or not.

    Example:
        >>> clock = WatchedClock()
        >>> def fail_once(order):
        ...     if not tried:
        ...         tried.append(order.order_id)
        ...         raise ConnectionError("try again")
        >>> tried = []
        >>> with OrderEngine("orders.db", handler=fail_once, clock=clock) as engine:
        ...     receipt = engine.submit(make_order("o-1"))
        ...     clock.advance_to(clock.next_call())
        ...     receipt.wait(timeout=5).value
        'Completed'

    Args:
        now_us: its first time, in microseconds since 1970-01-01T00:00:00Z.
    """

    def __init__(self, now_us: int = START_US) -> None:
        super().__init__(now_us)
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once the test has moved it on so far, and tell `next_call` of it."""
        at_us = self.now_us() + round(seconds * 1e6)
        timer = super().call_after(seconds, callback)
        if _is_planned(callback):
            self._asked.put(at_us)  # last: whoever learns of it may move the clock at once
        return timer

    def next_call(self, at_least: float = 0.0, timeout: float = 5.0) -> int:
        """The wall-clock time of the next call that the engine asks for, waited for; in microseconds, as `now_us`.

        Args:
            at_least: how many seconds ahead it must be; those before are passed over.
            timeout: seconds to wait for each at most.

        Raises:
            TimeoutError: none was asked for.
        """
        while (at_us := self._take(timeout)) - self.now_us() < at_least * 1e6:
            pass
        return at_us

    def calls_to_come(self) -> int:
        """How many calls are asked for and not made yet."""
        with self._lock:
            return sum(_is_planned(callback) for callback in self._calls.callbacks())

    def advance_to(self, at_us: int) -> None:
        """Move on to a time.

        Args:
            at_us: in microseconds since 1970-01-01T00:00:00Z.
        """
        self.advance((at_us - self.now_us()) / 1e6)

    def _take(self, timeout: float) -> int:
        try:
            return self._asked.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError("the engine has asked for no further call") from None


def _is_planned(callback: Callable[[], None]) -> bool:
    return not any(isinstance(argument, CheckFiles | AwaitOrder) for argument in getattr(callback, "args", ()))
