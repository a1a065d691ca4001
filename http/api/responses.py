"""What clients get: its shapes, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import (
    ActionState,
    AuditEntry,
    BulkAction,
    Delivery,
    Event,
    FailureGroup,
    HistoryPage,
    OrderRecord,
    OrderStatus,
    Outcome,
    Outlook,
    Transition,
    WaitReason,
)
from ...store.domain.order import format_amount
from ...store.domain.order_fields import given_fields
from ...store.domain.outcome import Promise
from ...store.domain.record import rfc3339
from .fields import (
    ActionNumber,
    Amount,
    Count,
    Cursor,
    Identifier,
    ItemIds,
    Key,
    Metadata,
    Priority,
    Queue,
    Share,
    Timestamp,
    UserIdentifier,
)
from .rehearsal_responses import RehearsedActionPayload

encode = msgspec.json.Encoder().encode
"""Any of the shapes below as JSON."""


_E = TypeVar("_E", BulkAction, AuditEntry, Delivery)


class OrderPayload(msgspec.Struct):
    """An order as clients see it."""

    order_id: Identifier
    user_id: UserIdentifier
    item_ids: ItemIds
    total_amount: Amount
    """A decimal number with two fraction digits."""
    status: OrderStatus
    attempts: Count
    """How often a processor was given the order."""
    failures: Count
    """How many of these failed since an operator last retried the order."""
    last_error: str | None
    """What went wrong in the last failed attempt; null before the first."""
    ready_at: Timestamp | None
    """No processor takes the order before this time; null unless it is Pending."""
    created_at: Timestamp
    """RFC 3339, UTC, with microseconds."""
    updated_at: Timestamp
    """When the last of its transitions happened, likewise."""
    priority: Priority | UnsetType = UNSET
    """Left out where it is the default."""
    not_before: Timestamp | UnsetType = UNSET
    """The order is not begun earlier; left out where nothing was said."""
    complete_by: Timestamp | UnsetType = UNSET
    """When the order is to be Completed; left out where nothing was said."""
    complete_by_confidence: Share | UnsetType | None = UNSET
    """How likely the order is over by then; null where too little is known. Only where it is accepted."""
    key: Key | UnsetType = UNSET
    """Orders of one key run one after another; left out where there is none."""
    queue: Queue | UnsetType = UNSET
    """Left out where it is the default one."""
    metadata: Metadata | UnsetType = UNSET
    """Left out where there is none."""


class StatusPayload(msgspec.Struct):
    """Where an order is."""

    order_id: Identifier
    status: OrderStatus


class TransitionPayload(msgspec.Struct, rename={"source": "from", "target": "to"}, omit_defaults=True):
    """One step of an order's history."""

    source: OrderStatus | None
    """null where the order was accepted."""
    target: OrderStatus
    at: Timestamp
    attempt: Count
    """The attempt that the step belongs to, 0 before the first."""
    reason: str
    """Why, in words for people."""
    request_id: str | None = None
    """The request that caused it; left out where none did."""
    by: str | None = None
    """Who wanted it: the name of the key that the request came with; left out where none did."""


class WaitPayload(msgspec.Struct, omit_defaults=True):
    """One thing that an order waits for."""

    reason: WaitReason
    detail: str
    """In words for people."""
    ahead: Count | None = None
    """How many orders go first for this reason; left out where it is not about other orders."""
    until: Timestamp | None = None
    """When that ends; left out where nobody knows."""


