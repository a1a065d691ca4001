"""What a server tells whoever calls its address without a path: people get the pages, programs get links."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from ..framework.request import PlainRequest
from ..framework.response import Response
from .responses import encode


class Links(msgspec.Struct, frozen=True):
    """Where to go on."""

    orders: str = "/orders"
    """The orders."""
    metrics: str = "/metrics"
    """How the engine is doing."""
    readiness: str = "/readyz"
    """Whether orders are taken."""
    description: str = "/openapi.json"
    """The description of the API."""
    documentation: str = "/docs"
    """The same for people."""
    dashboard: str = "/dashboard/"
    """The pages for operators."""


_LINKS = Links()


class HomeCalls:
    """For whoever has nothing but the server's address."""

    def __init__(self) -> None:
        self._links = encode(_LINKS)

    def read(self, request: PlainRequest) -> Response:
        """Links to what there is; a browser is sent to the pages."""
        if "text/html" in request.fields.get("Accept", ""):
            headers = (("Location", _LINKS.dashboard), ("Vary", "Accept"))
            return Response(b"", HTTPStatus.SEE_OTHER, headers)
        return Response(self._links, headers=(("Vary", "Accept"),))
