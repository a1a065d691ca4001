"""Message framing (RFC 9112): where a request ends, and what its head says. Whatever two readers could read in two ways
is refused: that is what request smuggling is made of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .errors import HeadTooLarge, LengthRequired, MalformedRequest, MethodNotAllowed, TargetTooLong
from .header_lists import MAX_ELEMENTS
from .message import WireRequest

MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8 * 1024
"""Of all that a field says, where it is repeated too."""

_REMEMBERED_HEADS = 256
_REMEMBERED_BYTES = 1024
_END_OF_LINE = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
# Tab, the printable characters of ASCII, and the bytes above them, which RFC 9110 calls obs-text.
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) (HTTP/\d\.\d)")
_FIELD_NAME = re.compile(_TOKEN)
_AUTHORITY = r"[!$&-.0-;=A-Z\[\]_a-z~%]"
_HOST = re.compile(f"{_AUTHORITY}*")
_ABSOLUTE = re.compile(f"[Hh][Tt][Tt][Pp][Ss]?://{_AUTHORITY}+([/?].*)?")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile(r"(?i)(%2f)")
_DIGITS = re.compile("[0-9]{1,18}")  # a length of more digits is refused
_IGNORED = ""
_SINGLE = frozenset({"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding"})


class Head(NamedTuple):
    """The request line and the header of a request."""

    request: WireRequest
    """What is asked for."""
    version: str
    """`HTTP/1.1` or `HTTP/1.0`."""
    length: int | None
    """Bytes of the body; None where they are not announced."""
    is_chunked: bool
    """Whether the body comes in chunks."""
    is_kept: bool
    """Whether the client leaves the connection open for another request."""
    is_asking: bool
    """Whether the client waits for a word before it sends the body: `Expect: 100-continue`."""


def find_end(received: bytes | bytearray, begin: int = 0) -> int:
    """Where the body begins, in what has come of a request so far; 0 while the head is not complete.

    Args:
        received: from the first byte of the request.
        begin: how much of it has been looked at before.

    Raises:
        TargetTooLong: the request line is too long.
        HeadTooLarge: the head is.
        MalformedRequest: it can become no head any more.
    """
    end = received.find(_END_OF_HEAD, begin - 3 if begin > 3 else 0)
    if 0 <= end <= MAX_HEAD_BYTES:
        return end + 4
    if len(received) > MAX_HEAD_BYTES:
        if received.find(_END_OF_LINE, 0, MAX_HEAD_BYTES) < 0:
            raise TargetTooLong(MAX_TARGET_BYTES)
        raise HeadTooLarge(f"The header is longer than {MAX_HEAD_BYTES} bytes.")
    # Do not wait for the rest of what is no HTTP: TLS on the wrong port, or lines without CR.
    # What was looked at before is not looked at again: a head may come byte by byte.
    begin -= received[max(0, begin - 1) : begin] == b"\r"
    _check_text(received[begin:].removesuffix(b"\r"))
    return 0


def read_head(head: bytes) -> Head:
    """What the head of a request says.

    Args:
        head: with the empty line at its end.

    Raises:
        MalformedRequest: it breaks a rule; the error names it.
        LengthRequired: the body has no length, and does not come in chunks.
        TargetTooLong: the request line is too long.
        HeadTooLarge: there are too many fields.
        MethodNotAllowed: the request is for a tunnel.
    """
    # A client that keeps its connection sends much the same head again and again.
    return _read_again(head) if len(head) <= _REMEMBERED_BYTES else _read(head)


def _read(head: bytes) -> Head:
    _check_text(head)
    request_line, _, lines = head[:-4].decode("latin-1").partition("\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise MalformedRequest("The request line is not of the form METHOD /path HTTP/1.1.")
    method, target, version = match.groups()
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise MalformedRequest("HTTP/1.1 and HTTP/1.0 are spoken here, and no other version.")
    path, query = _read_target(method, target)
    fields = _read_lines(lines)
    if "Host" not in fields:
        if version == "HTTP/1.1":
            raise MalformedRequest("A request of HTTP/1.1 names its host.", "Host")
    elif _HOST.fullmatch(fields["Host"]) is None:
        raise MalformedRequest("This is the name of no host.", "Host")
    is_kept = version == "HTTP/1.1"
    if "Connection" in fields:
        options = fields["Connection"].lower().replace(" ", "").split(",")
        is_kept = "close" not in options and (is_kept or "keep-alive" in options)
    is_asking = fields.get("Expect", "").lower() == "100-continue" and version == "HTTP/1.1"
    length, is_chunked = _read_length(version, fields)
    return Head(WireRequest(method, path, query, fields), version, length, is_chunked, is_kept, is_asking)


_read_again = lru_cache(_REMEMBERED_HEADS)(_read)


def read_fields(lines: bytes) -> dict[str, str]:
    """The fields of a header or a trailer.

    Args:
        lines: without the line end of the last one.

    Raises:
        MalformedRequest: a line is not a field, or a field is given twice that must not be.
        HeadTooLarge: there are too many.
    """
    _check_text(lines)
    return _read_lines(lines.decode("latin-1"))


def _check_text(head: bytes | bytearray) -> None:
    # Nothing but whole line ends may be left when all text is taken away.
    ends = head.translate(None, _TEXT)
    if ends != _END_OF_LINE * (len(ends) // 2):
        raise MalformedRequest("The head has a control character in it, or a line that does not end with CR LF.")


def _read_target(method: str, target: str) -> tuple[str, str]:
    if len(target) > MAX_TARGET_BYTES:
        raise TargetTooLong(MAX_TARGET_BYTES)
    if target[0] != "/":
        if target == "*" and method == "OPTIONS":
            return target, ""
        if method == "CONNECT":
            raise MethodNotAllowed("GET, HEAD, OPTIONS, POST")
        # As proxies get it, and servers have to take it (RFC 9112 §3.2.2). Whom it names is nobody else than this one.
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise MalformedRequest("The target is neither a path that begins with a slash nor an http address.")
        target = absolute[1] or ("*" if method == "OPTIONS" else "/")
        target = target if target[0] != "?" else f"/{target}"
    if "#" in target:
        raise MalformedRequest("The target has a fragment, which clients keep for themselves.")
    path, _, query = target.partition("?")
    if "%" in target:
        if _BROKEN_PERCENT.search(target):
            raise MalformedRequest("The target has a percent sign that two hexadecimal digits do not follow.")
        path = "".join(
            part if _SLASH.fullmatch(part) else unquote_to_bytes(part).decode("latin-1") for part in _SLASH.split(path)
        )
    return path, query


def _read_lines(text: str) -> dict[str, str]:
    lines = text.split("\r\n") if text else []
    if len(lines) > MAX_FIELDS:
        raise HeadTooLarge(f"The header has more than {MAX_FIELDS} fields.")
    fields: dict[str, str] = {}
    for line in lines:
        raw_name, colon, value = line.partition(":")
        name = _field_name(raw_name)
        if not colon:
            raise MalformedRequest("A line of the header has no colon.")
        value = value.strip(" \t")
        if name in fields:
            if name in _SINGLE:
                raise MalformedRequest("The field is given more than once.", name)
            value = f"{fields[name]}, {value}"
        if len(value) > MAX_ELEMENTS:
            _check_size(name, value)
        fields[name] = value
    fields.pop(_IGNORED, None)
    return fields


def _check_size(name: str, value: str) -> None:
    # Not all that reads fields here is ours: what takes long for many of something must not get many.
    if len(value) > MAX_FIELD_BYTES:
        raise HeadTooLarge(f"The field {name} has more than {MAX_FIELD_BYTES} bytes.")
    if value.count(",") + value.count(";") > MAX_ELEMENTS:
        raise HeadTooLarge(f"The field {name} has more than {MAX_ELEMENTS} elements.")


@lru_cache(maxsize=256)
def _field_name(name: str) -> str:
    if name[:1] in (" ", "\t"):
        raise MalformedRequest("A line of the header begins with a blank: folded lines are not taken.")
    if _FIELD_NAME.fullmatch(name) is None:
        raise MalformedRequest("A name in the header is empty, or has a character that no name may have.")
    # WSGI cannot tell an underscore from a hyphen: Content_Length would stand for Content-Length.
    return _IGNORED if "_" in name else name.title()


def _read_length(version: str, fields: dict[str, str]) -> tuple[int | None, bool]:
    if "Transfer-Encoding" in fields:
        if "Content-Length" in fields:
            raise MalformedRequest("Content-Length and Transfer-Encoding exclude each other.", "Content-Length")
        if fields["Transfer-Encoding"].lower() != "chunked" or version == "HTTP/1.0":
            raise LengthRequired
        return None, True
    length = fields.get("Content-Length")
    if length is None:
        return None, False
    if _DIGITS.fullmatch(length) is None:
        raise MalformedRequest("The length is not a whole number of bytes.", "Content-Length")
    return int(length), False
