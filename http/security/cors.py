"""Cross-origin requests: which pages of other sites may call from a browser. None by default."""

from __future__ import annotations

from collections.abc import Mapping

from ...store.domain.errors import InvalidConfiguration
from ..wire.headers import Headers

_EXPOSED = "ETag, Idempotency-Key, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
_ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
_MAX_AGE_SECONDS = "600"


class Cors:
    """The origins whose pages may call.

    Keys travel in a header that a page has to set itself, never in cookies: so no credentials are allowed for, and an
    origin that is let in gets no more than its key is good for.

    Args:
        origins: `https://shop.example`, several with commas between them, or `*` for all; None for none.

    Raises:
        InvalidConfiguration: one of them is not an origin.
    """

    def __init__(self, origins: str | None) -> None:
        self._origins = frozenset(origin.strip() for origin in origins.split(",")) if origins else frozenset()
        self.is_on = bool(self._origins)
        """Whether any origin may call."""
        for origin in self._origins - {"*"}:
            scheme, separator, host = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not host or set(host) & set("/?#@* "):
                raise InvalidConfiguration(
                    f"An origin is written like https://shop.example, without a path; {origin!r} is not."
                )

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        return "*" in self._origins or origin in self._origins

    def headers(self, fields: Mapping[str, str]) -> Headers:
        """What goes along with an answer.

        Args:
            fields: the header of the request.
        """
        if "*" in self._origins:
            return (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED))
        origin = fields.get("Origin", "")
        if origin not in self._origins:
            return (("Vary", "Origin"),)
        return (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        )

    def preflight_headers(self, fields: Mapping[str, str], allow: str) -> Headers:
        """What goes along with an answer to OPTIONS, beyond `headers`: what a page may send.

        Args:
            fields: the header of the request.
            allow: the methods that the path takes.
        """
        if "Access-Control-Request-Method" not in fields:
            return ()
        return (
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Allow-Headers", _ALLOWED),
            ("Access-Control-Max-Age", _MAX_AGE_SECONDS),
        )
