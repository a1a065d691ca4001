"""Request: what a client asks, as the handlers of the routes see it."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from hashlib import sha256

from ...engine import Cause, IdempotencyKey
from ..security.access import ANYBODY, Principal
from ..wire.conditional import preferred_wait
from ..wire.errors import ContentTooLarge, LengthRequired, NotJson, UnsupportedMediaType
from ..wire.header_lists import read_list
from ..wire.idempotency_key import read_idempotency_key
from ..wire.message import WireRequest
from .parameters import P, parse_query

_BYTE_ORDER_MARKS = (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)
_UTF_8 = ("utf-8", "utf8")  # the second is no name of it that is registered, but a common one


class Request:
    """One request.

    Args:
        request: as it came over the wire.
        order_id: the order that the path names, or the empty string.
        principal: who sent it.
        request_id: its name.
    """

    __slots__ = ("_request", "order_id", "principal", "request_id")

    def __init__(
        self, request: WireRequest, order_id: str, principal: Principal = ANYBODY, request_id: str = ""
    ) -> None:
        self._request = request
        self.order_id = order_id
        """The order that it is about, or the empty string; for the log too."""
        self.principal = principal
        self.request_id = request_id

    @property
    def accept(self) -> str:
        """The media types that the client prefers, as it wrote them."""
        return self._request.fields.get("Accept", "")

    @property
    def if_none_match(self) -> str:
        """The entity tags of what the client has, as it wrote them."""
        return self._request.fields.get("If-None-Match", "")

    @property
    def preferred_wait(self) -> int | None:
        """How many seconds the client prefers to wait; None where it does not say."""
        return preferred_wait(self._request.fields)

    @property
    def cause(self) -> Cause:
        """Who calls, for the history of the orders."""
        return Cause(self.request_id, self.principal.name)

    def idempotency(self, body: bytes) -> IdempotencyKey | None:
        """The client's name for this request; None where it has none.

        Args:
            body: of the request.

        Raises:
            MalformedRequest: it is no string of structured fields (RFC 9651), nor a plain word.
        """
        given = self._request.fields.get("Idempotency-Key")
        if given is None:
            return None
        return IdempotencyKey(read_idempotency_key(given), self.principal.user_id or "", sha256(body).hexdigest())

    def query(self, kind: type[P]) -> P:
        """The parameters of the query.

        Args:
            kind: those that this call knows; each has a default.

        Raises:
            InvalidParameter: one is unknown, given twice, or breaks its rule.
        """
        return parse_query(self._request.query, kind) if self._request.query else kind()

    def optional_body(self, media_type: str, max_bytes: int) -> bytes:
        """The body, or nothing where there is none; raises as `body` where there is one."""
        return self.body(media_type, max_bytes=max_bytes)[0] if self._request.body else b""

    def body(self, *media_types: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The body, and which of the media types it has.

        Args:
            media_types: those that this call takes.
            max_bytes: the largest body that this call takes; none for what the server takes.

        Raises:
            UnsupportedMediaType: it has none of them, or is encoded in another way than UTF-8.
            LengthRequired: its length is not given.
            ContentTooLarge: it is too large.
            NotJson: it is UTF-16.
        """
        fields = self._request.fields
        media_type = fields.get("Content-Type", "")
        if media_type not in media_types:
            media_type = _without_parameters(media_type)
            if media_type not in media_types:
                raise UnsupportedMediaType(f"Send the body with Content-Type: {' or '.join(media_types)}.")
        if fields.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("Send the body as it is, without Content-Encoding.")
        body = self._request.body
        if body is None:
            raise LengthRequired
        if max_bytes is not None and len(body) > max_bytes:
            raise ContentTooLarge(f"The body has {len(body)} bytes; {max_bytes} are taken here at the most.")
        if body.startswith(_BYTE_ORDER_MARKS):
            if not body.startswith(BOM_UTF8):
                raise NotJson("it begins with the byte order mark of UTF-16; send it in UTF-8")
            body = body[len(BOM_UTF8) :]
        return bytes(body), media_type


def _without_parameters(content_type: str) -> str:
    elements = read_list(content_type)
    if len(elements) != 1:  # it is no list
        return ""
    ((media_type, parameters),) = elements
    if parameters.get("charset", "utf-8").lower() not in _UTF_8:
        raise UnsupportedMediaType("Send the body in UTF-8: no other charset is taken.")
    return media_type.lower()
