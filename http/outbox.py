"""What goes out over a connection, as fast as its client reads."""

from __future__ import annotations

import socket


class Outbox:
    """What is to be sent over a connection.

    Args:
        sock: not blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent: bytes | memoryview = b""
        self.bytes_written = 0

    @property
    def unsent(self) -> int:
        """How many bytes have not been sent."""
        return len(self._unsent)

    def write(self, data: bytes) -> int:
        """Have it sent with the next `flush`, so that the parts of an answer go out together."""
        self._unsent = b"".join((self._unsent, data)) if self._unsent else data
        return len(data)

    def flush(self) -> bool:
        """Send what the system takes at once. Returns whether that is all.

        Raises:
            OSError: the connection is lost.
        """
        if self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return False
            self.bytes_written += sent
            self._unsent = memoryview(self._unsent)[sent:] if sent < len(self._unsent) else b""
        return not self._unsent
