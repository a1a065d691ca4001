"""Sending, reading and moving orders."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from ....engine import (
    BacklogFull,
    DeadlineUnlikely,
    FieldFault,
    IdempotencyKeyReused,
    InvalidOrder,
    OrderConflict,
    OrderNotFound,
    OrderStatus,
    SubmissionTooLarge,
    TransitionRefused,
    UserBacklogFull,
    UserSubmissionTooLarge,
    WaitReason,
)
from ....store.domain.lifecycle import ACCEPT, ASSIGN, COMPLETE, SETTLED_RULE, Edge
from ....store.domain.order import PRIORITY_RULE, find_faults
from ....store.domain.reason import reason_faults
from ...framework.body import NO_BODY, Body, BodyFormat
from ...framework.parameters import NoParameters
from ...framework.request import NOTHING, Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Operation, Result, Tag
from ...wire.errors import IdempotencyKeyBusy, TooManyOrders
from ...wire.headers import JSON
from ..parameters import FailuresQuery, HistoryQuery, OrderPath, OrderQuery, PageQuery, ReadHeaders, SubmitHeaders
from ..requests import (
    MAX_BULK,
    MAX_ORDER_BYTES,
    NDJSON,
    MoveRequest,
    OrderRequest,
    RescheduleRequest,
    SettleRequest,
    decode_move,
    decode_order,
    decode_reschedule,
    decode_settlement,
    split_array,
    split_lines,
)
from ..responses import (
    REJECTED,
    AccuracyPayload,
    BulkPayload,
    BulkResult,
    ExpectedPayload,
    FailureGroupPayload,
    FailuresPayload,
    HistoryPayload,
    OrderPayload,
    OutlookPayload,
    PagePayload,
    StatusPayload,
    TransitionPayload,
    WaitPayload,
    encode,
)
from .common import ASKING, asked, in_json, json_body, ok

_CREATED, _ASSIGNED, _UPDATED = (f"2026-11-23T06:39:00.{part}Z" for part in ("090788", "092502", "145536"))
_REQUEST: dict[str, object] = {
    "order_id": "o-1",
    "user_id": "u-1",
    "item_ids": ["sku-1", "sku-2"],
    "total_amount": "19.99",
}
_PENDING = OrderPayload(
    "o-1", "u-1", ("sku-1", "sku-2"), "19.99", OrderStatus.PENDING, 0, 0, None, _CREATED, _CREATED, _CREATED
)
_COMPLETED = msgspec.structs.replace(
    _PENDING, status=OrderStatus.COMPLETED, attempts=1, ready_at=None, updated_at=_UPDATED
)
_FAILED = msgspec.structs.replace(
    _PENDING,
    status=OrderStatus.FAILED,
    attempts=1,
    failures=1,
    last_error="rejected: nothing to pay",
    ready_at=None,
    updated_at=_UPDATED,
)
_CANCELLED = msgspec.structs.replace(_PENDING, status=OrderStatus.CANCELLED, ready_at=None, updated_at=_UPDATED)
_RETRIED = msgspec.structs.replace(
    _PENDING, attempts=1, last_error="rejected: nothing to pay", ready_at=_UPDATED, updated_at=_UPDATED
)
_RESCHEDULED = msgspec.structs.replace(_PENDING, priority=9, ready_at=_UPDATED, updated_at=_UPDATED)
_SETTLED = msgspec.structs.replace(_COMPLETED, failures=1, last_error="the engine died while the order was in hand")
_BULK: list[dict[str, object]] = [_REQUEST | {"order_id": "o-2"}, {"order_id": "o-3"}]
_RATE = {"RateLimit-Policy": '"user";q=10;w=2', "RateLimit": '"user";r=0;t=1'}
_RATED = dict.fromkeys(_RATE, False)
_TAGGED = {"ETag": True}
_READ = _TAGGED | {"Preference-Applied": False}

_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_FAULTY = InvalidOrder(find_faults(_REQUEST | {"item_ids": []}))
_NO_REASON = InvalidOrder(tuple(reason_faults("")))
_INCOMPLETE = str(InvalidOrder(find_faults(_BULK[1])))
_ABOUT_AN_ORDER = (OrderNotFound("o-1"), *ASKING)
_UNLIKELY = DeadlineUnlikely("o-1", _NOON, 0.12, _NOON + timedelta(minutes=40))
_SENDING = (
    IdempotencyKeyBusy(),
    IdempotencyKeyReused("8e03978e-40d5-43e8-bc93-6894a57f9324"),
    TooManyOrders("User 'u-1' sends orders too fast: try again later.", 1, tuple(_RATE.items())),
    UserBacklogFull("u-1", 1_000, 1, 1_000, 1),
    BacklogFull(100_000, 1, 100_000),
    *ASKING,
)

BulkRequest = Annotated[
    list[msgspec.Raw],
    Meta(
        extra_json_schema={
            "items": {"anyOf": [{"$ref": "#/components/schemas/OrderRequest"}, {}]},
            # Not as maxItems: whatever breaks a schema is answered with 422, and this with 413.
            "description": f"Orders, {MAX_BULK} at the most. An element that is not a valid order is taken as well: "
            "its result says what is wrong with it.",
        }
    ),
]
BulkLines = Annotated[
    msgspec.Raw,
    Meta(
        description=f"An order on each line, {MAX_BULK} at the most. A line that is not a valid order is taken as well."
    ),
]

_BULK_BODY = Body(
    {
        JSON: BodyFormat(BulkRequest, _BULK, split_array),
        NDJSON: BodyFormat(BulkLines, "".join(f"{encode(order).decode()}\n" for order in _BULK), split_lines),
    }
)
_SETTLEMENT = SettleRequest(OrderStatus.COMPLETED, "found paid")


def _moving(reason: str) -> Inputs[NoParameters, RequestHeaders, MoveRequest]:
    body = json_body(MoveRequest, MoveRequest(reason), decode_move, is_optional=True)
    return Inputs(NoParameters, RequestHeaders, body)


def _step(edge: Edge, at: str, attempt: int, request_id: str | None = None) -> TransitionPayload:
    return TransitionPayload(edge.source, edge.target, at, attempt, edge.why, request_id)


def _order(description: str, example: OrderPayload, headers: Mapping[str, bool] = _TAGGED) -> Result:
    return ok(description, OrderPayload, example, headers)


SUBMIT = Operation(
    "submitOrder",
    Tag.ORDERS,
    Inputs(NoParameters, SubmitHeaders, json_body(OrderRequest, _REQUEST, decode_order)),
    results=(
        Result(
            HTTPStatus.CREATED,
            "The order is new, and safely on disk.",
            in_json(OrderPayload, _PENDING),
            {"Location": True} | _TAGGED | _RATED,
        ),
        _order(
            "The very same order was sent before: the order as it is by now, or where the key must not read, as it was "
            "accepted.",
            _COMPLETED,
            _TAGGED | _RATED,
        ),
    ),
    problems=(_FAULTY, OrderConflict("o-1"), _UNLIKELY, *_SENDING),
    remark=f"A body has {MAX_ORDER_BYTES // 1024} KiB at the most.",
)
SUBMIT_BULK = Operation(
    "submitOrders",
    Tag.ORDERS,
    Inputs(NoParameters, SubmitHeaders, _BULK_BODY),
    results=(
        ok(
            "What became of each, in the sequence that they were sent in.",
            BulkPayload,
            BulkPayload(1, 0, 1, [BulkResult("o-2", "accepted"), BulkResult("o-3", REJECTED, _INCOMPLETE)]),
            _RATED,
        ),
    ),
    problems=(SubmissionTooLarge(10_000, 5_000), UserSubmissionTooLarge("u-1", 1_001, 1_000), *_SENDING),
)
LIST = Operation(
    "listOrders",
    Tag.ORDERS,
    asked(PageQuery),
    results=(ok("A page.", PagePayload, PagePayload([_FAILED], "2")),),
    problems=ASKING,
)
LIST_FAILURES = Operation(
    "listFailures",
    Tag.OPERATORS,
    asked(FailuresQuery),
    results=(
        ok(
            "The errors.",
            FailuresPayload,
            FailuresPayload([FailureGroupPayload("rejected: nothing to pay", 2, 0, _UPDATED, _UPDATED, "o-1")]),
        ),
    ),
    problems=ASKING,
)
READ = Operation(
    "readOrder",
    Tag.ORDERS,
    Inputs(OrderQuery, ReadHeaders, NO_BODY),
    results=(
        _order("The order.", _COMPLETED, _READ),
        Result(HTTPStatus.NOT_MODIFIED, "The order has not changed.", headers=_READ),
    ),
    problems=_ABOUT_AN_ORDER,
    path=OrderPath,
)
READ_STATUS = Operation(
    "readStatus",
    Tag.ORDERS,
    NOTHING,
    results=(ok("Where it is.", StatusPayload, StatusPayload("o-1", OrderStatus.COMPLETED)),),
    problems=_ABOUT_AN_ORDER,
    path=OrderPath,
)
READ_OUTLOOK = Operation(
    "readOutlook",
    Tag.ORDERS,
    NOTHING,
    results=(
        ok(
            "Its place in the queue, what it waits for, and when it is likely to be over.",
            OutlookPayload,
            OutlookPayload(
                "o-1",
                OrderStatus.PENDING,
                42,
                [WaitPayload(WaitReason.PROCESSORS, "8 orders are in hand of 8 processors", 41)],
                ExpectedPayload(_ASSIGNED, _UPDATED, 0.8),
                AccuracyPayload(0.81, 5_120, 7),
            ),
        ),
    ),
    problems=_ABOUT_AN_ORDER,
    path=OrderPath,
)
READ_HISTORY = Operation(
    "readHistory",
    Tag.ORDERS,
    asked(HistoryQuery),
    results=(
        ok(
            "Its steps, oldest first.",
            HistoryPayload,
            HistoryPayload(
                "o-1",
                [
                    _step(ACCEPT, _CREATED, 0, "5f1d09a3c2b7-1"),
                    _step(ASSIGN, _ASSIGNED, 1),
                    _step(COMPLETE, _UPDATED, 1),
                ],
                None,
            ),
        ),
    ),
    problems=_ABOUT_AN_ORDER,
    path=OrderPath,
)
CANCEL_ORDER = Operation(
    "cancelOrder",
    Tag.ORDERS,
    _moving("ordered twice"),
    results=(_order("The order is Cancelled.", _CANCELLED),),
    problems=(_NO_REASON, TransitionRefused("o-1", OrderStatus.COMPLETED, OrderStatus.CANCELLED), *_ABOUT_AN_ORDER),
    path=OrderPath,
)
RETRY = Operation(
    "retryOrder",
    Tag.OPERATORS,
    _moving("the payment service is back"),
    results=(_order("The order is Pending, and ready at once.", _RETRIED),),
    problems=(_NO_REASON, TransitionRefused("o-1", OrderStatus.COMPLETED, OrderStatus.PENDING), *_ABOUT_AN_ORDER),
    path=OrderPath,
)
SETTLE = Operation(
    "settleOrder",
    Tag.OPERATORS,
    Inputs(NoParameters, RequestHeaders, json_body(SettleRequest, _SETTLEMENT, decode_settlement)),
    results=(_order("The order is settled.", _SETTLED),),
    problems=(
        InvalidOrder((FieldFault("/status", f"must be {SETTLED_RULE}"),)),
        TransitionRefused("o-1", OrderStatus.PENDING, OrderStatus.COMPLETED),
        *_ABOUT_AN_ORDER,
    ),
    path=OrderPath,
)
_Rescheduling = Annotated[
    RescheduleRequest,
    Meta(extra_json_schema={"anyOf": [{"required": [name]} for name in RescheduleRequest.changes]}),
]
RESCHEDULE = Operation(
    "rescheduleOrder",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(_Rescheduling, RescheduleRequest(9, reason="the customer waits"), decode_reschedule),
    ),
    results=(_order("The order takes its turn there like a new one.", _RESCHEDULED),),
    problems=(
        InvalidOrder((FieldFault("/priority", f"must be {PRIORITY_RULE}"),)),
        TransitionRefused("o-1", OrderStatus.COMPLETED, OrderStatus.PENDING),
        *_ABOUT_AN_ORDER,
    ),
    path=OrderPath,
    remark="What waits for its next attempt goes on waiting for that. Sent again, it is the same order still.",
)
