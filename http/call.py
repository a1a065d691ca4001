"""Call and Answer: a request and its response, as the handlers of the routes see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..engine import Reply
from .problems import BodyTimeout, InvalidParameter, LengthRequired, TruncatedBody, UnsupportedMediaType

JSON = "application/json"


class Answer(NamedTuple):
    """What a handler gives back."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """Beyond Content-Type and Content-Length."""
    content_type: str = JSON


class Later(NamedTuple):
    """An answer that is not there yet. No thread has to wait for it."""

    reply: Reply[Any]
    """Set when it is time to go on."""
    go_on: Callable[[], Answer | Later]
    """Gives the answer then, or what has to be waited for next."""


Response = Answer | Later


class Call:
    """One request.

    Args:
        environ: as PEP 3333 has it.
        query_string: the part of the address behind the question mark.
        order_id: the order that the path names, or the empty string.
    """

    __slots__ = ("_environ", "_query_string", "order_id")

    def __init__(self, environ: Mapping[str, Any], query_string: str, order_id: str) -> None:
        self._environ = environ
        self._query_string = query_string
        self.order_id = order_id

    @property
    def accept(self) -> str:
        """The media types that the client prefers, as it wrote them."""
        value: str = self._environ.get("HTTP_ACCEPT", "")
        return value

    def query(self, *allowed: str) -> dict[str, str]:
        """The parameters of the query.

        Args:
            allowed: the names that this call knows.

        Raises:
            InvalidParameter: a name is unknown, or given twice.
        """
        if not self._query_string:
            return {}
        found: dict[str, str] = {}
        for name, value in parse_qsl(self._query_string, keep_blank_values=True):
            if name not in allowed:
                known = ", ".join(allowed) or "none"
                raise InvalidParameter(name, f"is unknown here; known: {known}")
            if name in found:
                raise InvalidParameter(name, "is given more than once")
            found[name] = value
        return found

    def body(self, *media_types: str) -> tuple[bytes, str]:
        """The body, and which of the media types it has.

        Args:
            media_types: those that this call takes.

        Raises:
            UnsupportedMediaType: it has none of them.
            LengthRequired: its length is not given.
            BodyTimeout: it stopped coming.
            TruncatedBody: it ended before its announced length.
        """
        media_type = self._environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type not in media_types:
            raise UnsupportedMediaType(media_types)
        length = self._environ.get("CONTENT_LENGTH")
        if not length or self._environ.get("wsgi.input_terminated"):
            raise LengthRequired
        expected = int(length)
        try:
            body: bytes = self._environ["wsgi.input"].read(expected)
        except OSError:
            raise BodyTimeout from None
        if len(body) < expected:
            raise TruncatedBody(expected, len(body))
        return body, media_type
