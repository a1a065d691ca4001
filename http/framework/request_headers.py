"""The headers that the API speaks with, as its description has them: those of requests, and those of answers."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..api.fields import whole
from ..openapi.schemas import schema
from ..wire import idempotency_key as idempotency
from ..wire import request_id
from .parameters import MAX_WAIT_SECONDS

_REQUEST_ID = "5f1d09a3c2b7-1"

RequestId = Annotated[
    str,
    Meta(
        description="Your name for the request, up to 128 visible characters; without one, it gets one.",
        examples=[_REQUEST_ID],
    ),
]
IdempotencyKey = Annotated[
    str,
    Meta(
        extra_json_schema={"pattern": whole(idempotency.FORM)},
        description="Your name for this very body, a string of up to 255 characters; the quotes may be missing. "
        "The same name with another body is refused.",
        examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    ),
]
IfNoneMatch = Annotated[
    str,
    Meta(
        description="Entity tags of what you have: if it has not changed, the answer is a 304 without a body.",
        examples=['W/"1-1-Completed-6459e3c1b2d00"'],
    ),
]
Prefer = Annotated[
    str,
    Meta(
        description=f"`wait=SECONDS` (RFC 7240) is like the parameter `wait`, with {MAX_WAIT_SECONDS} at the most; "
        "other preferences are ignored.",
        examples=["wait=10"],
    ),
]


class RequestHeaders(msgspec.Struct, frozen=True, rename={"request_id": request_id.HEADER}):
    """What any request may say."""

    request_id: RequestId | UnsetType = UNSET


class SubmitHeaders(RequestHeaders, frozen=True, rename={"idempotency_key": "Idempotency-Key"}):
    """What a submission may say as well."""

    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ReadHeaders(RequestHeaders, frozen=True, rename={"if_none_match": "If-None-Match", "prefer": "Prefer"}):
    """What a request for an order may say as well."""

    if_none_match: IfNoneMatch | UnsetType = UNSET
    prefer: Prefer | UnsetType = UNSET


_ANSWERS: dict[str, tuple[str, Any]] = {
    request_id.HEADER: ("The request's name, which is also in the history of the orders that it moved.", str),
    "ETag": ("Changes whenever the order does; send it as `If-None-Match`.", Annotated[str, Meta(pattern='^W/".+"$')]),
    "Location": ("The order's path.", Annotated[str, Meta(pattern="^/orders/.")]),
    "Preference-Applied": ("The preference that was honoured.", Annotated[str, Meta(pattern="^wait=[0-9]+$")]),
    "RateLimit-Policy": ("How many orders a user may send in how many seconds, where that is limited.", str),
    "RateLimit": ("How many orders the user may send at once by now, and when all of them again.", str),
    "Retry-After": ("Seconds after which to try again.", int),
    "WWW-Authenticate": ("What is wrong with the key (RFC 6750).", str),
}


def header(name: str, is_required: bool) -> dict[str, Any]:
    """The description of a header of an answer.

    Args:
        name: it.
        is_required: whether every such answer has it.
    """
    description, kind = _ANSWERS[name]
    return {"description": description, "required": is_required, "schema": schema(kind)}
