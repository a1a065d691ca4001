"""Time: what the engine reads it from, and how it is woken at a later one. Tests bring a clock of their own."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .logger import EngineLogger

_log = EngineLogger("ordermill.engine.clock")

_FEWEST_CANCELLED = 64


class Timer:
    """A call to come.

    Args:
        due_us: when, on the monotonic clock, in microseconds.
        callback: what is called.
    """

    __slots__ = ("callback", "due_us")

    def __init__(self, due_us: int, callback: Callable[[], None]) -> None:
        self.due_us = due_us
        self.callback: Callable[[], None] | None = callback
        """None once it was called or cancelled."""


class Timers:
    """Calls to come, the next one first. Those that were cancelled are let go of. Not for several threads at once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, timer: Timer) -> bool:
        """Take in a call. Returns whether it is the next one."""
        entry = (timer.due_us, next(self._numbers), timer)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def cancel(self, timer: Timer) -> None:
        """Let go of a call; nothing happens where it was made already."""
        if timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        # Taking one out of the middle of a heap costs as much as going through all of it: many together.
        if self._cancelled > max(_FEWEST_CANCELLED, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_us(self) -> int | None:
        """When the next call is due, or None."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_us: int) -> Callable[[], None] | None:
        """The next call if it is due, which is taken out; None otherwise."""
        next_us = self.next_us()
        if next_us is None or next_us > now_us:
            return None
        timer = heapq.heappop(self._heap)[2]
        callback, timer.callback = timer.callback, None
        return callback

    def callbacks(self) -> tuple[Callable[[], None], ...]:
        """What is to be called, in no particular sequence."""
        return tuple(timer.callback for _, _, timer in self._heap if timer.callback is not None)

    def clear(self) -> None:
        """Let go of all calls."""
        self._heap.clear()
        self._cancelled = 0


class Clock(Protocol):
    """Tells the time and calls back."""

    def now_us(self) -> int:
        """The wall-clock time, for stamps only: it may be set. Microseconds since 1970-01-01T00:00:00Z."""

    def monotonic_us(self) -> int:
        """What durations are measured with: microseconds since some moment. Nobody can set it."""

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once so many seconds have passed; the callback must be quick and may run in any thread."""

    def cancel(self, timer: Timer) -> None:
        """Do not make that call; nothing happens where it was made already."""

    def close(self) -> None:
        """Forget all callbacks."""


class SystemClock:
    """The machine's clocks, and a thread for callbacks that starts with the first one."""

    def __init__(self) -> None:
        self._calls = Timers()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def now_us(self) -> int:
        """The wall-clock time, for stamps only: it may be set. Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """What durations are measured with: microseconds since some moment. Nobody can set it."""
        return time.monotonic_ns() // 1000

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once so many seconds have passed, in the clock's thread. A callback that raises is logged."""
        timer = Timer(self.monotonic_us() + round(seconds * 1e6), callback)
        with self._changed:
            if self._is_closed:
                return timer
            is_next = self._calls.add(timer)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="ordermill-clock", daemon=True)
                thread.start()
                self._thread = thread
            if is_next:  # otherwise the thread wakes soon enough
                self._changed.notify()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not make that call; nothing happens where it was made already."""
        with self._changed:
            self._calls.cancel(timer)

    def close(self) -> None:
        """Forget all callbacks and end the thread."""
        with self._changed:
            self._is_closed = True
            self._calls.clear()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (callback := self._calls.take_due(self.monotonic_us())) is None:
                    next_us = self._calls.next_us()
                    self._changed.wait(None if next_us is None else max(0, next_us - self.monotonic_us()) / 1e6)
                if self._is_closed:
                    return
            assert callback is not None
            try:
                callback()
            except BaseException:  # whatever it is, the others' calls must come
                _log.exception("a call of the clock failed")


class Moment(NamedTuple):
    """The same moment on two clocks."""

    at_us: int
    """The wall clock's, for stamps: microseconds since 1970-01-01T00:00:00Z."""
    queue_us: int
    """The queue's, which `ready_at` is compared with; see `SteadyClock`."""


class SteadyClock:
    """Microseconds since 1970-01-01T00:00:00Z as they were at the start, moved on by the monotonic clock.

    The queue runs on it: whoever sets the machine's clock holds up no order, and hurries none.

    Args:
        clock: the wall clock to begin with, and the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_us = clock.now_us() - clock.monotonic_us()

    def now_us(self) -> int:
        """Its time."""
        return self._clock.monotonic_us() + self._offset_us
