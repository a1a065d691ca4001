"""The parameters of the API: what stands in its paths, behind a question mark, and in the headers of requests."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import OrderFilter, OrderStatus, Window
from ...store.domain.failure import MAX_ERROR
from ...store.domain.order import IDENTIFIER, IDENTIFIER_RULE, USER, USER_RULE
from ...store.domain.order_filter import PREFIX, PREFIX_RULE
from ...store.domain.record import RFC3339, parse_rfc3339
from ..framework.parameters import matching, told_rule, whole
from ..framework.request_headers import RequestHeaders
from ..wire import idempotency_key as idempotency
from .fields import ACTION_ID, CURSOR, EVENT_ID

ERROR = re.compile(rf"[^\x00-\x1f\x7f-\x9f]{{1,{MAX_ERROR}}}")
"""The name of an error, or its class."""
MAX_WAIT_SECONDS = 30
MAX_PAGE = 1_000
DEFAULT_PAGE = 100
MAX_TIMEOUT_SECONDS = 86_400
EVENT_ID_RULE = "must be the id of an event, or 0"

OrderId = Annotated[str, matching(IDENTIFIER, "The order.", f"must be {IDENTIFIER_RULE}", "o-1")]
OnlyOrderId = Annotated[str, matching(IDENTIFIER, "Only this order.", f"must be {IDENTIFIER_RULE}", "o-1")]
UserId = Annotated[str, matching(USER, "Only orders of this user.", f"must be {USER_RULE}", "u-1")]
Status = Annotated[
    OrderStatus,
    Meta(
        description="Only orders in this status.",
        extra=told_rule(f"must be one of {', '.join(OrderStatus)}"),
        examples=[OrderStatus.COMPLETED],
    ),
]
QueueFilter = Annotated[
    str, matching(IDENTIFIER, "Only orders of this queue.", f"must be {IDENTIFIER_RULE}", "default")
]
QueueName = Annotated[str, matching(IDENTIFIER, "The queue.", f"must be {IDENTIFIER_RULE}", "mail")]
ActionId = Annotated[str, matching(ACTION_ID, "The action.", "must be the number of an action", "1")]
FilteredStatus = Annotated[Status, Meta(examples=[OrderStatus.FAILED])]
OrderIdPrefix = Annotated[
    str, matching(PREFIX, "Only orders whose ids begin with this.", f"must be {PREFIX_RULE}", "o-")
]
Error = Annotated[
    str,
    matching(
        ERROR,
        "Only orders that have failed with this error, or wait for their next attempt or a review after it: by its "
        "class, or by its name as `/failures` has it.",
        f"must be a string of 1 to {MAX_ERROR} characters, none of them a control",
        "rejected",
    ),
]


def _time(description: str, example: str) -> Meta:
    return matching(RFC3339, f"{description} RFC 3339.", "must be a time such as 2026-11-23T06:39:00Z", example)


def _at_most(description: str, example: int) -> Meta:
    rule = told_rule(f"must be a whole number from 1 to {MAX_PAGE}")
    return Meta(ge=1, le=MAX_PAGE, description=description, extra=rule, examples=[example])


CreatedFrom = Annotated[str, _time("Only orders that were accepted at this time or later.", "2026-11-23T06:39:00Z")]
CreatedTo = Annotated[str, _time("Only orders that were accepted before this time.", "2100-01-01T00:00:00Z")]
UpdatedFrom = Annotated[str, _time("Only orders that changed last at this time or later.", "2026-11-23T06:39:00Z")]
UpdatedTo = Annotated[str, _time("Only orders that changed last before this time.", "2100-01-01T00:00:00Z")]
PageCursor = Annotated[
    str,
    matching(
        CURSOR,
        "Where the page begins: `next_cursor` of the page before.",
        "was not given by any page: start without one",
        "3",
    ),
]
PageLimit = Annotated[int, _at_most("Orders on a page at the most.", 1)]
EntryLimit = Annotated[int, _at_most("Entries on a page at the most.", 1)]
StepLimit = Annotated[int, _at_most("Steps on a page at the most.", 100)]
GroupLimit = Annotated[int, _at_most("Errors at the most.", 100)]
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

AfterEvent = Annotated[
    str,
    matching(
        EVENT_ID,
        "The last event that you know; 0 begins with the oldest. For whoever cannot send `Last-Event-ID`, which counts "
        "where both are given.",
        EVENT_ID_RULE,
        "0",
    ),
]
EventTimeout = Annotated[
    float,
    Meta(
        ge=0,
        le=MAX_TIMEOUT_SECONDS,
        description="End after so many seconds without an event; 0 gives what is there. Without it, it does not end.",
        extra=told_rule(f"must be a number of seconds from 0 to {MAX_TIMEOUT_SECONDS}"),
        examples=[0],
    ),
]
LastEventId = Annotated[
    str,
    Meta(
        extra_json_schema={"pattern": whole(EVENT_ID)},
        description="The last event that you know, as browsers send it by themselves: what has happened since comes "
        "first. 0 begins with the oldest; without it, with the next one.",
        examples=["0"],
    ),
]


ChartWindow = Annotated[
    Window,
    Meta(
        description="How far back.",
        extra=told_rule(f"must be one of {', '.join(Window)}"),
        examples=[Window.DAY],
    ),
]


class OrderPath(msgspec.Struct, frozen=True):
    """What stands for `{order_id}` in a path."""

    order_id: OrderId


class ActionPath(msgspec.Struct, frozen=True):
    """What stands for `{action_id}` in a path."""

    action_id: ActionId


class QueuePath(msgspec.Struct, frozen=True):
    """What stands for `{queue}` in a path."""

    queue: QueueName


class OrderQuery(msgspec.Struct, frozen=True):
    """The parameters of reading an order."""

    wait: WaitSeconds | UnsetType = UNSET


class HistoryQuery(msgspec.Struct, frozen=True):
    """The parameters of reading how an order got where it is."""

    limit: StepLimit = MAX_PAGE  # all of it, but for the longest
    cursor: PageCursor | UnsetType = UNSET


class FilterQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which orders are meant: those for which all of this is true."""

    status: FilteredStatus | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    queue: QueueFilter | UnsetType = UNSET
    order_id_prefix: OrderIdPrefix | UnsetType = UNSET
    error: Error | UnsetType = UNSET
    created_from: CreatedFrom | UnsetType = UNSET
    created_to: CreatedTo | UnsetType = UNSET
    updated_from: UpdatedFrom | UnsetType = UNSET
    updated_to: UpdatedTo | UnsetType = UNSET


