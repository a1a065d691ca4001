"""What clients send: its shapes, and how it is decoded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ...engine import InvalidOrder, Order
from ...store.domain.errors import FieldFault, pointer_to
from ...store.domain.lifecycle import SETTLE, SETTLED_RULE
from ...store.domain.order import FIELDS, MAX_ITEMS, field_faults, find_faults
from ...store.domain.reason import reason_faults
from ...store.domain.record import parse_rfc3339, utc
from ...store.domain.schedule import Schedule
from ..framework.slices import in_slices
from ..wire.errors import ContentTooLarge, NotJson
from ..wire.message import BodyContent
from ..wire.nesting import NestedTooDeeply, check_depth
from .fields import (
    MONEY_TEXT,
    AmountRequest,
    CompleteBy,
    Identifier,
    ItemIds,
    Key,
    MetadataRequest,
    NotBefore,
    Priority,
    PriorityRequest,
    Queue,
    Reason,
    SettledStatus,
    UserIdentifier,
)

T = TypeVar("T", bound=msgspec.Struct)

NDJSON = "application/x-ndjson"
MAX_BULK = 10_000
"""Orders that are taken at once."""
MAX_ORDER_BYTES = 64 * 1024
"""Of an order, or of a body without one: more than any needs, with blanks and escapes in it."""
MAX_EXPLAINED = 100
"""Orders of a bulk whose faults are told one by one: to look for all takes many times as long as to read what is right.
"""
RESTS = 1
"""How many times as long as it works on a bulk a thread rests while others need the interpreter."""

TIMES = ("not_before", "complete_by")
"""The fields of an order that are times."""

_MAX_FAULTS = 20
_EXPLAINED_BYTES = 16 * 1024
_MAX_NAME = 128
_MOST_DIGITS = 12

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
    priority: PriorityRequest | UnsetType = UNSET
    not_before: NotBefore | UnsetType = UNSET
    complete_by: CompleteBy | UnsetType = UNSET
    key: Key | UnsetType = UNSET
    """Orders of one key run one after another, in the sequence of their arrival."""
    queue: Queue | UnsetType = UNSET
    """The queue that it waits in."""
    metadata: MetadataRequest | UnsetType = UNSET


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no Decimal can have: not an amount either
        return Decimal("NaN")


_decode_request = msgspec.json.Decoder(OrderRequest, float_hook=Decimal).decode


class _Named(msgspec.Struct):
    """Whatever may be an order."""

    order_id: object = None


class _WithMetadata(msgspec.Struct):
    """Whatever has metadata."""

    metadata: msgspec.Raw


_decode_metadata = msgspec.json.Decoder(_WithMetadata).decode
_decode_name = msgspec.json.Decoder(_Named).decode
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


class RescheduleRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When an order's turn is to come; what is not given stays as it is."""

    changes: ClassVar[tuple[str, ...]] = Schedule._fields
    """What may be another one; one of these has to be given."""

    priority: Priority | UnsetType = UNSET
    not_before: NotBefore | UnsetType | None = UNSET
    """Without a time, as `null`, it may be begun at once."""
    complete_by: CompleteBy | UnsetType | None = UNSET
    """Without a time, as `null`, nobody is told that it is late."""
    queue: Queue | UnsetType = UNSET
    """The queue that it waits in."""
    reason: Reason | UnsetType = UNSET
    """Why, in words for people; it goes into the history."""

    @property
    def schedule(self) -> Schedule:
        """What is to be another one of the order."""
        priority = None if self.priority is UNSET else self.priority
        not_before: Any
        complete_by: Any
        not_before, complete_by = (
            UNSET if time is UNSET else time and _time(time) for time in (self.not_before, self.complete_by)
        )
        return Schedule(priority, not_before, complete_by, None if self.queue is UNSET else self.queue)


