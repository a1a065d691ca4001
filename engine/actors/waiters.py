"""Waiters: who waits until processing is over for an order. No thread is needed to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import partial

from pykka import Future

from ...store.domain.errors import EngineStopped
from ...store.domain.record import OrderRecord
from ..clock import Clock, Timer
from ..reply import answer, fail
from ..requests import AwaitOrder


class Waiters:
    """Wakes those who wait for an order. Orders that nobody waits for cost nothing.

    Args:
        clock: for the end of the time that somebody waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[Future[None], Timer | None]] = {}
        self._is_closed = False

    def enter(self, request: AwaitOrder) -> bool:
        """Be woken when something happens to an order. Look afterwards whether it has happened: so nothing is missed.

        Args:
            request: the order, how long to wait, and the reply to set.

        Returns:
            False where this is closed: then nobody will be woken.
        """
        with self._lock:
            if self._is_closed:
                return False
            self._waiting.setdefault(request.order_id, {})[request.reply] = None
        request.reply.when_done(partial(self.leave, request))
        if request.timeout is not None:
            self._set_timer(request, self._clock.call_after(request.timeout, partial(self._time_out, request)))
        return True

    def leave(self, request: AwaitOrder) -> bool:
        """Wait no longer. Returns whether one was waiting still."""
        with self._lock:
            timers = self._waiting.get(request.order_id, {})
            if request.reply not in timers:
                return False
            self._cancel(timers.pop(request.reply))
            if not timers:
                del self._waiting[request.order_id]
            return True

    def wake(self, records: Iterable[OrderRecord]) -> None:
        """Wake those who wait for these orders; they are not looked at where nobody waits."""
        if self._waiting:
            self.wake_named(record.order_id for record in records)

    def wake_named(self, order_ids: Iterable[str]) -> None:
        """Likewise, by the names of the orders."""
        with self._lock:
            woken = [self._waiting.pop(order_id, {}) for order_id in order_ids]
        for reply in self._let_go(woken):
            answer(reply, None)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def order_ids(self) -> list[str]:
        """The orders that somebody waits for."""
        with self._lock:
            return list(self._waiting)

    def close(self) -> None:
        """Send everybody away, now and from now on: nothing more will happen."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, {}
        for reply in self._let_go(waiting.values()):
            fail(reply, EngineStopped())

    def _set_timer(self, request: AwaitOrder, timer: Timer) -> None:
        with self._lock:
            timers = self._waiting.get(request.order_id, {})
            if request.reply in timers:
                timers[request.reply] = timer
            else:  # woken meanwhile
                self._cancel(timer)

    def _let_go(self, woken: Iterable[dict[Future[None], Timer | None]]) -> Iterator[Future[None]]:
        for timers in woken:
            for reply, timer in timers.items():
                self._cancel(timer)
                yield reply

    def _cancel(self, timer: Timer | None) -> None:
        if timer is not None:
            self._clock.cancel(timer)

    def _time_out(self, request: AwaitOrder) -> None:
        if self.leave(request):
            answer(request.reply, None)
