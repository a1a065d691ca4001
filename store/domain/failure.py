"""Failures: which orders count as failed, and under which error."""

from __future__ import annotations

import re

import msgspec

from .lifecycle import OrderStatus
from .order import Order
from .record import OrderRecord

MAX_ERROR = 200
"""Characters of the name of an error."""

_OVER = frozenset({OrderStatus.FAILED, OrderStatus.REVIEW})
_AT_WORK = frozenset({OrderStatus.PENDING, OrderStatus.PROCESSING})
_CLASS = re.compile(r"[^\W\d][\w.]{0,99}(?=: |$)")
# Numbers, with whatever joins them to a time or an address; and identifiers written in hexadecimal.
_VARYING = re.compile(
    r"0x[0-9a-f]+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[a-f]*[0-9])[0-9a-f]{12,}\b|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)


class ErrorName(msgspec.Struct, frozen=True):
    """What errors that differ in details only have in common."""

    kind: str
    """The error's class; the whole name, where the error does not begin with one."""
    name: str
    """The class, and the text without what varies from order to order."""


class FailureGroup(msgspec.Struct, frozen=True):
    """The orders that have failed with one error, and those that wait for their next attempt after it."""

    error: str
    """The name of the error."""
    count: int
    """How many orders."""
    waiting: int
    """How many of these wait for their next attempt, or are at it; the others are Failed."""
    first_us: int
    """When the one that failed first did, microseconds since 1970-01-01T00:00:00Z."""
    last_us: int
    """When the one that failed last did, likewise."""
    example: str
    """The id of the newest of them."""


def error_name(error: str, order: Order) -> ErrorName:
    """The name of an error, by which failures are grouped.

    Example:
        >>> error_name("ProviderDown: no answer for o-1 within 5.0 s", make_order("o-1"))
        ErrorName(kind='ProviderDown', name='ProviderDown: no answer for {order_id} within # s')

    Args:
        error: what went wrong, as an order's `last_error` has it.
        order: which may be named in it.
    """
    found = _CLASS.match(error)
    kind = "" if found is None else found[0]
    text = error[len(kind) :]
    for value, placeholder in ((order.order_id, "{order_id}"), (order.user_id, "{user_id}")):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", placeholder, text)
    name = without_details(kind + text)
    return ErrorName(kind or name, name)


def without_details(error: str) -> str:
    """An error without the numbers and identifiers in its text, as far as they can be told without its order.

    Args:
        error: its class and its text; a name stays as it is.
    """
    found = _CLASS.match(error)
    begin = 0 if found is None else found.end()
    name = error[:begin] + _VARYING.sub("#", error[begin:])
    return name if len(name) <= MAX_ERROR else name[: MAX_ERROR - 1] + "…"


def is_failure(record: OrderRecord) -> bool:
    """Whether an order has failed, or waits for its next attempt or a review since one has."""
    return record.last_error is not None and is_failed(record.status, record.failures)


def is_failed(status: OrderStatus, failures: int) -> bool:
    """Whether an order with a last error counts as a failure still.

    Args:
        status: where it is.
        failures: its failed attempts that count.
    """
    return status in _OVER or (failures > 0 and status in _AT_WORK)
