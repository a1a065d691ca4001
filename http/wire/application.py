"""What a server and the applications that it calls in its loop ask of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from .message import BodyContent, PendingAnswer, WireRequest, WireResponse

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


class OpenRequest(PendingAnswer, Protocol):
    """A request whose head was judged. Nothing is pending before it begins."""

    max_body_bytes: int
    """What is wanted of its body at the most; 0 where the answer is the same whatever is in it."""
    caller: str | None
    """The id of the key that it was sent with; None where none is needed, or asked for so far."""

    def begin(self, content: BodyContent | None, respond: Callable[[WireResponse], object], aside: RunAside) -> None:
        """Begin to answer it.

        Args:
            content: its body; None where none was sent, or wanted.
            respond: called in the loop with the answer, be it before this returns.
            aside: for what may block.
        """


@runtime_checkable
class LoopApplication(Protocol):
    """An application that does not block, and so is called in the loop."""

    def open(self, request: WireRequest) -> OpenRequest:
        """Judge a request by its head: who sends it, and for what. Its body has not been asked for yet."""
