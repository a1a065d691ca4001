"""The headers of requests: declared once, read here, described in the OpenAPI."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..wire import request_id

_REQUEST_ID = "5f1d09a3c2b7-1"

RequestId = Annotated[
    str,
    Meta(
        description="Your name for the request, up to 128 visible characters; without one, it gets one.",
        examples=[_REQUEST_ID],
    ),
]


class RequestHeaders(msgspec.Struct, frozen=True, rename={"request_id": request_id.HEADER}):
    """What any request may say."""

    request_id: RequestId | UnsetType = UNSET


H = TypeVar("H", bound=msgspec.Struct)
"""The headers that mean something to an operation, as the client wrote them: what one of them means is up to whoever
uses it."""