def decode_order(body: BodyContent | msgspec.Raw, *, is_explained: bool = True) -> Order:
    """The order that a JSON object describes; money may be a number or a string.

    Args:
        body: it.
        is_explained: whether all that is wrong with it is looked for.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: it is not a valid order; the error names its faults, up to 20.
    """
    text = bytes(body)
    if len(text) > MAX_ORDER_BYTES:
        raise InvalidOrder((FieldFault("", f"has {len(text)} bytes; {MAX_ORDER_BYTES} are taken at the most"),))
    try:
        check_depth(text)
        request = _decode_request(text)
        value, items = request.total_amount, request.item_ids
        amount = value if type(value) is Decimal else _amount(value)
        if amount is not None:
            # No other string of an order has a quotation mark in it. So a mark too many is one of a key that is there
            # twice, or of a field that most orders do not have.
            more = text.count(b'"') - 2 * (6 + len(items) + isinstance(value, str))
            if not more:
                return Order(order_id=request.order_id, user_id=request.user_id, item_ids=items, total_amount=amount)
            if more == _optional_marks(request):
                return Order(
                    order_id=request.order_id,
                    user_id=request.user_id,
                    item_ids=items,
                    total_amount=amount,
                    **_optional(request),
                )
    except (msgspec.ValidationError, InvalidOrder, InvalidOperation):
        pass  # each stops at the first fault: look at all of it
    except _NO_JSON as error:
        raise NotJson(str(error)) from None
    if not is_explained:
        raise InvalidOrder((FieldFault("", f"is not valid; only the first {MAX_EXPLAINED} such are explained"),))
    raise InvalidOrder(_explain(text))


