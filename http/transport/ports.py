"""What a connection asks of the server that it came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from ..wire.message import PendingAnswer, WireRequest, WireResponse
from .buffer_budget import BufferBudget
from .tls import Tls


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
