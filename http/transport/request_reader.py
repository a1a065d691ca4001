"""What comes over a connection, cut into requests. Knows no socket."""

from __future__ import annotations

from ..wire.chunked import ChunkedBody
from ..wire.errors import ContentTooLarge, MalformedRequest, TruncatedBody
from ..wire.message import BodyContent
from ..wire.request_head import Head, find_end, read_head

SKIPPED_BYTES = 64 * 1024
"""A body that nobody wants is read over where it is no longer than this; beyond, the connection is given up."""


class RequestReader:
    """What has come over a connection, cut into requests.

    `read_head`, `expect_body`, and `read_body` until it is there: in between the head can be judged, before anything of
    the body is asked for or kept.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_is_skipping",
        "_looked_at",
        "_received",
        "_skipped",
        "body_bytes",
        "head",
        "is_lost",
    )

    def __init__(self) -> None:
        self._received: BodyContent = b""
        self._looked_at = 0
        self._chunks: ChunkedBody | None = None
        self._body: BodyContent | None = None
        self._is_skipping = False
        self._skipped = 0
        self.head: Head | None = None
        """Of the request whose body comes."""
        self.body_bytes = 0
        """The size of the body that has been read; 0 where there is none."""
        self.is_lost = False
        """Whether nobody can tell where the next request begins."""

    @property
    def has_begun(self) -> bool:
        """Whether there is anything of a further request."""
        return bool(self._received) or self.head is not None

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their request."""
        return len(self._received) + self.body_bytes + (0 if self._chunks is None else len(self._chunks.content))

    @property
    def is_behind(self) -> bool:
        """Whether more of a body has come than was read at once: read on, in a moment."""
        return self._chunks is not None and self._chunks.is_behind

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

    def read_head(self) -> Head | None:
        """The head of the next request; None while it has not come as a whole.

        Raises:
            HttpError: there is something wrong with it, so that nobody can tell what follows.
        """
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
        return head

    def expect_body(self, max_bytes: int) -> None:
        """Say what is to become of the body whose head was read.

        Args:
            max_bytes: what is taken of it at the most; 0 where it is not wanted: it is read over if it is short, and
                given up if it is long, or not sent before it is asked for.

        Raises:
            ContentTooLarge: it says itself that it has more.
        """
        head = self.head
        assert head is not None
        self._is_skipping = not max_bytes
        if head.is_chunked:
            self._chunks = ChunkedBody(max_bytes or SKIPPED_BYTES)
            self.is_lost = self._is_skipping and head.is_asking and not self._received
        elif self._is_skipping:
            self._skipped = head.length or 0
            is_here = len(self._received) >= self._skipped
            self.is_lost = not is_here and (head.is_asking or self._skipped > SKIPPED_BYTES)
        elif head.length is not None and head.length > max_bytes:
            raise ContentTooLarge(f"The body has {head.length} bytes; {max_bytes} are taken at the most.")

    def read_body(self) -> bool:
        """Whether the body is there as a whole; `take_body` gives it then.

        Raises:
            HttpError: there is something wrong with it, so that nobody can tell what follows.
        """
        head = self.head
        assert head is not None
        if self._body is not None:
            return True
        if self._chunks is not None:
            return self.is_lost or self._read_chunks(self._chunks)
        if self._skipped:
            return self.is_lost or self._skip()
        length = head.length
        if length is not None and not self._is_skipping:
            received = self._received
            if len(received) < length:
                return False
            self._received = received[length:]
            if isinstance(received, bytearray):
                del received[length:]
            elif self._received:
                received = received[:length]
            self._body = received
            self.body_bytes = length
        return True

    def take_body(self) -> BodyContent | None:
        """The body that has been read; None where none was announced, or wanted. What follows is the next request."""
        self.head = None
        self.body_bytes = 0
        body, self._body = self._body, None
        return body

    def _read_chunks(self, chunks: ChunkedBody) -> bool:
        if not isinstance(self._received, bytearray):
            self._received = bytearray(self._received)
        try:
            is_whole = chunks.take(self._received)
        except ContentTooLarge:
            if not self._is_skipping:
                raise
            self.is_lost = True
        else:
            self.is_lost = self._is_skipping and chunks.is_behind
            if not is_whole and not self.is_lost:  # which nobody waits for the end of
                return False
        if not self._is_skipping:
            self._body = chunks.content
            self.body_bytes = len(chunks.content)
        self._chunks = None
        return True

    def _skip(self) -> bool:
        part = min(self._skipped, len(self._received))
        self._received = self._received[part:]
        self._skipped -= part
        return not self._skipped

    def end(self) -> None:
        """The client sends nothing more.

        Raises:
            MalformedRequest: that is within the head of a request.
            TruncatedBody: that is within its body.
        """
        if not self.has_begun:
            return
        if self.head is None:
            raise MalformedRequest("The request ended within its head.")
        raise TruncatedBody(self.head.length, self.held)
