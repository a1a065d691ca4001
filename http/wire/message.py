"""A request and a response as they are when nothing is known of sockets, of WSGI or of orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class WireRequest(NamedTuple):
    """A request that has come as a whole."""

    method: str
    path: str
    """Percent-decoded, each byte as one character (PEP 3333 has it so), but for encoded slashes."""
    query: str
    """The part of the target behind the question mark, as it was sent."""
    fields: Mapping[str, str]
    """The header, by name as in `Content-Type`; fields that were repeated are joined by commas."""
    body: bytes | bytearray | None = None
    """None where none was announced."""


class WireResponse(NamedTuple):
    """An answer that is there as a whole."""

    status: int
    headers: Iterable[tuple[str, str]]
    """Without those that belong to the connection: Connection, Date, Server."""
    body: bytes
    """As it is sent; empty for HEAD, whatever Content-Length says."""
