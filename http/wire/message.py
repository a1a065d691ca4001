"""A request and its answer as they are when nothing is known of sockets, of WSGI or of orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import msgspec

BodyContent: TypeAlias = bytes | bytearray
"""The body of a request. A large one is handed on as it was gathered: a copy of megabytes would hold up the loop."""


class WireRequest(msgspec.Struct, frozen=True, gc=False):
    """A request whose head has come; its body comes by itself."""

    method: str
    path: str
    """Percent-decoded, each byte as one character (PEP 3333 has it so), but for encoded slashes."""
    query: str
    """The part of the target behind the question mark, as it was sent."""
    fields: Mapping[str, str]
    """The header, by name as in `Content-Type`; fields that were repeated are joined by commas."""


class PendingAnswer(Protocol):
    """An answer, or the rest of it, that is not there yet."""

    def hurry(self) -> None:
        """The client sends nothing more, and may have gone: do not wait for what need not be waited for."""

    def abandon(self) -> None:
        """The client has gone: nobody wants the answer any more."""

    def check(self) -> None:
        """See whether the client may still have it; called several times a second."""


class WireStream(PendingAnswer, Iterable[bytes], Protocol):
    """A body that goes on, part by part; hurried, it ends where it would wait. To iterate over it is to wait for it."""

    def pull(self, take: Callable[[bytes | None], object], cut: Callable[[], object]) -> None:
        """Have the next part given, once it is there: the client can take it. Not before the last one was given.

        Args:
            take: called in the loop with it, be it before this returns; with None where the body ends.
            cut: called instead where it cannot go on, so that it must not look whole.
        """


class WireResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer."""

    status: int
    headers: Iterable[tuple[str, str]]
    """Without those that belong to the connection: Connection, Date, Server, Transfer-Encoding."""
    body: bytes | WireStream
    """As it is sent; empty for HEAD, whatever Content-Length says."""
