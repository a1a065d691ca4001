"""What comes over a connection, cut into requests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum, auto

from .framing import Head, find_end, read_head
from .problems import ContentTooLarge, HttpError, MalformedRequest, ServerBusy, TruncatedBody

_HEAD_CHUNK = 16 * 1024
_BODY_CHUNK = 256 * 1024


class Step(Enum):
    """What a connection needs next."""

    WAIT = auto()
    """Its client has to send, or to read."""
    ANSWER = auto()
    """A whole request is there, or what is there will never be one: a thread has to answer."""
    CLOSE = auto()


class Inbox:
    """What has come over a connection, cut into requests.

    Args:
        sock: not blocking.
        max_body_bytes: what is taken of a body at the most.
        borrow: asked for each part of a body that does not come at once; says whether there is memory for it.
        ask: called where the client waits for a word before it sends the body.
    """

    def __init__(
        self, sock: socket.socket, max_body_bytes: int, borrow: Callable[[int], bool], ask: Callable[[], None]
    ) -> None:
        self._socket = sock
        self._max_body_bytes = max_body_bytes
        self._borrow = borrow
        self._ask = ask
        self._received = b""
        self._looked_at = 0
        self.head: Head | None = None
        self.body: bytes | bytearray = b""
        self.fault: HttpError | None = None
        self.closed = False
        self.bytes_read = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is anything of a request."""
        return bool(self._received) or self.head is not None

    def take(self) -> Step:
        """Take what has come.

        Raises:
            OSError: the connection is lost.
        """
        try:
            if self.fault is not None or self._is_whole():
                return Step.ANSWER
            missing = _HEAD_CHUNK if self.head is None else min(self.head.length - len(self.body), _BODY_CHUNK)
            try:
                data = self._socket.recv(missing)
            except BlockingIOError:
                return Step.WAIT
            if not data:
                if not self.has_begun:
                    return Step.CLOSE
                raise self._end()
            self._keep(data)
            return Step.ANSWER if self._is_whole() else Step.WAIT
        except HttpError as fault:
            self.fault = fault
            return Step.ANSWER

    def next(self) -> None:
        """Go on to the request after this one."""
        self.head = None
        self.body = b""
        self.fault = None
        self._looked_at = 0

    def discard(self) -> Step:
        """Throw away what still comes, until the client has seen the answer and ends the connection.

        Raises:
            OSError: the connection is lost.
        """
        try:
            return Step.WAIT if self._socket.recv(_BODY_CHUNK) else Step.CLOSE
        except BlockingIOError:
            return Step.WAIT

    def close(self) -> None:
        """Forget all."""
        self.next()
        self._received = b""
        self.closed = True

    def _keep(self, data: bytes) -> None:
        self.bytes_read += len(data)
        if self.head is None:
            self._received += data
            return
        if not self._borrow(len(data)):
            raise ServerBusy
        assert isinstance(self.body, bytearray)
        self.body += data

    def _is_whole(self) -> bool:
        if self.head is None:
            # RFC 9112 §2.2: some clients send an empty line after a body.
            self._received = self._received.removeprefix(b"\r\n")
            end = find_end(self._received, self._looked_at)
            if not end:
                self._looked_at = len(self._received)
                return False
            self.head = head = read_head(self._received[:end])
            if head.length > self._max_body_bytes:
                raise ContentTooLarge(
                    f"The body has {head.length} bytes; {self._max_body_bytes} are taken at the most."
                )
            self.body = self._received[end : end + head.length]
            self._received = self._received[end + head.length :]
            if len(self.body) < head.length:
                self.body = bytearray(self.body)
                if head.is_asking:
                    self._ask()
        return len(self.body) == self.head.length

    def _end(self) -> HttpError:
        if self.head is None:
            return MalformedRequest("The request ended within its head.")
        return TruncatedBody(self.head.length, len(self.body))