class ExpectedPayload(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """When an order is likely to be over: Completed, or Failed for good."""

    begin: Timestamp
    end: Timestamp
    confidence: Share
    """How likely it is over within that span."""


class AccuracyPayload(msgspec.Struct):
    """How often expected spans were right lately."""

    kept: Share
    """The share of spans within which the order was over."""
    of: Count
    """How many were judged."""
    days: Count
    """How far back that goes."""


class OutlookPayload(msgspec.Struct):
    """Where an order is in the queue, why it waits, and when it is likely to be over."""

    order_id: Identifier
    status: OrderStatus
    position: Annotated[int, Meta(ge=1)] | None
    """1 for the order that is next; null where it has no place in the queue."""
    waiting_for: list[WaitPayload]
    expected: ExpectedPayload | None
    """null where too little is known, or where nothing is left to expect."""
    accuracy: AccuracyPayload | None
    """null before the first was judged."""


class EventPayload(msgspec.Struct, rename={"source": "from", "target": "to"}):
    """A step of some order, for whoever watches all of them."""

    order_id: Identifier
    user_id: UserIdentifier
    source: OrderStatus | None
    """null where the order was accepted."""
    target: OrderStatus
    at: Timestamp
    attempt: Count
    reason: str


class HistoryPayload(msgspec.Struct):
    """How an order got where it is, oldest step first."""

    order_id: Identifier
    transitions: list[TransitionPayload]
    next_cursor: Cursor | None
    """Where the next page begins; null on the last."""


class PagePayload(msgspec.Struct):
    """Some orders, newest first."""

    orders: list[OrderPayload]
    """There may be fewer than `limit` on a page, even none, although there are more: no more are looked at for it."""
    next_cursor: Cursor | None
    """Send it as `cursor` for the next page; null on the last."""


class FailureGroupPayload(msgspec.Struct):
    """The orders that have failed with one error, or wait for their next attempt after it."""

    error: str
    """The error without what varies from order to order. Send it as `error` to list these orders."""
    count: Count
    """How many orders."""
    waiting: Count
    """How many of these wait for their next attempt, or are at it; the others are Failed."""
    first_at: Timestamp
    """When the one that failed first did."""
    last_at: Timestamp
    """When the one that failed last did."""
    example: Identifier
    """The newest of them."""


class FailuresPayload(msgspec.Struct):
    """What orders have failed with: the error of most of them first."""

    groups: list[FailureGroupPayload]


class PreviewPayload(msgspec.Struct):
    """What an action on many orders would do."""

    matched: Count
    """How many orders it would move."""
    examples: list[OrderPayload]
    """The newest of them, ten at the most."""
    rehearsal: RehearsedActionPayload | UnsetType = UNSET
    """What is likely to become of the backlog, where `rehearse` was true."""


class StartedActionPayload(msgspec.Struct):
    """An action on many orders that has begun."""

    action_id: ActionNumber
    matched: Count
    """How many orders it is to move."""


class ActionPayload(msgspec.Struct):
    """An action on many orders, and how far it is."""

    action_id: ActionNumber
    action: str
    """cancel, retry or settle."""
    orders: str
    """Which ones, in words for people."""
    state: ActionState
    matched: Count
    """How many orders it was to move when it began."""
    moved: Count
    """How many it has moved."""
    refused: Count
    """How many had moved on when it came to them."""
    reason: str | None
    """Why; null where nobody said."""
    by: str | None
    """Who wants it: the name of the key; null without one."""
    created_at: Timestamp
    ended_at: Timestamp | None
    """When it was done or stopped; null before."""


class ActionPagePayload(msgspec.Struct):
    """A page of the actions on many orders, newest first."""

    actions: list[ActionPayload]
    next_cursor: Cursor | None
    """Send it as `cursor` for the next page; null on the last."""


class ControlPayload(msgspec.Struct):
    """What operators have set about the engine."""

    paused: bool
    """Whether no order is started."""
    paused_until: Timestamp | None
    """When the pause ends by itself; null where somebody has to end it, or where there is none."""
    reason: str | None
    """Why it is paused; null where nobody said, or where it is not."""
    error: str | None
    """The class of error that the engine has paused itself for; null where somebody has, or where it is not paused."""
    processors: Count
    """How many processors there are."""


class QueuePayload(msgspec.Struct):
    """How a queue is set, and how it is doing."""

    queue: Queue
    """Its name."""
    paused: bool
    """Whether no order of it is started."""
    concurrency: Annotated[int, Meta(ge=1)] | None
    """How many of its orders may be Processing at once; null for any number."""
    rate: Annotated[float, Meta(gt=0)] | None
    """How many of its orders may be begun a second; null for any number."""
    pending: Count
    """How many of its orders are in line: Pending, and neither waiting for a time nor for others; counted up to
    10,000."""
    processing: Count
    """How many of its orders are Processing."""
    slowed_until: Timestamp | None
    """Until when no order of it is begun since a handler was told to come back later; null where none was."""
    reason: str | None
    """Why it was set so; null where nobody said."""
    changed_at: Timestamp | None
    """When somebody set it last; null where nobody has."""
    by: str | None
    """Who: the name of the key; null without one."""


class QueuesPayload(msgspec.Struct):
    """All queues, the default one first."""

    queues: list[QueuePayload]


class EnginePayload(msgspec.Struct):
    """An engine that works over the database."""

    engine_id: str
    """The number of this run of it, which no other one has."""
    host: str
    """The name of its machine."""
    started_at: Timestamp
    """When it was started, or has joined anew."""
    heartbeat_at: Timestamp
    """When it was last heard of."""
    state: Literal["running", "stopping"]
    """Whether it takes orders, or stops."""
    processors: Count
    """How many orders it may process at the same time."""
    processing: Count
    """How many orders it has in hand."""


class EnginesPayload(msgspec.Struct):
    """The engines that work over the database, the eldest first."""

    engines: list[EnginePayload]


class AuditEntryPayload(msgspec.Struct):
    """Something that somebody has done."""

    id: Count
    """Rises in the order of recording."""
    at: Timestamp
    """When."""
    action: str
    """What: pause, resume, set processors, set queue, cancel, retry, settle."""
    target: str | None
    """What to: the order's id, or what was set; null for the engine as a whole."""
    reason: str | None
    """Why; null where nothing was said."""
    orders: Count | None
    """How many orders it moved; null where it is not about orders."""
    by: str | None
    """Who: the name of the key that the request came with; null for the engine itself, and without a key."""
    request_id: str | None
    """The request; null where none did it."""


class AuditPagePayload(msgspec.Struct):
    """What people have done, newest first."""

    entries: list[AuditEntryPayload]
    next_cursor: Cursor | None
    """Send it as `cursor` for the next page; null on the last."""


REJECTED = "rejected"
BULK_OUTCOMES: tuple[str, ...] = (Outcome.ACCEPTED, Outcome.DUPLICATE, REJECTED)
"""What may become of one order of many."""


class BulkResult(msgspec.Struct, omit_defaults=True):
    """What became of one order of many."""

    order_id: str | None
    """null where the order names none."""
    outcome: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(map(str, BULK_OUTCOMES))})]
    detail: str | None = None
    """Why it was rejected."""
    complete_by_confidence: Share | UnsetType | None = UNSET
    """How likely an accepted order is over by the time that it is to be; null where too little is known."""


