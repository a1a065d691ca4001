"""What the server asks of an application that is called in its loop, and gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..wire.message import WireRequest, WireResponse

T = TypeVar("T")


class PendingAnswer(Protocol):
    """An answer that is not there yet."""

    def hurry(self) -> None:
        """The client sends nothing more, and may have gone: do not wait for what need not be waited for."""

    def abandon(self) -> None:
        """The client has gone: nobody wants the answer any more."""


class RunAside(Protocol):
    """Runs what may take long in a thread."""

    def __call__(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """Have some work done.

        Args:
            work: called in a thread; raises nothing.
            done: called in the loop with what it gives.

        Raises:
            ServerBusy: too much waits for a thread already.
        """


class LoopApplication(Protocol):
    """An application that does not block, and so is called in the loop."""

    def begin(self, request: WireRequest, respond: Callable[[WireResponse], object], aside: RunAside) -> PendingAnswer:
        """Begin to answer a request.

        Args:
            request: it.
            respond: called in the loop with the answer, be it before this returns.
            aside: for what may block.
        """


Application = Any
"""One of these, or a WSGI callable."""
