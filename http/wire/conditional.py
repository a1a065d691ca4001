"""What lets a client fetch less: entity tags, compression, and a wait instead of a poll."""

from __future__ import annotations

import gzip

from .header_lists import read_list, unquote

COMPRESSED_FROM = 1024
"""Bodies below so many bytes are sent as they are: hardly any of them would fit into fewer packets."""

_LEVEL = 4  # twice as fast as the default of 6, for a twentieth more bytes


def matches(if_none_match: str, tag: str) -> bool:
    """Whether the client has what the tag names (RFC 9110 §13.1.2).

    Args:
        if_none_match: the header, or the empty string.
        tag: of what there is.
    """
    if not if_none_match:
        return False
    if if_none_match.strip() == "*":
        return True
    opaque = tag.removeprefix("W/")
    return any(element.value.removeprefix("W/") == opaque for element in read_list(if_none_match))


def compress(body: bytes, accept_encoding: str, packed: bytes | None = None) -> bytes | None:
    """The body as gzip, or None where the client does not take it.

    Args:
        body: what there is.
        accept_encoding: the header, or the empty string.
        packed: the body as gzip, where that was made beforehand.
    """
    return (packed or pack(body)) if takes_gzip(accept_encoding) else None


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip, by its `Accept-Encoding`."""
    weights = {element.value.lower(): element.weight for element in read_list(accept_encoding)}
    return max(weights.get("gzip", weights.get("*", 0.0)), weights.get("x-gzip", 0.0)) > 0


def pack(body: bytes) -> bytes:
    """A body as gzip."""
    return gzip.compress(body, _LEVEL, mtime=0)


def preferred_wait(prefer: str) -> int | None:
    """How many seconds the client prefers to wait (RFC 7240 §4.3); None where it does not say.

    A preference that makes no sense is ignored, as the RFC has it.

    Args:
        prefer: the header, or the empty string.
    """
    for preference in read_list(prefer):
        name, _, value = preference.value.partition("=")
        seconds = unquote(value.strip())
        if name.strip().lower() == "wait" and seconds.isascii() and seconds.isdecimal() and len(seconds) < 10:
            return int(seconds)
    return None
