"""What a connection asks of the server that it came to."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ..wire.application import OpenRequest, RunAside
from ..wire.message import WireRequest
from .buffer_budget import Buffers
from .tls import Tls


class ConnectionServer(Protocol):
    """What a connection asks of the server that it came to."""

    loop: asyncio.AbstractEventLoop
    tls: Tls | None
    max_body_bytes: int
    socket_seconds: int
    request_seconds: int
    buffers: Buffers
    run_aside: RunAside
    """Runs in a thread what may block."""
    connections: set[Any]
    """Those that are open: each adds itself, and takes itself off."""

    @property
    def keeps_connections(self) -> bool:
        """Whether a connection may stay open after its answer."""

    def open(self, request: WireRequest) -> OpenRequest:
        """Have a request judged by its head, before anything is done about its body."""
