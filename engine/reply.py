"""Reply: the future that an actor answers with. It costs little, and calls back."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Generic, TypeVar

from pykka import Future, Timeout

from .logger import EngineLogger, is_interrupt

T = TypeVar("T")

_log = EngineLogger("ordermill.engine.reply")


class Reply(Future[T], Generic[T]):
    """A value that an actor will give, or an error.

    Pykka's own future makes a lock and a condition for each value, and only a thread that waits learns of it. Most
    replies of a busy engine are there before anybody looks, and most of those who look should not wait in a thread.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     reply = engine.begin_submit([make_order("o-1")])  # returns before the order is on disk
        ...     (acceptance,) = reply.get(timeout=30)
        ...     acceptance.outcome
        <Outcome.ACCEPTED: 'accepted'>
    """

    def __init__(self) -> None:
        # Without that of Pykka's future, which prepares for hooks: a reply calls back instead.
        # Appending to a list and taking from it are atomic: the first outcome is the outcome, and each callback is
        # taken once, by the thread that brings the outcome or by the thread that finds it there.
        self._outcomes: list[tuple[Any, BaseException | None]] = []
        self._callbacks: list[Callable[[], object]] = []

    @property
    def is_done(self) -> bool:
        """Whether the value or an error is there."""
        return bool(self._outcomes)

    def get(self, *, timeout: float | None = None) -> T:
        """The value, waited for.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            pykka.Timeout: it did not come in time.
            Exception: the error that came instead.
        """
        if not self._outcomes:
            came = Lock()
            came.acquire()
            self.when_done(came.release)
            if not came.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                # Who asks again and again leaves nothing behind. Where it was called meanwhile, the outcome is there.
                with suppress(ValueError):
                    self._callbacks.remove(came.release)
                    raise Timeout(f"{timeout} seconds")
        value, error = self._outcomes[0]
        if error is not None:
            raise error
        result: T = value
        return result

    def when_done(self, callback: Callable[[], object]) -> None:
        """Have something called, once, when the value or an error is there; at once where it is.

        Args:
            callback: quick; called in the thread of the actor. What it raises is logged, and reaches nobody.
        """
        self._callbacks.append(callback)
        if self._outcomes:
            self._call_back()

    def set(self, value: T | None = None) -> None:
        """Give the value.

        Raises:
            queue.Full: there is an outcome already.
        """
        self._settle(value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Give an error, as `sys.exc_info` has it; the one that is being handled by default.

        Raises:
            queue.Full: there is an outcome already.
        """
        self._settle(None, (exc_info or sys.exc_info())[1])

    def _settle(self, value: T | None, error: BaseException | None) -> None:
        if self._outcomes:
            raise queue.Full
        self._outcomes.append((value, error))
        self._call_back()

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:  # another thread was quicker
                return
            try:
                callback()
            except BaseException as error:  # a SystemExit as well: it would end whoever answers, here an actor
                if is_interrupt(error):
                    raise
                _log.exception("a callback of a reply has failed")


def answer(reply: Future[Any], value: object) -> None:
    """Have whoever waits for the reply get the value; nothing where it was answered already, with an error."""
    with suppress(queue.Full):
        reply.set(value)


def fail(reply: Future[Any], error: BaseException) -> None:
    """Have whoever waits for the reply get the error; nothing where it was answered already."""
    with suppress(queue.Full):
        reply.set_exception((type(error), error, error.__traceback__))
