"""The chunked transfer coding (RFC 9112 §7.1): bodies whose length the sender does not know beforehand."""

from __future__ import annotations

import re

from .errors import ContentTooLarge, HeadTooLarge, MalformedRequest
from .request_head import MAX_HEAD_BYTES, read_fields

_END_OF_LINE = b"\r\n"
_MAX_LINE_BYTES = 256
_AT_ONCE = 1_000
# A size of more digits than these is refused. What follows a semicolon (extensions) is not used.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?")


class ChunkedBody:
    """A body that comes in chunks.

    Args:
        max_bytes: what is taken of it at the most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._missing = 0
        self._overhead = 0
        self._is_in_trailer = False
        self.content = bytearray()
        """What has come of the body."""
        self.is_behind = False
        """Whether more chunks have come than were taken at once: there may be one for each byte."""

    def take(self, received: bytearray) -> bool:
        """Take what there is, up to 1,000 chunks, and remove it from what was received.

        Returns:
            Whether that is all of the body. What is left then belongs to the next request.

        Raises:
            MalformedRequest: these are not chunks.
            ContentTooLarge: they are more than is taken.
            HeadTooLarge: what is around them is.
        """
        self.is_behind = False
        taken = 0
        while not self._is_in_trailer:
            if self._missing > 2:
                part = received[: self._missing - 2]
                self.content += part
                self._missing -= len(part)
                del received[: len(part)]
            if self._missing:
                if len(received) < self._missing or self._missing > 2:
                    return False
                if not received.startswith(_END_OF_LINE):
                    raise MalformedRequest("A chunk is longer than its size says.")
                del received[:2]
                self._missing = 0
            if taken == _AT_ONCE:
                self.is_behind = True
                return False
            size = self._take_size(received)
            if size is None:
                return False
            if len(self.content) + size > self._max_bytes:
                raise ContentTooLarge(f"The body has more than {self._max_bytes} bytes.")
            taken += 1
            self._missing = size + 2 if size else 0
            self._is_in_trailer = not size
        return self._take_trailer(received)

    def _take_size(self, received: bytearray) -> int | None:
        end = received.find(_END_OF_LINE, 0, _MAX_LINE_BYTES + 2)
        if end < 0:
            if len(received) > _MAX_LINE_BYTES:
                raise HeadTooLarge(f"The line before a chunk is longer than {_MAX_LINE_BYTES} bytes.")
            return None
        match = _SIZE.fullmatch(received, 0, end)
        if match is None:
            raise MalformedRequest("The size of a chunk is not a hexadecimal number.")
        size = int(match[1], 16)
        self._overhead += end - len(match[1])
        if self._overhead > MAX_HEAD_BYTES:
            raise HeadTooLarge(f"The chunks have more than {MAX_HEAD_BYTES} bytes of extensions.")
        del received[: end + 2]
        return size

    def _take_trailer(self, received: bytearray) -> bool:
        # Read as strictly as the header, and thrown away: nobody here asks for any.
        if received.startswith(_END_OF_LINE):
            del received[:2]
            return True
        end = received.find(_END_OF_LINE * 2)
        if end < 0:
            if len(received) > MAX_HEAD_BYTES:
                raise HeadTooLarge(f"The trailer is longer than {MAX_HEAD_BYTES} bytes.")
            return False
        read_fields(bytes(received[:end]))
        del received[: end + 4]
        return True
