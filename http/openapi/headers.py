"""The headers of answers, as the description has them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ..wire import request_id
from .schemas import schema

_ANSWERS: dict[str, tuple[str, Any]] = {
    request_id.HEADER: ("The request's name, which is also in the history of the orders that it moved.", str),
    "ETag": ("Changes whenever the order does; send it as `If-None-Match`.", Annotated[str, Meta(pattern='^W/".+"$')]),
    "Location": ("The path of what was made.", Annotated[str, Meta(pattern="^/(orders|webhooks)/.")]),
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
