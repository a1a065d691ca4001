"""The waiting room: threads that wait until processing is over for an order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..store.record import OrderRecord


class WaitingRoom:
    """Wakes the threads that wait for an order. Orders that nobody waits for cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}
        self.is_closed = False
        """Whether nobody may wait any more."""

    @contextmanager
    def place(self, order_id: str) -> Iterator[Callable[[float | None], bool]]:
        """A place to wait in, taken before one looks whether there is anything to wait for: so nothing is missed.

        Args:
            order_id: the order to wait for.

        Yields:
            A function that waits for the given seconds (None: for ever) and says whether it was woken.
        """
        woken = threading.Event()
        with self._lock:
            self._waiting.setdefault(order_id, []).append(woken)
            if self.is_closed:
                woken.set()
        try:
            yield woken.wait
        finally:
            with self._lock:
                events = self._waiting[order_id]
                events.remove(woken)
                if not events:
                    del self._waiting[order_id]

    def wake(self, records: Sequence[OrderRecord]) -> None:
        """Wake those who wait for these orders."""
        if self._waiting:
            with self._lock:
                for record in records:
                    for woken in self._waiting.get(record.order_id, ()):
                        woken.set()

    def close(self) -> None:
        """Wake everybody, now and from now on: nothing more will happen."""
        with self._lock:
            self.is_closed = True
            for events in self._waiting.values():
                for woken in events:
                    woken.set()
