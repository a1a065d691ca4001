"""What goes over the wire: decoding what clients send, and the shapes of what they get."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ...engine import InvalidOrder, Order, OrderRecord, OrderStatus, Outcome, Transition
from ...store.domain.errors import FieldFault
from ...store.domain.lifecycle import SETTLE, SETTLED_RULE
from ...store.domain.order import FIELDS, MAX_ITEMS, find_faults, format_cents, pointer_to
from ...store.domain.reason import reason_faults
from ...store.domain.record import rfc3339
from ..wire.errors import ContentTooLarge, NotJson
from ..wire.nesting import NestedTooDeeply, check_depth
from .fields import (
    MONEY_TEXT,
    Amount,
    AmountRequest,
    Count,
    Cursor,
    Identifier,
    ItemIds,
    Reason,
    SettledStatus,
    Timestamp,
    UserIdentifier,
)

T = TypeVar("T", bound=msgspec.Struct)

MAX_BULK = 10_000
"""Orders that are taken at once."""
MAX_ORDER_BYTES = 1024 * 1024
"""Of a body with a single order, or without one: more than an order needs with any blanks in it."""

_TOO_MANY = f"Send {MAX_BULK} orders at the most at once."
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, NestedTooDeeply)
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
encode = msgspec.json.Encoder().encode
"""Any of the shapes below as JSON."""


class OrderRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An order as clients send it."""

    order_id: Identifier
    """The client's name for the order, unique for ever."""
    user_id: UserIdentifier
    """Who orders."""
    item_ids: ItemIds
    """What is ordered; repeats and sequence are kept."""
    total_amount: AmountRequest


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no decimal has: no amount either
        return Decimal("NaN")


_decode_request = msgspec.json.Decoder(OrderRequest).decode
_decode_anything = msgspec.json.Decoder(float_hook=_decimal).decode


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


class MoveRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What may be told of a cancellation or a retry."""

    reason: Reason | UnsetType = UNSET
    """Why, in words for people; it goes into the history."""


class SettleRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How an operator ends the Review of an order."""

    status: SettledStatus
    reason: Reason | UnsetType = UNSET
    """Why, in words for people; it goes into the history."""


def decode_order(body: bytes | msgspec.Raw) -> Order:
    """The order that a JSON object describes; money may be a number or a string.

    Raises:
        NotJson: it is no JSON.
        InvalidOrder: it is no order; the error names every fault.
    """
    text = bytes(body)
    try:
        check_depth(text)
        request = _decode_request(text)
        value = _decode_anything(request.total_amount)
        amount = _amount(value)
        if amount is not None:
            order = Order(
                order_id=request.order_id,
                user_id=request.user_id,
                item_ids=request.item_ids,
                total_amount=amount,
            )
            # No string of an order has a quotation mark in it. So a mark too many is one of a key that is there twice.
            strings = 6 + len(order.item_ids) + isinstance(value, str)
            if text.count(b'"') == 2 * strings:
                return order
    except (msgspec.ValidationError, InvalidOrder):
        pass  # either stops at the first fault: look at all of it
    except _NO_JSON as error:
        raise NotJson(str(error)) from None
    raise InvalidOrder(_explain(text))


def decode_move(body: bytes) -> MoveRequest:
    """What is told of a cancellation or a retry; an empty body tells nothing.

    Raises:
        NotJson: it is no JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body or b"{}", MoveRequest)


def decode_settlement(body: bytes) -> SettleRequest:
    """How an order is to be settled.

    Raises:
        NotJson: it is no JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body, SettleRequest)


def _decode_operation(body: bytes, kind: type[T]) -> T:
    fields, faults = _decode_object(body)
    known = kind.__struct_fields__
    faults += [FieldFault(pointer_to(name), "unknown field") for name in fields if name not in known]
    if "status" in known and fields.get("status") not in tuple(SETTLE):
        faults.append(FieldFault("/status", f"must be {SETTLED_RULE}"))
    if "reason" in fields:
        faults += reason_faults(fields["reason"])
    if faults:
        raise InvalidOrder(tuple(faults))
    return msgspec.convert(fields, kind)


def split_array(body: bytes) -> list[bytes | msgspec.Raw]:
    """The elements of a JSON array, not decoded yet.

    Raises:
        NotJson: it is no JSON array.
        ContentTooLarge: they are many more than a bulk has.
    """
    # Counted before millions of elements are made of it.
    if body.count(b",") > MAX_BULK * (len(FIELDS) + MAX_ITEMS):
        raise ContentTooLarge(_TOO_MANY)
    try:
        check_depth(body)
        return list(_decode_array(body))
    except _NO_JSON as error:
        raise NotJson(f"{error}; a bulk is a JSON array of orders, or NDJSON with one order a line") from None


def split_lines(body: bytes) -> list[bytes | msgspec.Raw]:
    """The lines of NDJSON that are not blank.

    Raises:
        ContentTooLarge: they are many more than a bulk has.
    """
    if body.count(b"\n") > 2 * MAX_BULK:
        raise ContentTooLarge(_TOO_MANY)
    return [line for line in body.split(b"\n") if line.strip()]


def order_id_of(body: bytes | msgspec.Raw) -> str | None:
    """The id that a faulty order names, if it names one."""
    try:
        check_depth(bytes(body))
        tree = _decode_anything(body)
    except _NO_JSON:
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
        record.failures,
        record.last_error,
        None if record.ready_us is None else rfc3339(record.ready_us),
        rfc3339(record.created_us),
        rfc3339(record.updated_us),
    )


def entity_tag(record: OrderRecord) -> str:
    """What changes whenever the order does.

    It is a weak one, since the very same order may be sent compressed and as it is.
    """
    return f'W/"{record.sequence:x}-{record.attempts}-{record.status}-{record.updated_us:x}"'


def history_payload(order_id: str, transitions: Iterable[Transition]) -> HistoryPayload:
    """An order's history as clients see it."""
    return HistoryPayload(
        order_id,
        [
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


def _explain(body: bytes) -> tuple[FieldFault, ...]:
    fields, faults = _decode_object(body)
    if "total_amount" in fields:
        fields["total_amount"] = _amount(fields["total_amount"])
    return (*faults, *find_faults(fields)) or (FieldFault("", "is no order"),)


def _decode_object(body: bytes) -> tuple[dict[str, Any], list[FieldFault]]:
    # Also the faults of fields that are given twice: the decoder keeps the last of them and says nothing.
    try:
        check_depth(body)
        fields = _decode_anything(body)
        if not isinstance(fields, dict):
            raise InvalidOrder((FieldFault("", "must be a JSON object"),))
        pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    except _NO_JSON as error:
        raise NotJson(str(error)) from None
    counts = Counter(name for name, _ in pairs)
    return fields, [FieldFault(pointer_to(name), "is given more than once") for name in counts if counts[name] > 1]
