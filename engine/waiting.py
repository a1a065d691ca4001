"""The waiting room: who waits until processing is over for an order. No thread is needed to wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from itertools import chain

from pykka import Future

from ..store.errors import EngineStopped
from ..store.record import OrderRecord
from .clock import Clock
from .messages import AwaitOrder
from .reply import answer, fail


class WaitingRoom:
    """Wakes those who wait for an order. Orders that nobody waits for cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Future[None]]] = {}
        self._is_closed = False

    def enter(self, wish: AwaitOrder, clock: Clock) -> bool:
        """Be woken when something happens to an order. Look afterwards whether it has happened: so nothing is missed.

        Args:
            wish: the order, how long to wait, and the reply to set.
            clock: for the end of that time.

        Returns:
            False where the room is closed: then nobody will be woken.
        """
        with self._lock:
            if self._is_closed:
                return False
            self._waiting.setdefault(wish.order_id, []).append(wish.reply)
        if wish.timeout is not None:
            clock.call_at(clock.now_us() + round(wish.timeout * 1e6), partial(self._time_out, wish))
        return True

    def leave(self, wish: AwaitOrder) -> bool:
        """Wait no longer. Returns whether one was waiting still."""
        with self._lock:
            replies = self._waiting.get(wish.order_id, [])
            if wish.reply not in replies:
                return False
            replies.remove(wish.reply)
            if not replies:
                del self._waiting[wish.order_id]
            return True

    def wake(self, records: Sequence[OrderRecord]) -> None:
        """Wake those who wait for these orders."""
        if self._waiting:
            with self._lock:
                woken = [reply for record in records for reply in self._waiting.pop(record.order_id, ())]
            for reply in woken:
                answer(reply, None)

    def close(self) -> None:
        """Send everybody away, now and from now on: nothing more will happen."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, {}
        for reply in chain.from_iterable(waiting.values()):
            fail(reply, EngineStopped())

    def _time_out(self, wish: AwaitOrder) -> None:
        if self.leave(wish):
            answer(wish.reply, None)
