"""Which orders somebody means: the one table of filters."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from .lifecycle import OrderStatus
from .record import OrderRecord

PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What an order's id may begin with."""
PREFIX_RULE = "1 to 64 characters of A-Z a-z 0-9 . _ : -"


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Orders for which all of this is true; every order by default. Times are microseconds since 1970-01-01."""

    status: OrderStatus | None = None
    """Where the order is."""
    user_id: str | None = None
    """Who ordered."""
    queue: str | None = None
    """The queue that it waits in, or has waited in."""
    order_id_prefix: str | None = None
    """What the order's id begins with."""
    error: str | None = None
    """The error, by its class or by its name as failures are grouped by it, that the order has failed with, or that its
    next attempt or a review is for."""
    created_from_us: int | None = None
    """Accepted at this time or later."""
    created_to_us: int | None = None
    """Accepted before this time."""
    updated_from_us: int | None = None
    """Changed last at this time or later."""
    updated_to_us: int | None = None
    """Changed last before this time."""


ALL_ORDERS = OrderFilter()


class OrderPage(NamedTuple):
    """Some of the orders that a filter means, newest first."""

    orders: list[OrderRecord]
    """There may be fewer than were asked for although there are more: no more are looked at for one page."""
    before: int | None
    """Go on with those below this sequence; None where there are none."""
