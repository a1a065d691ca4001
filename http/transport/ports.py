"""What the parts of the server ask of each other: the server of an application, and a connection of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..wire.message import WireRequest, WireResponse
from .buffer_budget import BufferBudget
from .tls import Tls

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


class ConnectionServer(Protocol):
    """What a connection asks of the server that it came to."""

    loop: asyncio.AbstractEventLoop
    tls: Tls | None
    max_body_bytes: int
    socket_seconds: int
    request_seconds: int
    buffer_budget: BufferBudget
    connections: set[Any]
    """Those that are open: each adds itself, and takes itself off."""

    @property
    def keeps_connections(self) -> bool:
        """Whether a connection may stay open after its answer."""

    def begin(self, request: WireRequest, respond: Callable[[WireResponse], object]) -> PendingAnswer:
        """Have a request answered; `respond` is called with the answer, be it before this returns."""
