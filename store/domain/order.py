"""Order: its fields, their limits, and money. The value type that every layer speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from decimal import Context, Decimal
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from .errors import FieldFault, InvalidOrder, pointer_to

# Clients and proxies resolve . and .. in a path: an order of that name could be sent and never be asked for.
IDENTIFIER = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,64}")
IDENTIFIER_RULE = "1 to 64 characters of A-Z a-z 0-9 . _ : -, and not of dots alone"
# What shops call their users, email addresses among them; nothing that JSON would have to escape.
USER = re.compile(r"[!#-\[\]-~]{1,128}")
USER_RULE = "1 to 128 visible characters of ASCII, without blanks, double quotes and backslashes"
MAX_ITEMS = 100
MAX_TOTAL_AMOUNT = Decimal("9999999999.99")
MONEY_RULE = f"a decimal amount from 0 to {MAX_TOTAL_AMOUNT} with at most two fraction digits"

_CENT = Decimal("0.01")
# The caller's own may round to six digits, or raise where anything is inexact.
_EXACT = Context(prec=len(MAX_TOTAL_AMOUNT.as_tuple().digits), traps=[])
_ONLY_STRINGS = {str}
_is_identifier = IDENTIFIER.fullmatch
_is_user = USER.fullmatch


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
            )
        except TypeError:
            sound = False
        if not sound:
            faults = find_faults({name: getattr(self, name) for name in FIELDS})
            if faults:
                raise InvalidOrder(faults)
            # Sound but of a convenient type: a list of items, a whole number of money, the member of an enumeration.
            force_setattr(self, "order_id", str.__str__(self.order_id))
            force_setattr(self, "user_id", str.__str__(self.user_id))
            force_setattr(self, "item_ids", tuple(map(str.__str__, self.item_ids)))
            force_setattr(self, "total_amount", Decimal(self.total_amount))

    @staticmethod
    def stored(order_id: str, user_id: str, item_ids: tuple[str, ...], total_cents: int) -> Order:
        """An order as the database holds it.

        It was checked when it was made for the first time; to check it again would be most of the work of reading it.
        """
        order = copy(_blank)
        force_setattr(order, "order_id", order_id)
        force_setattr(order, "user_id", user_id)
        force_setattr(order, "item_ids", item_ids)
        force_setattr(order, "total_amount", amount_from_cents(total_cents))
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


def find_faults(fields: Mapping[str, Any]) -> tuple[FieldFault, ...]:
    """Everything that keeps `fields` from being an order, in the order of the fields.

    Args:
        fields: what a client sent, by field name; values of any type.
    """
    faults = [FieldFault(pointer_to(name), "unknown field") for name in fields if name not in FIELDS]
    for name in FIELDS:
        if name not in fields:
            faults.append(FieldFault(pointer_to(name), "missing"))
    if "order_id" in fields and not _is_sound_identifier(fields["order_id"]):
        faults.append(FieldFault("/order_id", f"must be a string of {IDENTIFIER_RULE}"))
    if "user_id" in fields and not _is_sound_user(fields["user_id"]):
        faults.append(FieldFault("/user_id", f"must be a string of {USER_RULE}"))
    if "item_ids" in fields:
        faults.extend(_item_faults(fields["item_ids"]))
    if "total_amount" in fields and not _is_sound_amount(fields["total_amount"]):
        faults.append(FieldFault("/total_amount", f"must be {MONEY_RULE}"))
    return tuple(faults)


def amount_from_cents(cents: int) -> Decimal:
    """Money as it is shown: two fraction digits."""
    return Decimal(cents).scaleb(-2, _EXACT)


def format_cents(cents: int) -> str:
    """Money as it is written in answers: `19.99`."""
    return f"{cents // 100}.{cents % 100:02d}"


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


_blank = Order(order_id="_", user_id="_", item_ids=("_",), total_amount=Decimal(0))