def decode_move(body: BodyContent) -> MoveRequest:
    """What is told of a cancellation or a retry; an empty body tells nothing.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body or b"{}", MoveRequest)


def decode_settlement(body: BodyContent) -> SettleRequest:
    """How an order is to be settled.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: a field is wrong; the error names every fault.
    """
    return _decode_operation(body, SettleRequest)


def decode_reschedule(body: BodyContent) -> RescheduleRequest:
    """When an order's turn is to come.

    Raises:
        NotJson: it is not JSON.
        InvalidOrder: a field is wrong, or nothing is to change; the error names every fault.
    """
    fields, _ = decode_object(body)
    given: dict[str, Any] = {name: whole_number(fields[name]) for name in ("priority", "queue") if name in fields}
    given |= {name: _time(fields[name]) for name in TIMES if fields.get(name) is not None}
    faults = field_faults(given)
    if fields.keys() <= {"reason"}:
        faults = (FieldFault("", f"must have {' or '.join(RescheduleRequest.changes)}"),)
    return _decode_operation(body, RescheduleRequest, faults)


def _decode_operation(body: BodyContent, kind: type[T], more: tuple[FieldFault, ...] = ()) -> T:
    fields, faults = decode_object(body)
    faults += more
    known = kind.__struct_fields__
    faults += [FieldFault(pointer_to(name), "unknown field") for name in fields if name not in known]
    if "status" in known and fields.get("status") not in tuple(SETTLE):
        faults.append(FieldFault("/status", f"must be {SETTLED_RULE}"))
    if "reason" in fields:
        faults += reason_faults(fields["reason"])
    if faults:
        raise InvalidOrder(tuple(faults))
    return msgspec.convert({name: whole_number(value) for name, value in fields.items()}, kind)


def split_array(body: BodyContent) -> list[BodyContent | msgspec.Raw]:
    """The elements of a JSON array, not decoded yet.

    Raises:
        NotJson: it is not a JSON array.
        ContentTooLarge: they are many more than a bulk has.
    """
    # Counted before millions of elements are made of it.
    if body.count(b",") > MAX_BULK * (len(FIELDS) + MAX_ITEMS):
        raise ContentTooLarge(_TOO_MANY)
    try:
        return list(_decode_array(body))  # how deep it is nested is looked after in each of them
    except (*_NO_JSON, RecursionError) as error:
        raise NotJson(f"{error}; a bulk is a JSON array of orders, or NDJSON with one order a line") from None


def split_lines(body: BodyContent) -> list[BodyContent | msgspec.Raw]:
    """The lines of NDJSON that are not blank.

    Raises:
        ContentTooLarge: they are many more than a bulk has.
    """
    lines: list[BodyContent | msgspec.Raw] = []
    for number, line in enumerate(in_slices(_each_line(body), RESTS)):
        if number > 2 * MAX_BULK:
            raise ContentTooLarge(_TOO_MANY)
        if line.strip():
            lines.append(line)
    return lines


def _each_line(body: BodyContent) -> Iterator[BodyContent]:
    begin = 0
    while (end := body.find(b"\n", begin)) >= 0:
        yield body[begin:end]
        begin = end + 1
    yield body[begin:]


def order_id_of(body: BodyContent | msgspec.Raw) -> str | None:
    """The id that a faulty order names, if it names one that could be one."""
    try:
        order_id = _decode_name(body).order_id
    except (*_NO_JSON, RecursionError):
        return None
    return order_id if isinstance(order_id, str) and len(order_id) <= _MAX_NAME else None


def decode_cursor(cursor: str) -> int:
    """The sequence in a cursor."""
    return int(cursor, 16)


def _optional(request: OrderRequest) -> dict[str, Any]:
    # The fields that it has of those that most orders do not have.
    given: dict[str, Any] = {}
    if request.priority is not UNSET:
        given["priority"] = whole_number(request.priority)
        if type(given["priority"]) is not int:
            raise msgspec.ValidationError
    if request.not_before is not UNSET:
        given["not_before"] = _time(request.not_before)
    if request.complete_by is not UNSET:
        given["complete_by"] = _time(request.complete_by)
    if request.key is not UNSET:
        given["key"] = request.key
    if request.queue is not UNSET:
        given["queue"] = request.queue
    if request.metadata is not UNSET:
        given["metadata"] = _metadata(bytes(request.metadata))
    return given


def _optional_marks(request: OrderRequest) -> int:
    # The quotation marks of these fields.
    texts = (request.not_before, request.complete_by, request.key, request.queue)
    count = 2 * (request.priority is not UNSET) + 4 * sum(text is not UNSET for text in texts)
    return count if request.metadata is UNSET else count + 2 + bytes(request.metadata).count(b'"')


def whole_number(value: object) -> object:
    """A number of JSON as the whole number that it is; whatever is none is returned as it is."""
    if isinstance(value, Decimal):  # to JSON Schema, 16.0 is a whole number
        is_whole = value.is_finite() and value.adjusted() < _MOST_DIGITS and value == value.to_integral_value()
        return int(value) if is_whole else value
    return value


def _time(text: object) -> object:
    # As an order has it; what is none is returned as it is, for the faults to be told.
    microseconds = parse_rfc3339(text) if isinstance(text, str) else None
    try:
        return text if microseconds is None else utc(microseconds)
    except OverflowError:
        return text


def _metadata(text: bytes) -> object:
    # Likewise.
    try:
        found = json.loads(text, object_pairs_hook=_only_once)
    except ValueError:
        return text
    return text if found is None else found


def _only_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given more than once")
    return found


def _amount(value: object) -> Decimal | None:
    if isinstance(value, str):
        return Decimal(value) if MONEY_TEXT.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value if isinstance(value, Decimal) else None


def _explain(body: BodyContent) -> tuple[FieldFault, ...]:
    if len(body) > _EXPLAINED_BYTES:
        return (FieldFault("", f"is not valid, and longer than the {_EXPLAINED_BYTES} bytes of what is explained"),)
    fields, faults = decode_object(body)
    if "total_amount" in fields:
        fields["total_amount"] = _amount(fields["total_amount"])
    if "priority" in fields:
        fields["priority"] = whole_number(fields["priority"])
    for name in TIMES:
        if name in fields:
            fields[name] = _time(fields[name])
    if "metadata" in fields:
        fields["metadata"] = _metadata(bytes(_decode_metadata(body).metadata))
    faults += find_faults(fields)
    if len(faults) > _MAX_FAULTS:
        faults[_MAX_FAULTS:] = [FieldFault("", f"has {len(faults) - _MAX_FAULTS} more faults")]
    return tuple(faults) or (FieldFault("", "is no order"),)


def decode_object(body: BodyContent) -> tuple[dict[str, Any], list[FieldFault]]:
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
