"""What each call of the API takes and gives, with examples that the tests send and compare."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from ..engine import (
    BacklogFull,
    EngineStopped,
    FieldFault,
    InvalidOrder,
    MetricsSnapshot,
    OrderConflict,
    OrderStatus,
    StoreUnavailable,
    TransitionRefused,
)
from ..store.lifecycle import ACCEPT, ASSIGN, COMPLETE, Edge
from ..store.order import find_faults
from .call import JSON
from .health import HealthPayload
from .metrics import SCRAPER_TYPES
from .orders import MAX_BULK, NDJSON
from .parameters import OrderQuery, PageQuery
from .payloads import (
    REJECTED,
    BulkPayload,
    BulkResult,
    HistoryPayload,
    OrderPayload,
    OrderRequest,
    PagePayload,
    SettleRequest,
    StatusPayload,
    TransitionPayload,
    encode,
)
from .problems import ContentTooLarge
from .route import Content, Header, Operation, Reply

_ORDERS, _OPERATORS, _OBSERVERS = "Orders", "Operators", "Observers"

_CREATED, _ASSIGNED, _UPDATED = (f"2026-11-23T06:39:00.{part}Z" for part in ("090788", "092502", "145536"))
_REQUEST: dict[str, object] = {
    "order_id": "o-1",
    "user_id": "u-1",
    "item_ids": ["sku-1", "sku-2"],
    "total_amount": "19.99",
}
_PENDING = OrderPayload("o-1", "u-1", ("sku-1", "sku-2"), "19.99", OrderStatus.PENDING, 0, _CREATED, _CREATED)
_COMPLETED = msgspec.structs.replace(_PENDING, status=OrderStatus.COMPLETED, attempts=1, updated_at=_UPDATED)
_CANCELLED = msgspec.structs.replace(_PENDING, status=OrderStatus.CANCELLED, updated_at=_UPDATED)
_RETRIED = msgspec.structs.replace(_PENDING, attempts=1, updated_at=_UPDATED)
_BULK: list[dict[str, object]] = [_REQUEST | {"order_id": "o-2"}, {"order_id": "o-3"}]
_METRICS = MetricsSnapshot(
    total_orders_processed=2,
    average_processing_time_seconds=0.053034,
    orders_by_status=dict.fromkeys(OrderStatus, 0) | {OrderStatus.COMPLETED: 2},
    processing_seconds_total=0.106068,
    processing_seconds_count=2,
    backlog=0,
    processors=8,
    abandoned_handlers=0,
    incidents=0,
    uptime_seconds=60.806889,
)
_SCRAPED = """# HELP ordermill_orders_processed_total Orders that are Completed.
# TYPE ordermill_orders_processed_total counter
ordermill_orders_processed_total 2.0
"""

_FAULTY = InvalidOrder(find_faults(_REQUEST | {"item_ids": []}))
_INCOMPLETE = str(InvalidOrder(find_faults(_BULK[1])))
_FULL = BacklogFull(100_000, 1, 100_000)
_STOPPED = EngineStopped()
_FAILING = StoreUnavailable(OSError("database or disk is full"))

BulkRequest = Annotated[
    list[msgspec.Raw],
    Meta(
        extra_json_schema={
            "maxItems": MAX_BULK,
            "items": {"anyOf": [{"$ref": "#/components/schemas/OrderRequest"}, {}]},
            "description": "Orders. An element that is none is taken as well: its result says what is wrong with it.",
        }
    ),
]
BulkLines = Annotated[
    msgspec.Raw,
    Meta(description=f"An order on each line, {MAX_BULK} at the most. A line that is none is taken as well."),
]


def _step(edge: Edge, at: str, attempt: int) -> TransitionPayload:
    return TransitionPayload(edge.source, edge.target, at, attempt, edge.why)


def _json(kind: object, example: object) -> dict[str, Content]:
    return {JSON: Content(kind, example)}


def _ok(description: str, kind: object, example: object) -> Reply:
    return Reply(HTTPStatus.OK, description, _json(kind, example))


SUBMIT = Operation(
    "submitOrder",
    _ORDERS,
    replies=(
        Reply(
            HTTPStatus.CREATED,
            "The order is new, and safely on disk.",
            _json(OrderPayload, _PENDING),
            {"Location": Header("The order's path.", Annotated[str, Meta(pattern="^/orders/.")])},
        ),
        _ok("The very same order was sent before: the order as it is by now.", OrderPayload, _COMPLETED),
    ),
    problems=(_FAULTY, OrderConflict("o-1"), _FULL, _STOPPED, _FAILING),
    bodies=_json(OrderRequest, _REQUEST),
)
SUBMIT_BULK = Operation(
    "submitOrders",
    _ORDERS,
    replies=(
        _ok(
            "What became of each, in the sequence that they were sent in.",
            BulkPayload,
            BulkPayload(1, 0, 1, [BulkResult("o-2", "accepted"), BulkResult("o-3", REJECTED, _INCOMPLETE)]),
        ),
    ),
    problems=(
        ContentTooLarge(f"{MAX_BULK + 1} orders were sent; send {MAX_BULK} at the most at once."),
        *(_FULL, _STOPPED, _FAILING),
    ),
    bodies={
        JSON: Content(BulkRequest, _BULK),
        NDJSON: Content(BulkLines, "".join(f"{encode(order).decode()}\n" for order in _BULK)),
    },
)
LIST = Operation(
    "listOrders",
    _ORDERS,
    replies=(_ok("A page.", PagePayload, PagePayload([_COMPLETED], "2")),),
    problems=(_STOPPED, _FAILING),
    query=PageQuery,
)
READ = Operation(
    "readOrder",
    _ORDERS,
    replies=(_ok("The order.", OrderPayload, _COMPLETED),),
    problems=(_STOPPED, _FAILING),
    query=OrderQuery,
)
READ_STATUS = Operation(
    "readStatus",
    _ORDERS,
    replies=(_ok("Where it is.", StatusPayload, StatusPayload("o-1", OrderStatus.COMPLETED)),),
    problems=(_STOPPED, _FAILING),
)
READ_HISTORY = Operation(
    "readHistory",
    _ORDERS,
    replies=(
        _ok(
            "Its steps, oldest first.",
            HistoryPayload,
            HistoryPayload(
                "o-1", [_step(ACCEPT, _CREATED, 0), _step(ASSIGN, _ASSIGNED, 1), _step(COMPLETE, _UPDATED, 1)]
            ),
        ),
    ),
    problems=(_STOPPED, _FAILING),
)
CANCEL_ORDER = Operation(
    "cancelOrder",
    _ORDERS,
    replies=(_ok("The order is Cancelled.", OrderPayload, _CANCELLED),),
    problems=(TransitionRefused("o-1", OrderStatus.COMPLETED, OrderStatus.CANCELLED), _STOPPED, _FAILING),
)
RETRY = Operation(
    "retryOrder",
    _OPERATORS,
    replies=(_ok("The order is Pending.", OrderPayload, _RETRIED),),
    problems=(TransitionRefused("o-1", OrderStatus.COMPLETED, OrderStatus.PENDING), _STOPPED, _FAILING),
)
SETTLE = Operation(
    "settleOrder",
    _OPERATORS,
    replies=(_ok("The order is settled.", OrderPayload, _COMPLETED),),
    problems=(
        InvalidOrder((FieldFault("/status", "must be Completed or Failed"),)),
        TransitionRefused("o-1", OrderStatus.PENDING, OrderStatus.COMPLETED),
        *(_STOPPED, _FAILING),
    ),
    bodies=_json(SettleRequest, SettleRequest(OrderStatus.COMPLETED, "found paid")),
)
METRICS = Operation(
    "readMetrics",
    _OBSERVERS,
    replies=(
        Reply(
            HTTPStatus.OK,
            "The metrics; in a format of Prometheus where `Accept` prefers one.",
            _json(MetricsSnapshot, _METRICS) | dict.fromkeys(SCRAPER_TYPES, Content(str, _SCRAPED)),
        ),
    ),
    problems=(_STOPPED,),
)
LIVE, READY = (
    Operation(
        name,
        _OBSERVERS,
        replies=(
            _ok("All is well.", HealthPayload, HealthPayload("ok", ())),
            Reply(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Something is wrong; the answer says what.",
                _json(HealthPayload, HealthPayload("unavailable", (reason,))),
            ),
        ),
    )
    for name, reason in (("readLiveness", "the pool actor has died"), ("readReadiness", "the engine is not running"))
)
