"""StaticResource: what stays the same while the server runs. Clients keep it, and ask whether it has changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple

from ..wire.conditional import matches, pack
from ..wire.headers import JSON, Headers
from .request import PlainRequest
from .response import Response

_KEEP: Headers = (("Cache-Control", "public, no-cache"),)


class _Content(NamedTuple):
    body: bytes
    packed: bytes
    tag: str


class StaticResource:
    """A document.

    Args:
        load: gives its content; called with the first request.
        policy: what it may do in a browser.
        media_type: of the content.
    """

    def __init__(self, load: Callable[[], bytes], policy: Headers, media_type: str = JSON) -> None:
        self._load = load
        self._policy: Headers = (*_KEEP, *policy)
        self._media_type = media_type

    def read(self, request: PlainRequest) -> Response:
        """The document."""
        body, packed, tag = self._content
        headers = (("ETag", tag),)
        if matches(request.fields.get("If-None-Match", ""), tag):
            return Response(b"", HTTPStatus.NOT_MODIFIED, headers, policy=self._policy)
        return Response(body, HTTPStatus.OK, headers, self._media_type, self._policy, packed)

    @cached_property
    def _content(self) -> _Content:
        body = self._load()
        return _Content(body, pack(body), f'W/"{sha256(body).hexdigest()[:32]}"')
