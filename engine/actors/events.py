"""Events: who is told when the log of all transitions has gone on. No thread is needed to wait."""

from __future__ import annotations

import threading
from functools import partial

from pykka import Future

from ...store.domain.errors import EngineStopped
from ..reply import answer, fail
from ..requests import AwaitEvents


class EventWaiters:
    """Wakes those who wait for the next transition; each reads on by itself. While nobody waits it costs nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[Future[None]] = set()
        self._is_closed = False

    def enter(self, request: AwaitEvents) -> bool:
        """Be woken by the next transition. Look afterwards whether it has happened: so nothing is missed.

        Returns:
            False where this is closed: then nobody will be woken.
        """
        with self._lock:
            if self._is_closed:
                return False
            self._waiting.add(request.reply)
        request.reply.when_done(partial(self.leave, request))
        return True

    def leave(self, request: AwaitEvents) -> None:
        """Wait no longer; nothing where one was woken already."""
        with self._lock:
            self._waiting.discard(request.reply)

    def wake(self) -> None:
        """Wake all: something was recorded."""
        if self._waiting:
            for reply in self._let_go():
                answer(reply, None)

    def close(self) -> None:
        """Send everybody away, now and from now on: nothing more will happen."""
        with self._lock:
            self._is_closed = True
        for reply in self._let_go():
            fail(reply, EngineStopped())

    def _let_go(self) -> set[Future[None]]:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        return waiting
