"""Message framing (RFC 9112): where a request ends, and what its head says. Whatever two readers could read in two ways
is refused: that is what request smuggling is made of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .problems import HeadTooLarge, LengthRequired, MalformedRequest, MethodNotAllowed, TargetTooLong

MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
MAX_FIELDS = 100

_END_OF_LINE = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
# Tab, the printable characters of ASCII, and the bytes above them, which RFC 9110 calls obs-text.
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) (HTTP/\d\.\d)".encode())
_FIELD_NAME = re.compile(_TOKEN.encode())
_HOST = re.compile(rb"[!$&-.0-;=A-Z\[\]_a-z~%]*")
_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile(rb"(?i)(%2f)")
_IGNORED = b""
_SINGLE = frozenset({b"Host", b"Content-Length", b"Content-Type", b"Content-Encoding", b"Transfer-Encoding"})


class Head(NamedTuple):
    """The request line and the header of a request."""

    method: bytes
    target: bytes
    """As it was sent."""
    path: bytes
    """Percent-decoded, but for encoded slashes, which separate nothing."""
    query: bytes
    version: bytes
    """`HTTP/1.1` or `HTTP/1.0`."""
    fields: dict[bytes, bytes]
    """By name, as in `Content-Type`; fields that may be repeated are joined by commas."""
    length: int
    """Bytes of the body."""
    is_kept: bool
    """Whether the client leaves the connection open for another request."""
    is_asking: bool
    """Whether the client waits for a word before it sends the body: `Expect: 100-continue`."""


def find_end(received: bytes, begin: int = 0) -> int:
    """Where the body begins, in what has come of a request so far; 0 while the head is not complete.

    Args:
        received: from the first byte of the request.
        begin: how much of it has been looked at before.

    Raises:
        TargetTooLong: the request line is too long.
        HeadTooLarge: the head is.
        MalformedRequest: it can become no head any more.
    """
    end = received.find(_END_OF_HEAD, max(0, begin - 3))
    if 0 <= end <= MAX_HEAD_BYTES:
        return end + 4
    if len(received) > MAX_HEAD_BYTES:
        if received.find(_END_OF_LINE, 0, MAX_HEAD_BYTES) < 0:
            raise TargetTooLong(MAX_TARGET_BYTES)
        raise HeadTooLarge(f"The header is longer than {MAX_HEAD_BYTES} bytes.")
    # Do not wait for the rest of what is no HTTP: TLS on the wrong port, or lines without CR.
    _check_text(received.removesuffix(b"\r"))
    return 0


def read_head(head: bytes) -> Head:
    """What the head of a request says.

    Args:
        head: with the empty line at its end.

    Raises:
        MalformedRequest: it breaks a rule; the error names it.
        LengthRequired: the body has no length of its own.
        TargetTooLong: the request line is too long.
        HeadTooLarge: there are too many fields.
        MethodNotAllowed: the request is for a proxy.
    """
    _check_text(head)
    request_line, *lines = head[:-4].split(_END_OF_LINE)
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise MalformedRequest("The request line is not of the form METHOD /path HTTP/1.1.")
    method, target, version = match.groups()
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise MalformedRequest("HTTP/1.1 and HTTP/1.0 are spoken here, and no other version.")
    path, query = _read_target(method, target)
    fields = _read_fields(lines)
    if b"Host" not in fields:
        if version == b"HTTP/1.1":
            raise MalformedRequest("A request of HTTP/1.1 names its host.", "Host")
    elif _HOST.fullmatch(fields[b"Host"]) is None:
        raise MalformedRequest("This is the name of no host.", "Host")
    is_kept = version == b"HTTP/1.1"
    if b"Connection" in fields:
        options = fields[b"Connection"].lower().replace(b" ", b"").split(b",")
        is_kept = b"close" not in options and (is_kept or b"keep-alive" in options)
    is_asking = b"Expect" in fields and fields[b"Expect"].lower() == b"100-continue" and version == b"HTTP/1.1"
    return Head(method, target, path, query, version, fields, _read_length(fields), is_kept, is_asking)


def _check_text(head: bytes) -> None:
    # Nothing but whole line ends may be left when all text is taken away.
    ends = head.translate(None, _TEXT)
    if ends != _END_OF_LINE * (len(ends) // 2):
        raise MalformedRequest("The head has a control character in it, or a line that does not end with CR LF.")


def _read_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    if len(target) > MAX_TARGET_BYTES:
        raise TargetTooLong(MAX_TARGET_BYTES)
    if target[:1] != b"/":
        if target == b"*" and method == b"OPTIONS":
            return target, b""
        if method == b"CONNECT":
            raise MethodNotAllowed("GET, HEAD, OPTIONS, POST")
        raise MalformedRequest("The target is not a path that begins with a slash.")
    if b"#" in target:
        raise MalformedRequest("The target has a fragment, which clients keep for themselves.")
    path, _, query = target.partition(b"?")
    if b"%" in target:
        if _BROKEN_PERCENT.search(target):
            raise MalformedRequest("The target has a percent sign that two hexadecimal digits do not follow.")
        path = b"".join(part if _SLASH.fullmatch(part) else unquote_to_bytes(part) for part in _SLASH.split(path))
    return path, query


def _read_fields(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > MAX_FIELDS:
        raise HeadTooLarge(f"The header has more than {MAX_FIELDS} fields.")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        raw_name, colon, value = line.partition(b":")
        name = _field_name(raw_name)
        if not colon:
            raise MalformedRequest("A line of the header has no colon.")
        value = value.strip(b" \t")
        if name in fields:
            if name in _SINGLE:
                raise MalformedRequest("The field is given more than once.", name.decode())
            value = fields[name] + b", " + value
        fields[name] = value
    fields.pop(_IGNORED, None)
    return fields


@lru_cache(maxsize=256)
def _field_name(name: bytes) -> bytes:
    if name[:1] in (b" ", b"\t"):
        raise MalformedRequest("A line of the header begins with a blank: folded lines are not taken.")
    if _FIELD_NAME.fullmatch(name) is None:
        raise MalformedRequest("A name in the header is empty, or has a character that no name may have.")
    # WSGI cannot tell an underscore from a hyphen: Content_Length would stand for Content-Length.
    return _IGNORED if b"_" in name else name.title()


def _read_length(fields: dict[bytes, bytes]) -> int:
    if b"Transfer-Encoding" in fields:
        if b"Content-Length" in fields:
            raise MalformedRequest("Content-Length and Transfer-Encoding exclude each other.", "Content-Length")
        raise LengthRequired
    length = fields.get(b"Content-Length")
    if length is None:
        return 0
    # More digits than these are no length of anything.
    if not (length.isdigit() and len(length) <= 18):
        raise MalformedRequest("The length is not a whole number of bytes.", "Content-Length")
    return int(length)
