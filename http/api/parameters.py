"""The parameters of the API: what stands in its paths, behind a question mark, and in the headers of requests."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import OrderStatus
from ...store.domain.order import IDENTIFIER, IDENTIFIER_RULE, USER, USER_RULE
from ..framework.parameters import matching, told_rule, whole
from ..framework.request_headers import RequestHeaders
from ..wire import idempotency_key as idempotency
from .fields import CURSOR

MAX_WAIT_SECONDS = 30
MAX_PAGE = 1_000
DEFAULT_PAGE = 100

OrderId = Annotated[str, matching(IDENTIFIER, "The order.", f"must be {IDENTIFIER_RULE}", "o-1")]
UserId = Annotated[str, matching(USER, "Only orders of this user.", f"must be {USER_RULE}", "u-1")]
Status = Annotated[
    OrderStatus,
    Meta(
        description="Only orders in this status.",
        extra=told_rule(f"must be one of {', '.join(OrderStatus)}"),
        examples=[OrderStatus.COMPLETED],
    ),
]
PageCursor = Annotated[
    str,
    matching(
        CURSOR,
        "Where the page begins: `next_cursor` of the page before.",
        "is none that a page has given: start without one",
        "3",
    ),
]
PageLimit = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PAGE,
        description="Orders on a page at the most.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_PAGE}"),
        examples=[1],
    ),
]
EntryLimit = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PAGE,
        description="Entries on a page at the most.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_PAGE}"),
        examples=[1],
    ),
]
WaitSeconds = Annotated[
    float,
    Meta(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="Answer as soon as processing is over, and after so many seconds at the latest.",
        extra=told_rule(f"must be a number of seconds from 0 to {MAX_WAIT_SECONDS}"),
        examples=[10],
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


class OrderPath(msgspec.Struct, frozen=True):
    """What stands for `{order_id}` in a path."""

    order_id: OrderId


class OrderQuery(msgspec.Struct, frozen=True):
    """The parameters of reading an order."""

    wait: WaitSeconds | UnsetType = UNSET


class PageQuery(msgspec.Struct, frozen=True):
    """The parameters of listing orders."""

    status: Status | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    limit: PageLimit = DEFAULT_PAGE
    cursor: PageCursor | UnsetType = UNSET


class AuditQuery(msgspec.Struct, frozen=True):
    """The parameters of reading the audit log."""

    limit: EntryLimit = DEFAULT_PAGE
    cursor: PageCursor | UnsetType = UNSET


class SubmitHeaders(RequestHeaders, frozen=True, rename={"idempotency_key": "Idempotency-Key"}):
    """What a submission may say as well."""

    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ReadHeaders(RequestHeaders, frozen=True, rename={"if_none_match": "If-None-Match", "prefer": "Prefer"}):
    """What a request for an order may say as well."""

    if_none_match: IfNoneMatch | UnsetType = UNSET
    prefer: Prefer | UnsetType = UNSET
