"""Order: its fields, their limits, and money. The value type that every layer speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from .errors import FieldFault, InvalidOrder, pointer_to
from .metadata import METADATA_RULE, is_metadata, metadata_text, own_metadata

# Clients and proxies resolve . and .. in a path: an order of that name could be sent and never be asked for.
IDENTIFIER = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,64}")
IDENTIFIER_RULE = "1 to 64 characters of A-Z a-z 0-9 . _ : -, and not of dots alone"
# What shops call their users, email addresses among them; nothing that JSON would have to escape.
USER = re.compile(r"[!#-\[\]-~]{1,128}")
USER_RULE = "1 to 128 visible characters of ASCII, without blanks, double quotes and backslashes"
MAX_ITEMS = 100
MAX_TOTAL_AMOUNT = Decimal("9999999999.99")
MONEY_RULE = f"a decimal amount from 0 to {MAX_TOTAL_AMOUNT} with at most two fraction digits"
LOWEST_PRIORITY, PRIORITY, HIGHEST_PRIORITY = 0, 4, 9
"""As AMQP and JMS count them; in the middle what an order has that says nothing."""
DEFAULT_QUEUE = "default"
"""The queue of orders that name none."""
PRIORITY_RULE = f"a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}; {HIGHEST_PRIORITY} is first"
TIME_RULE = "a time with its offset from UTC, from 1970 to 9998"

_CENT = Decimal("0.01")
# The caller's own may round to six digits, or raise where anything is inexact.
_EXACT = Context(prec=len(MAX_TOTAL_AMOUNT.as_tuple().digits), traps=[])
_ONLY_STRINGS = {str}
_is_identifier = IDENTIFIER.fullmatch
_is_user = USER.fullmatch
_FIRST_TIME, _LAST_TIME = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a client orders. Checked when made; immutable and safe to share between threads.

    Example:
        >>> order = Order(order_id="o-1", user_id="u-1", item_ids=("sku-1",), total_amount=Decimal("19.99"))
        >>> order.total_cents
        1999
        >>> Order(order_id="o-1", user_id="u-1", item_ids=(), total_amount=Decimal("19.99"))
        Traceback (most recent call last):
        ordermill.store.domain.errors.InvalidOrder: /item_ids: must have 1 to 100 items, has 0

    Raises:
        InvalidOrder: a field breaks its rule; the error names every fault.
    """

    order_id: str
    """The client's name for the order, unique for ever: 1 to 64 characters of A-Z a-z 0-9 . _ : -, not of dots alone"""
    user_id: str
    """Who orders, by an email address or another name: 1 to 128 visible characters of ASCII, without blanks, double
    quotes and backslashes"""
    item_ids: tuple[str, ...]
    """What is ordered: 1 to 100 items, each written like `order_id`; repeats and sequence are kept."""
    total_amount: Decimal
    """The amount to pay in whole cents, 0 to 9,999,999,999.99."""
    priority: int = PRIORITY
    """How early its turn comes, 0 to 9; 9 is first."""
    not_before: datetime | None = None
    """It is not begun earlier than this, a time with its offset from UTC; None where it may be begun at once."""
    complete_by: datetime | None = None
    """When it is to be Completed, a time with its offset from UTC; None where nobody said."""
    key: str | None = None
    """Orders of one key run one after another, in the sequence of their arrival: 1 to 128 visible characters of ASCII,
    without blanks, double quotes and backslashes. None where it may run beside any other."""
    queue: str = DEFAULT_QUEUE
    """The queue that it waits in, written like `order_id`: each has a pause and limits of its own."""
    metadata: dict[str, Any] | None = None
    """Whatever else the client wants to have with the order: as JSON, an object of at most 4 KiB. The order keeps a
    copy of it, which is not to be changed. None where there is nothing."""

    def __post_init__(self) -> None:
        try:
            sound = (
                type(self.order_id) is type(self.user_id) is str
                and _is_identifier(self.order_id)
                and _is_user(self.user_id)
                and type(self.item_ids) is tuple
                and 0 < len(self.item_ids) <= MAX_ITEMS
                and set(map(type, self.item_ids)) == _ONLY_STRINGS
                and all(map(_is_identifier, self.item_ids))
                and type(self.total_amount) is Decimal
                and _is_money(self.total_amount)
                and self.priority is PRIORITY
                and self.not_before is None
                and self.complete_by is None
                and self.key is None
                and self.queue == DEFAULT_QUEUE
                and self.metadata is None
            )
        except TypeError:
            sound = False
        if not sound:
            given = {name: getattr(self, name) for name in FIELDS}
            faults = find_faults(
                {name: value for name, value in given.items() if value is not None or name not in _NULLABLE}
            )
            if faults:
                raise InvalidOrder(faults)
            # Sound, but with more than most orders have, or of a convenient type: a list of items, a whole number of
            # money, the member of an enumeration.
            force_setattr(self, "order_id", str.__str__(self.order_id))
            force_setattr(self, "user_id", str.__str__(self.user_id))
            force_setattr(self, "item_ids", tuple(map(str.__str__, self.item_ids)))
            force_setattr(self, "total_amount", Decimal(self.total_amount))
            force_setattr(self, "priority", int(self.priority))
            if self.not_before is not None:
                force_setattr(self, "not_before", self.not_before.astimezone(UTC))
            if self.complete_by is not None:
                force_setattr(self, "complete_by", self.complete_by.astimezone(UTC))
            if self.key is not None:
                force_setattr(self, "key", str.__str__(self.key))
            force_setattr(self, "queue", str.__str__(self.queue))
            if self.metadata is not None:
                force_setattr(self, "metadata", own_metadata(self.metadata))

    @staticmethod
    def stored(
        order_id: str,
        user_id: str,
        item_ids: tuple[str, ...],
        total_cents: int,
        priority: int = PRIORITY,
        not_before: datetime | None = None,
        complete_by: datetime | None = None,
        key: str | None = None,
        queue: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Order:
        """An order as the database holds it."""
        return Order.sound(
            order_id,
            user_id,
            item_ids,
            amount_from_cents(total_cents),
            priority,
            not_before,
            complete_by,
            key,
            DEFAULT_QUEUE if queue is None else queue,
            metadata,
        )

    @staticmethod
    def sound(
        order_id: str,
        user_id: str,
        item_ids: tuple[str, ...],
        total_amount: Decimal,
        priority: int,
        not_before: datetime | None,
        complete_by: datetime | None,
        key: str | None,
        queue: str,
        metadata: dict[str, Any] | None,
    ) -> Order:
        """An order of all the fields of one that was made before, wherever they have been since.

        It was checked when it was made for the first time; to check it again would be most of the work of reading it.
        """
        order: Order = _blank.__copy__()  # `copy` takes three times as long
        set_field = force_setattr
        set_field(order, "order_id", order_id)
        set_field(order, "user_id", user_id)
        set_field(order, "item_ids", item_ids)
        set_field(order, "total_amount", total_amount)
        if priority != PRIORITY:
            set_field(order, "priority", priority)
        if not_before is not None:
            set_field(order, "not_before", not_before)
        if complete_by is not None:
            set_field(order, "complete_by", complete_by)
        if key is not None:
            set_field(order, "key", key)
        if queue != DEFAULT_QUEUE:
            set_field(order, "queue", queue)
        if metadata is not None:
            set_field(order, "metadata", metadata)
        return order

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this order: pass it on to services that take one, and they act once."""
        return f"ordermill-{self.order_id}"

    @property
    def total_cents(self) -> int:
        """The amount in cents."""
        return int(self.total_amount.scaleb(2, _EXACT))


FIELDS: tuple[str, ...] = Order.__struct_fields__
_OPTIONAL = Order.__struct_defaults__
_NEEDED = FIELDS[: len(FIELDS) - len(_OPTIONAL)]
_NULLABLE = {name for name, default in zip(FIELDS[len(_NEEDED) :], _OPTIONAL, strict=True) if default is None}


def is_plain(order: Order) -> bool:
    """Whether an order has only what each has, as nearly all."""
    return (
        order.priority is PRIORITY
        and order.not_before is None
        and order.complete_by is None
        and order.key is None
        and order.queue == DEFAULT_QUEUE
        and order.metadata is None
    )


def is_same(order: Order, other: Order) -> bool:
    """Whether a client that sends one after the other sends the same order again."""
    # `==` alone takes the metadata 1 for True and for 1.0.
    return order == other and metadata_text(order.metadata) == metadata_text(other.metadata)


def find_faults(fields: Mapping[str, Any]) -> tuple[FieldFault, ...]:
    """Everything that keeps `fields` from being an order, in the order of the fields.

    Args:
        fields: what a client sent, by field name; values of any type.
    """
    faults = [FieldFault(pointer_to(name), "unknown field") for name in fields if name not in FIELDS]
    faults += [FieldFault(pointer_to(name), "missing") for name in _NEEDED if name not in fields]
    return (*faults, *field_faults(fields))


def field_faults(fields: Mapping[str, Any]) -> tuple[FieldFault, ...]:
    """What is wrong with those fields of an order that are there.

    Args:
        fields: by name; values of any type.
    """
    faults: list[FieldFault] = []
    if "order_id" in fields and not _is_sound_identifier(fields["order_id"]):
        faults.append(FieldFault("/order_id", f"must be a string of {IDENTIFIER_RULE}"))
    if "user_id" in fields and not _is_sound_user(fields["user_id"]):
        faults.append(FieldFault("/user_id", f"must be a string of {USER_RULE}"))
    if "item_ids" in fields:
        faults.extend(_item_faults(fields["item_ids"]))
    if "total_amount" in fields and not _is_sound_amount(fields["total_amount"]):
        faults.append(FieldFault("/total_amount", f"must be {MONEY_RULE}"))
    if "priority" in fields and not _is_sound_priority(fields["priority"]):
        faults.append(FieldFault("/priority", f"must be {PRIORITY_RULE}"))
    if "not_before" in fields and not _is_sound_time(fields["not_before"]):
        faults.append(FieldFault("/not_before", f"must be {TIME_RULE}"))
    if "complete_by" in fields and not _is_sound_time(fields["complete_by"]):
        faults.append(FieldFault("/complete_by", f"must be {TIME_RULE}"))
    if "key" in fields and not _is_sound_user(fields["key"]):
        faults.append(FieldFault("/key", f"must be a string of {USER_RULE}"))
    if "queue" in fields and not _is_sound_identifier(fields["queue"]):
        faults.append(FieldFault("/queue", f"must be a string of {IDENTIFIER_RULE}"))
    if "metadata" in fields and not is_metadata(fields["metadata"]):
        faults.append(FieldFault("/metadata", f"must be {METADATA_RULE}"))
    return tuple(faults)


def amount_from_cents(cents: int) -> Decimal:
    """Money as it is shown: two fraction digits."""
    return Decimal(cents).scaleb(-2, _EXACT)


def format_amount(amount: Decimal) -> str:
    """Money as it is written in answers: `19.99`."""
    return f"{amount:z.2f}"  # without the sign that a zero may have


def _is_money(amount: Decimal) -> bool:
    if amount.same_quantum(_CENT):  # nearly all are, and the other way takes four times as long
        return 0 <= amount <= MAX_TOTAL_AMOUNT
    return amount.is_finite() and amount.as_tuple().exponent >= -2 and 0 <= amount <= MAX_TOTAL_AMOUNT  # type: ignore[operator]  # finite: the exponent is an int


def _is_sound_identifier(value: object) -> bool:
    return isinstance(value, str) and _is_identifier(value) is not None


def _is_sound_user(value: object) -> bool:
    return isinstance(value, str) and _is_user(value) is not None


def _is_sound_amount(value: object) -> bool:
    # A float has already lost the cents that it was meant to carry, and a bool is not an amount.
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return False
    return _is_money(Decimal(value))


def _is_sound_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and LOWEST_PRIORITY <= value <= HIGHEST_PRIORITY


def _is_sound_time(value: object) -> bool:
    try:
        return isinstance(value, datetime) and value.utcoffset() is not None and _FIRST_TIME <= value < _LAST_TIME
    except OverflowError:
        return False


def _item_faults(items: object) -> list[FieldFault]:
    if not isinstance(items, list | tuple):
        return [FieldFault("/item_ids", f"must be a list of 1 to {MAX_ITEMS} item ids")]
    if not 0 < len(items) <= MAX_ITEMS:
        return [FieldFault("/item_ids", f"must have 1 to {MAX_ITEMS} items, has {len(items)}")]
    return [
        FieldFault(f"/item_ids/{index}", f"must be a string of {IDENTIFIER_RULE}")
        for index, item in enumerate(items)
        if not _is_sound_identifier(item)
    ]


_blank: Any = Order(order_id="_", user_id="_", item_ids=("_",), total_amount=Decimal(0))
