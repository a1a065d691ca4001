"""Deferred: what is not there yet, and how it is reached without a thread that waits for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any, Generic, TypeVar

import msgspec

from ...engine import Reply
from ..wire.application import RunAside
from ..wire.errors import ServerBusy

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Deferred(msgspec.Struct, Generic[T_co], frozen=True):
    """Something that is not there yet. No thread has to wait for it."""

    reply: Reply[Any]
    """Set when it is time to go on; it may be by now."""
    go_on: Callable[[], T_co | Deferred[T_co]]
    """Gives it then, or what has to be waited for next."""
    hurry: Callable[[], object] | None = None
    """Sets the reply now, where the client may have gone and the answer would do as it is; None where it would not."""
    may_block: bool = False
    """Whether `go_on` may take long, or have to wait for the database: it is called in a thread then."""


class Steps(ABC, Generic[T, R]):
    """Goes from step to step to a result. In a loop nothing waits: what has to be waited for calls back, and what may
    block is run in a thread.
    """

    __slots__ = ("_aside", "_deferred", "_may_block")

    _aside: RunAside | None
    _deferred: Deferred[T] | None
    _may_block: bool

    @abstractmethod
    def _finish(self, given: T) -> R:
        """The result, of what the last step gave; called where that step was taken."""

    @abstractmethod
    def _explain(self, error: Exception) -> T:
        """What a step gives that has failed."""

    @abstractmethod
    def _arrive(self, result: R) -> None:
        """The result is there. Called in the loop."""

    def _step(self, work: Callable[[], T | Deferred[T]], *, may_block: bool) -> None:
        if not may_block or self._aside is None:
            self._proceed(self._attempt(work))
            return
        try:
            self._aside(partial(self._attempt, work), self._proceed)
        except ServerBusy as error:
            self._arrive(self._finish(self._explain(error)))

    def _proceed(self, result: R | Deferred[T]) -> None:
        if isinstance(result, Deferred):
            self._deferred = result
            result.reply.when_done(self._go_on)
        else:
            self._arrive(result)

    def _go_on(self) -> None:
        deferred, self._deferred = self._deferred, None
        if deferred is not None:  # or nobody waits for it any more
            self._step(deferred.go_on, may_block=self._may_block or deferred.may_block)

    def _attempt(self, work: Callable[[], T | Deferred[T]]) -> R | Deferred[T]:
        try:
            given = work()
        except Exception as error:
            given = self._explain(error)
        return given if isinstance(given, Deferred) else self._finish(given)

    def _wait(self, work: Callable[[], T | Deferred[T]]) -> R:
        """The result, waited for in this thread."""
        result = self._attempt(work)
        while isinstance(result, Deferred):
            came = Event()
            result.reply.when_done(came.set)
            came.wait()
            result = self._attempt(result.go_on)
        return result