class PageQuery(FilterQuery, frozen=True):
    """The parameters of listing orders."""

    limit: PageLimit = DEFAULT_PAGE
    cursor: PageCursor | UnsetType = UNSET


class FailuresQuery(msgspec.Struct, frozen=True):
    """The parameters of reading what orders have failed with."""

    limit: GroupLimit = DEFAULT_PAGE


class EventQuery(msgspec.Struct, frozen=True):
    """The parameters of watching."""

    user_id: UserId | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    order_id: OnlyOrderId | UnsetType = UNSET
    after: AfterEvent | UnsetType = UNSET
    timeout: EventTimeout | UnsetType = UNSET


class EventHeaders(RequestHeaders, frozen=True, rename={"last_event_id": "Last-Event-Id"}):
    """What a request to watch may say as well."""

    last_event_id: LastEventId | UnsetType = UNSET


class ChartQuery(msgspec.Struct, frozen=True):
    """The parameters of reading the points of a chart."""

    window: ChartWindow = Window.QUARTER_HOUR


class EntryQuery(msgspec.Struct, frozen=True):
    """The parameters of reading the audit log, and of listing actions on many orders."""

    limit: EntryLimit = DEFAULT_PAGE
    cursor: PageCursor | UnsetType = UNSET


class SubmitHeaders(RequestHeaders, frozen=True, rename={"idempotency_key": "Idempotency-Key"}):
    """What a submission may say as well."""

    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ReadHeaders(RequestHeaders, frozen=True, rename={"if_none_match": "If-None-Match", "prefer": "Prefer"}):
    """What a request for an order may say as well."""

    if_none_match: IfNoneMatch | UnsetType = UNSET
    prefer: Prefer | UnsetType = UNSET


def order_filter(query: FilterQuery) -> OrderFilter:
    """Which orders a query means."""
    return OrderFilter(
        status=OrderStatus(query.status) if query.status else None,
        user_id=query.user_id or None,
        queue=query.queue or None,
        order_id_prefix=query.order_id_prefix or None,
        error=query.error or None,
        created_from_us=parse_rfc3339(query.created_from or ""),
        created_to_us=parse_rfc3339(query.created_to or ""),
        updated_from_us=parse_rfc3339(query.updated_from or ""),
        updated_to_us=parse_rfc3339(query.updated_to or ""),
    )