class BulkPayload(msgspec.Struct):
    """What became of many orders; results are in the sequence that they were sent in."""

    accepted: Count
    duplicates: Count
    rejected: Count
    results: list[BulkResult]


def order_payload(record: OrderRecord, promise: Promise | None = None) -> OrderPayload:
    """An order as clients see it.

    Args:
        record: the order.
        promise: what can be said of the time that it is to be completed by, where it is just accepted.
    """
    order = record.order
    payload = OrderPayload(
        order.order_id,
        order.user_id,
        order.item_ids,
        format_amount(order.total_amount),
        record.status,
        record.attempts,
        record.failures,
        record.last_error,
        None if record.ready_us is None else rfc3339(record.ready_us),
        rfc3339(record.created_us),
        rfc3339(record.updated_us),
        complete_by_confidence=confidence_in(promise),
    )
    for name, value in given_fields(order).items():
        setattr(payload, name, value)
    return payload


def confidence_in(promise: Promise | None) -> float | UnsetType | None:
    """How likely it is kept, as it is told; nothing where there is none."""
    return UNSET if promise is None else promise.confidence


def failure_group_payload(group: FailureGroup) -> FailureGroupPayload:
    """Failures with one error, as clients see them."""
    return FailureGroupPayload(
        group.error, group.count, group.waiting, rfc3339(group.first_us), rfc3339(group.last_us), group.example
    )


