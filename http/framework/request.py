"""Request: what a client asks, as the handlers of the routes see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeAlias

from msgspec import convert

from ...engine import Cause
from ...store.domain.trace_context import sound_traceparent
from ..security.access import ANYBODY, Principal
from ..wire.message import BodyContent, WireRequest
from .body import NO_BODY, B, Body, read_body
from .parameters import NoParameters, Q, parse_query
from .request_headers import H, RequestHeaders


class Inputs(NamedTuple, Generic[Q, H, B]):
    """What a request may bring along besides its path: it is read by this, and described by this."""

    query: type[Q]
    """The parameters of the query."""
    headers: type[H]
    """The headers that mean something here; a field is renamed to its header."""
    body: Body[B]


NOTHING: Inputs[NoParameters, RequestHeaders, None] = Inputs(NoParameters, RequestHeaders, NO_BODY)
"""For a request that brings nothing along."""


class Request(Generic[Q, H, B]):
    """One request. The types that it has in brackets are those of its operation's query, headers and body.

    Args:
        request: as it came over the wire.
        content: its body, likewise; None where none was sent.
        path: what stands for the placeholders of the path, by name.
        principal: who sent it.
        request_id: its name.
    """

    __slots__ = (
        "_request",
        "_sent",
        "body",
        "content",
        "headers",
        "order_id",
        "path",
        "principal",
        "query",
        "request_id",
    )

    query: Q
    headers: H
    body: B
    """As the operation decodes it; there while the handler runs, and not where an answer that comes later is made."""
    content: BodyContent
    """The body as it was sent, without a byte order mark; likewise."""

    def __init__(
        self,
        request: WireRequest,
        content: BodyContent | None,
        path: Mapping[str, str],
        principal: Principal = ANYBODY,
        request_id: str = "",
    ) -> None:
        self._request = request
        self._sent = content
        self.path = path
        self.order_id = path.get("order_id", "")
        """The order that it is about, or the empty string; for the log too."""
        self.principal = principal
        self.request_id = request_id

    def read(self, inputs: Inputs[Q, H, B]) -> None:
        """Take in what it brings along.

        Args:
            inputs: what that may be.

        Raises:
            InvalidParameter: a parameter is unknown, given twice, or breaks its rule.
            Exception: what `read_body` raises.
        """
        request = self._request
        self.query = parse_query(request.query, inputs.query)
        self.headers = convert(request.fields, inputs.headers)
        self.content, self.body = read_body(request.fields, self._sent, inputs.body)
        self._sent = None

    def forget_body(self) -> None:
        """Let go of the body: it may be large, and the answer may take long."""
        del self.body, self.content

    @property
    def fields(self) -> Mapping[str, str]:
        """The header as it was sent, for what concerns the answer's form and no operation."""
        return self._request.fields

    @property
    def cause(self) -> Cause:
        """Who calls, for the history of the orders."""
        traceparent = self._request.fields.get("Traceparent")
        # Trace Context has what is none of its own ignored.
        sound = None if traceparent is None else sound_traceparent(traceparent)
        return Cause(self.request_id, self.principal.name, sound)


PlainRequest: TypeAlias = Request[NoParameters, RequestHeaders, None]
"""A request that brings nothing along."""
