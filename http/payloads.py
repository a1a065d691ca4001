"""What goes over the wire: decoding what clients send, and the shapes of what they get."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from ..engine import InvalidOrder, Order, OrderRecord, OrderStatus, Outcome, Transition
from ..store.errors import FieldFault
from ..store.lifecycle import SETTLE_COMPLETED, SETTLE_FAILED
from ..store.order import find_faults, format_cents
from ..store.record import rfc3339
from .fields import MONEY_TEXT, Amount, AmountRequest, Count, Cursor, Identifier, ItemIds, SettledStatus, Timestamp
from .problems import NotJson

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
encode = msgspec.json.Encoder().encode
"""Any of the shapes below as JSON."""


class OrderRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An order as clients send it."""

    order_id: Identifier
    """The client's name for the order, unique for ever."""
    user_id: Identifier
    """Who orders."""
    item_ids: ItemIds
    """What is ordered; repeats and sequence are kept."""
    total_amount: AmountRequest


_decode_request = msgspec.json.Decoder(OrderRequest).decode
_decode_anything = msgspec.json.Decoder(float_hook=Decimal).decode


class OrderPayload(msgspec.Struct):
    """An order as clients see it."""

    order_id: Identifier
    user_id: Identifier
    item_ids: ItemIds
    total_amount: Amount
    """A decimal number with two fraction digits."""
    status: OrderStatus
    attempts: Count
    """How often a processor was given the order."""
    created_at: Timestamp
    """RFC 3339, UTC, with microseconds."""
    updated_at: Timestamp
    """When the status last changed, likewise."""


class StatusPayload(msgspec.Struct):
    """Where an order is."""

    order_id: Identifier
    status: OrderStatus


class TransitionPayload(msgspec.Struct, rename={"source": "from", "target": "to"}):
    """One step of an order's history."""

    source: OrderStatus | None
    """null where the order was accepted."""
    target: OrderStatus
    at: Timestamp
    attempt: Count
    """The attempt that the step belongs to, 0 before the first."""
    reason: str
    """Why, in words for people."""


class HistoryPayload(msgspec.Struct):
    """How an order got where it is, oldest step first."""

    order_id: Identifier
    transitions: list[TransitionPayload]


class PagePayload(msgspec.Struct):
    """Some orders, newest first."""

    orders: list[OrderPayload]
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


class BulkPayload(msgspec.Struct):
    """What became of many orders; results are in the sequence that they were sent in."""

    accepted: Count
    duplicates: Count
    rejected: Count
    results: list[BulkResult]


class SettleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """How an operator ends the Review of an order."""

    status: SettledStatus
    reason: str = SETTLE_COMPLETED.why
    """Why, in words for people; it goes into the history."""


def decode_order(body: bytes | msgspec.Raw) -> Order:
    """The order that a JSON object describes; money may be a number or a string.

    Raises:
        NotJson: it is no JSON.
        InvalidOrder: it is no order; the error names every fault.
    """
    try:
        request = _decode_request(body)
        amount = _amount(_decode_anything(request.total_amount))
        if amount is not None:
            return Order(
                order_id=request.order_id,
                user_id=request.user_id,
                item_ids=request.item_ids,
                total_amount=amount,
            )
        raise InvalidOrder(_explain(body))
    except msgspec.ValidationError:
        # The fast decoder stops at the first fault: look at all of it.
        raise InvalidOrder(_explain(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None


def decode_settlement(body: bytes) -> SettleRequest:
    """How an order is to be settled.

    Raises:
        NotJson: it is no JSON.
        InvalidOrder: a field is wrong.
    """
    try:
        request = msgspec.json.decode(body, type=SettleRequest)
    except msgspec.ValidationError as error:
        raise InvalidOrder((FieldFault("", str(error)),)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None
    if request.status not in (SETTLE_COMPLETED.target, SETTLE_FAILED.target):
        raise InvalidOrder((FieldFault("/status", "must be Completed or Failed"),))
    return request


def split_array(body: bytes) -> list[bytes | msgspec.Raw]:
    """The elements of a JSON array, not decoded yet.

    Raises:
        NotJson: it is no JSON array.
    """
    try:
        return list(_decode_array(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"{error}; a bulk is a JSON array of orders, or NDJSON with one order a line") from None


def split_lines(body: bytes) -> list[bytes | msgspec.Raw]:
    """The lines of NDJSON that are not blank."""
    return [line for line in body.splitlines() if line.strip()]


def order_id_of(body: bytes | msgspec.Raw) -> str | None:
    """The id that a faulty order names, if it names one."""
    try:
        tree = _decode_anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    order_id = tree.get("order_id") if isinstance(tree, dict) else None
    return order_id if isinstance(order_id, str) else None


def order_payload(record: OrderRecord) -> OrderPayload:
    """An order as clients see it."""
    order = record.order
    return OrderPayload(
        order.order_id,
        order.user_id,
        order.item_ids,
        format_cents(order.total_cents),
        record.status,
        record.attempts,
        rfc3339(record.created_us),
        rfc3339(record.updated_us),
    )


def history_payload(order_id: str, transitions: Iterable[Transition]) -> HistoryPayload:
    """An order's history as clients see it."""
    return HistoryPayload(
        order_id,
        [
            TransitionPayload(step.from_status, step.to_status, rfc3339(step.at_us), step.attempt, step.reason)
            for step in transitions
        ],
    )


def bulk_payload(results: list[BulkResult]) -> BulkPayload:
    """The results of a bulk, counted."""
    count = dict.fromkeys(BULK_OUTCOMES, 0)
    for result in results:
        count[result.outcome] += 1
    return BulkPayload(count[Outcome.ACCEPTED], count[Outcome.DUPLICATE], count[REJECTED], results)


def encode_cursor(sequence: int) -> str:
    """Where a page of orders ended; clients send it back and need not understand it."""
    return f"{sequence:x}"


def decode_cursor(cursor: str) -> int:
    """The sequence in a cursor."""
    return int(cursor, 16)


def _amount(value: object) -> Decimal | None:
    if isinstance(value, str):
        return Decimal(value) if MONEY_TEXT.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value if isinstance(value, Decimal) else None


def _explain(body: bytes | msgspec.Raw) -> tuple[FieldFault, ...]:
    try:
        tree: Any = _decode_anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None
    if not isinstance(tree, dict):
        return (FieldFault("", "must be a JSON object"),)
    if "total_amount" in tree:
        tree["total_amount"] = _amount(tree["total_amount"])
    return find_faults(tree) or (FieldFault("", "is no order"),)
