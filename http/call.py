"""Call and Answer: a request and its response, as the handlers of the routes see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .parameters import P, parse_query
from .problems import BodyTimeout, LengthRequired, TruncatedBody, UnsupportedMediaType

JSON = "application/json"


class Answer(NamedTuple):
    """What a handler gives back."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """Beyond Content-Type and Content-Length."""
    content_type: str = JSON


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

    def query(self, kind: type[P]) -> P:
        """The parameters of the query.

        Args:
            kind: those that this call knows; each has a default.

        Raises:
            InvalidParameter: one is unknown, given twice, or breaks its rule.
        """
        return parse_query(self._query_string, kind) if self._query_string else kind()

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
