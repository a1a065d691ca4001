"""A connection that no thread waits for: it takes what has come, sends what the system takes, and leaves the rest."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cheroot.server

from .forks import keep_from_children
from .inbox import Inbox, Step
from .memory import Loan
from .outbox import Outbox
from .problems import RequestTimeout
from .request import Request
from .tls import TlsSocket

if TYPE_CHECKING:
    from .server import FacadeServer

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(cheroot.server.HTTPConnection):
    """One client's connection. Only one thread has it at a time, and none while it waits for the client.

    Args:
        server: that it came to.
        sock: it.
        address: of the client.
    """

    RequestHandlerClass = Request
    server: FacadeServer
    rfile: Inbox
    wfile: Outbox

    def __init__(self, server: FacadeServer, sock: socket.socket, address: tuple[Any, ...]) -> None:
        sock.setblocking(False)
        keep_from_children(sock)
        self._deadline = math.inf
        self._loan = Loan(server.memory)
        self._is_ending = False
        self._request: Request | None = None
        inbox = Inbox(sock, server.max_request_body_size, self._loan.grow, self._ask)
        super().__init__(server, sock, lambda _, mode, __: inbox if mode == "rb" else Outbox(sock))
        self.remote_addr, self.remote_port = address[:2]
        server.open_connections.add(self)

    @property
    def is_sending(self) -> bool:
        """Whether its client has to read before anything else can be done."""
        return self.wfile.unsent > 0

    @property
    def has_buffered(self) -> bool:
        """Whether something came that no selector tells of: TLS reads a whole record where a part of it is wanted."""
        return isinstance(self.socket, TlsSocket) and not self.is_sending and self.socket.pending() > 0

    @property
    def is_in_request(self) -> bool:
        """Whether a request has begun to come and is not answered."""
        return self.rfile.has_begun and not self._is_ending and not self.is_sending

    def is_overdue(self, now: float) -> bool:
        """Whether its client has been silent, or busy with the same thing, for too long.

        Args:
            now: by the monotonic clock, in seconds.
        """
        return now > self._deadline or now > self.last_used + self.server.timeout

    def time_out(self) -> None:
        """Have the request that has begun answered as it is."""
        self.rfile.fault = RequestTimeout()

    def advance(self) -> Step:
        """Send and take what can be, without waiting."""
        try:
            if self.is_sending:
                if not self.wfile.flush():
                    return Step.WAIT
                self._loan.end()
                self._deadline = math.inf
                if self._is_ending:
                    self._hang_up()
            if self._is_ending:
                return self.rfile.discard()
            step = self.rfile.take()
        except OSError:
            return Step.CLOSE
        if step is Step.WAIT and self._deadline == math.inf and self.rfile.has_begun:
            self._deadline = time.monotonic() + self.server.request_seconds
        return step

    def communicate(self) -> bool:
        """Answer the request that is there, or begin to. Returns whether the connection is still needed."""
        if self._request is None:
            self._request = Request(self.server, self)
            self._request.parse_request()
            if self._request.ready:
                self._request.begin()
        if self._request.awaited is not None:
            return True
        self._request.respond()
        self._is_ending = self._request.close_connection
        self._request = None
        self.rfile.next()
        self._loan.end()
        self._deadline = math.inf
        try:
            if not self.wfile.flush():
                self._deadline = time.monotonic() + self.server.request_seconds
                return self._loan.grow(self.wfile.unsent)
            if self._is_ending:
                self._hang_up()
        except OSError:
            return False
        return True

    @property
    def is_answering(self) -> bool:
        """Whether a request is not answered yet."""
        return self._request is not None

    def when_answer_is_there(self, callback: Callable[[], object]) -> None:
        """Have something called when `communicate` can go on with the request that it has begun to answer."""
        awaited = None if self._request is None else self._request.awaited
        if awaited is None:
            callback()
        else:
            awaited.when_done(callback)

    def close(self) -> None:
        """End it."""
        self.server.open_connections.discard(self)
        self._loan.end()
        super().close()

    def _hang_up(self) -> None:
        # Closing at once would reset the connection where something is unread, and the answer would be lost with it.
        self.socket.shutdown(socket.SHUT_WR)
        self._deadline = time.monotonic() + self.server.timeout

    def _ask(self) -> None:
        self.wfile.write(_GO_ON)
        self.wfile.flush()


class OpenConnections:
    """All connections of a server that are open."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """One is open."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """One is not open any more."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def wait_for_last(self, timeout: float) -> bool:
        """Wait until none is open.

        Args:
            timeout: seconds.

        Returns:
            Whether that has happened.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout)
