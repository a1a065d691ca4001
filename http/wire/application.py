"""What a server and the applications that it calls in its loop ask of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from .message import PendingAnswer, WireRequest, WireResponse

T = TypeVar("T")


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


@runtime_checkable
class LoopApplication(Protocol):
    """An application that does not block, and so is called in the loop."""

    def begin(self, request: WireRequest, respond: Callable[[WireResponse], object], aside: RunAside) -> PendingAnswer:
        """Begin to answer a request.

        Args:
            request: it.
            respond: called in the loop with the answer, be it before this returns.
            aside: for what may block.
        """
