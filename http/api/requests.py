"""What clients send: its shapes, and how it is decoded."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ...engine import InvalidOrder, Order
from ...store.domain.errors import FieldFault, pointer_to
from ...store.domain.lifecycle import SETTLE, SETTLED_RULE
from ...store.domain.order import FIELDS, MAX_ITEMS, find_faults
from ...store.domain.reason import reason_faults
from ..wire.errors import ContentTooLarge, NotJson
from ..wire.nesting import NestedTooDeeply, check_depth
from .fields import (
    MONEY_TEXT,
    AmountRequest,
    Identifier,
    ItemIds,
    Reason,
    SettledStatus,
    UserIdentifier,
)

T = TypeVar("T", bound=msgspec.Struct)

NDJSON = "application/x-ndjson"
MAX_BULK = 10_000
"""Orders that are taken at once."""
MAX_ORDER_BYTES = 1024 * 1024
"""Of a body with a single order, or without one: more than an order needs with any blanks in it."""

_TOO_MANY = f"Send {MAX_BULK} orders at the most at once."
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, NestedTooDeeply)
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


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
    except InvalidOperation:  # an exponent that no Decimal can have: not an amount either
        return Decimal("NaN")


_decode_request = msgspec.json.Decoder(OrderRequest).decode
_decode_anything = msgspec.json.Decoder(float_hook=_decimal).decode


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
        NotJson: it is not JSON.
        InvalidOrder: it is not a valid order; the error names every fault.
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
        NotJson: it is not JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body or b"{}", MoveRequest)


def decode_settlement(body: bytes) -> SettleRequest:
    """How an order is to be settled.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body, SettleRequest)


def _decode_operation(body: bytes, kind: type[T]) -> T:
    fields, faults = decode_object(body)
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
        NotJson: it is not a JSON array.
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
    fields, faults = decode_object(body)
    if "total_amount" in fields:
        fields["total_amount"] = _amount(fields["total_amount"])
    return (*faults, *find_faults(fields)) or (FieldFault("", "is no order"),)


def decode_object(body: bytes) -> tuple[dict[str, Any], list[FieldFault]]:
    """The fields of a JSON object, and what is wrong with their names.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: it is not a JSON object.
    """
    # The decoder keeps the last of fields that are given twice and says nothing.
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