def action_payload(action: BulkAction) -> ActionPayload:
    """An action on many orders, as clients see it."""
    return ActionPayload(
        str(action.id),
        action.request.action,
        action.request.told,
        action.state,
        action.matched,
        action.moved,
        action.refused,
        action.reason,
        action.cause.acted_by,
        rfc3339(action.created_us),
        None if action.ended_us is None else rfc3339(action.ended_us),
    )


def entity_tag(record: OrderRecord) -> str:
    """What changes whenever the order does.

    It is a weak one, since the very same order may be sent compressed and as it is.
    """
    return f'W/"{record.sequence:x}-{record.attempts}-{record.status!s}-{record.updated_us:x}"'


def history_payload(order_id: str, page: HistoryPage) -> HistoryPayload:
    """A page of an order's history as clients see it."""
    cursor = None if page.after is None else encode_cursor(page.after)
    return HistoryPayload(order_id, transition_payloads(page.transitions), cursor)


def transition_payloads(transitions: Iterable[Transition]) -> list[TransitionPayload]:
    """Steps of an order as clients see them."""
    return [
        TransitionPayload(
            step.from_status,
            step.to_status,
            rfc3339(step.at_us),
            step.attempt,
            step.reason,
            step.request_id,
            step.acted_by,
        )
        for step in transitions
    ]


def outlook_payload(outlook: Outlook) -> OutlookPayload:
    """An order's outlook as clients see it."""
    expected, accuracy = outlook.expected, outlook.accuracy
    return OutlookPayload(
        outlook.order_id,
        outlook.status,
        outlook.position,
        [
            WaitPayload(wait.reason, wait.detail, wait.ahead, None if wait.until_us is None else rfc3339(wait.until_us))
            for wait in outlook.waiting_for
        ],
        None
        if expected is None
        else ExpectedPayload(rfc3339(expected.from_us), rfc3339(expected.to_us), expected.confidence),
        None if accuracy is None else AccuracyPayload(accuracy.kept, accuracy.of, accuracy.days),
    )


def event_payload(event: Event) -> EventPayload:
    """An event as clients see it."""
    return EventPayload(
        event.order_id,
        event.user_id,
        event.from_status,
        event.to_status,
        rfc3339(event.at_us),
        event.attempt,
        event.reason,
    )


def bulk_payload(results: list[BulkResult]) -> BulkPayload:
    """The results of a bulk, counted."""
    count = dict.fromkeys(BULK_OUTCOMES, 0)
    for result in results:
        count[result.outcome] += 1
    return BulkPayload(count[Outcome.ACCEPTED], count[Outcome.DUPLICATE], count[REJECTED], results)


def encode_page(orders: Iterable[bytes], next_cursor: str | None) -> bytes:
    """A `PagePayload` as JSON.

    Args:
        orders: each as JSON.
        next_cursor: where the next page begins; None on the last.
    """
    return b'{"orders":[%b],"next_cursor":%b}' % (b",".join(orders), encode(next_cursor))


def encode_cursor(sequence: int) -> str:
    """Where a page of orders ended; clients send it back and need not understand it."""
    return f"{sequence:x}"


def cut_page(found: list[_E], limit: int) -> tuple[list[_E], Cursor | None]:
    """A page of entries, and where the next one begins.

    Args:
        found: one more than the page has, where there is a next one.
        limit: how many the page has at the most.
    """
    page = found[:limit]
    return page, encode_cursor(page[-1].id) if len(found) > limit else None
