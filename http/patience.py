"""Waiting for slow clients: any number of connections, no thread, and an end to it."""

from __future__ import annotations

import selectors
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from cheroot.connections import ConnectionManager

from .connection import Connection
from .inbox import Step

if TYPE_CHECKING:
    from .server import FacadeServer

_ROOM = 16
_ACCEPTED_AT_ONCE = 256
_SEND_BUFFER_BYTES = 64 * 1024


class PatientConnections(ConnectionManager):
    """All connections whose client has to send or to read before anything can be done.

    Cheroot's own gives a connection to a thread as soon as anything comes over it, and the thread waits for the rest.

    Args:
        server: it is listening.
        max_open: connections open at the same time; beyond that, those that were silent longest make room.
    """

    server: FacadeServer
    _selector: Any  # Cheroot's

    def __init__(self, server: FacadeServer, max_open: int) -> None:
        super().__init__(server)
        self._max_open = max_open
        server.socket.setblocking(False)
        # Connections have it from here. Linux would keep megabytes of answers for each client that never reads.
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def put(self, conn: Connection) -> None:
        """Wait for the answer or for the client, unless it has sent its next request already."""
        if conn.is_answering:
            conn.when_answer_is_there(partial(self.server.requests.put, conn))
            return  # by now another thread may have it
        conn.last_used = time.monotonic()
        if conn.is_in_request:
            self.go_on(conn)
        else:
            self._watch(conn)

    def go_on(self, conn: Connection) -> None:
        """Do for a connection what can be done at once; a whole request goes to the threads."""
        conn.last_used = time.monotonic()
        step = conn.advance()
        if step is Step.ANSWER:
            self.server.requests.put(conn)
        elif step is Step.WAIT:
            self._watch(conn)
        else:
            conn.close()

    def close(self) -> None:
        """Close all that wait for their client, and see to it that all others get their answer."""
        super().close()
        self.server.open_connections.wait_for_last(self.server.shutdown_timeout)

    def _watch(self, conn: Connection) -> None:
        if conn.has_buffered:
            self.go_on(conn)
            return
        event = selectors.EVENT_WRITE if conn.is_sending else selectors.EVENT_READ
        try:
            self._selector.register(conn.socket.fileno(), event, data=conn)
        except ValueError:  # the selector is closed: the server has stopped meanwhile
            conn.close()

    def _expire(self, threshold: float) -> None:  # noqa: ARG002  # Cheroot's, by the wall clock
        now = time.monotonic()
        for conn in self._waiting():
            if conn.is_overdue(now):
                self._selector.unregister(conn.socket.fileno())
                if conn.is_in_request:
                    conn.time_out()
                    self.server.requests.put(conn)
                else:
                    conn.close()

    def _from_server_socket(self, server_socket: socket.socket) -> None:
        # Cheroot's takes one connection each time that it has looked at all others, with three times as many system
        # calls, at each of which other threads go first: under load the last of a thousand would wait for seconds.
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self.server.open_connections) >= self._max_open:
                self._make_room()
            try:
                sock, address = server_socket.accept()
            except OSError:  # there is none, or its client has gone already
                return
            if self.server.ssl_adapter is not None:
                sock, _ = self.server.ssl_adapter.wrap(sock)
            self.server.process_conn(Connection(self.server, sock, address))

    def _make_room(self) -> None:
        for conn in sorted(self._waiting(), key=lambda conn: conn.last_used)[:_ROOM]:
            self._selector.unregister(conn.socket.fileno())
            conn.close()

    def _waiting(self) -> list[Connection]:
        return [conn for _, conn in self._selector.connections if conn is not self.server]
