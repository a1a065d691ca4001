"""What comes over a connection, cut into requests. Knows no socket."""

from __future__ import annotations

from ..wire.chunked import ChunkedBody
from ..wire.errors import ContentTooLarge, HttpError, MalformedRequest, TruncatedBody
from ..wire.request_head import Head, find_end, read_head


class RequestReader:
    """What has come over a connection, cut into requests.

    Args:
        max_body_bytes: what is taken of a body at the most.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._received: bytes | bytearray = b""
        self._looked_at = 0
        self._chunks: ChunkedBody | None = None
        self.head: Head | None = None
        """Of the request that comes, where it is there before the body is."""

    @property
    def has_begun(self) -> bool:
        """Whether there is anything of a further request."""
        return bool(self._received) or self.head is not None

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their request."""
        return len(self._received) + (0 if self._chunks is None else len(self._chunks.content))

    def must_ask(self) -> bool:
        """Whether the client waits for a word before it sends the rest; said once for each request."""
        if self.head is None or not self.head.is_asking:
            return False
        self.head = self.head._replace(is_asking=False)
        return not self._received

    def feed(self, data: bytes) -> None:
        """Something has come."""
        if not self._received:
            self._received = data
        elif isinstance(self._received, bytearray):
            self._received += data
        else:
            self._received = bytearray(self._received) + data

    def next(self) -> tuple[Head, bytes | bytearray | None] | None:
        """The head and the body of the next request; None while they have not come as a whole.

        Raises:
            HttpError: there is something wrong with it, so that nobody can tell what follows.
        """
        head = self.head
        if head is None:
            # RFC 9112 §2.2: some clients send an empty line after a body.
            if self._received[:2] == b"\r\n":
                self._received = self._received[2:]
            end = find_end(self._received, self._looked_at)
            if not end:
                self._looked_at = len(self._received)
                return None
            self._looked_at = 0
            self.head = head = read_head(bytes(self._received[:end]))
            self._received = self._received[end:]
            if head.is_chunked:
                self._chunks = ChunkedBody(self._max_body_bytes)
            elif head.length is not None and head.length > self._max_body_bytes:
                raise ContentTooLarge(
                    f"The body has {head.length} bytes; {self._max_body_bytes} are taken at the most."
                )
        body: bytes | bytearray | None = None
        if self._chunks is not None:
            if not isinstance(self._received, bytearray):
                self._received = bytearray(self._received)
            if not self._chunks.take(self._received):
                return None
            body = self._chunks.content
            self._chunks = None
        elif head.length is not None:
            if len(self._received) < head.length:
                return None
            body = self._received[: head.length]
            self._received = self._received[head.length :]
        self.head = None
        return head, body

    def end(self) -> HttpError | None:
        """The client sends nothing more: what is wrong with that, if it is within a request."""
        if not self.has_begun:
            return None
        if self.head is None:
            return MalformedRequest("The request ended within its head.")
        return TruncatedBody(self.head.length, self.held)
