"""What is asked of the queue: how many of the orders that are next, and which of them not."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

AGING_SECONDS = 3600.0
"""After how long a waiting order counts as one priority higher, where nothing else is set."""


class Claim(NamedTuple):
    """A wish for Pending orders, which become Processing with one attempt more."""

    room: int
    """How many at the most."""
    now_us: int
    """The queue's time, microseconds since 1970-01-01T00:00:00Z: no order is taken that has to wait longer."""
    but_not: Collection[int] = ()
    """The sequences of orders that are passed over."""
    only: int | None = None
    """The sequence of the one order that is taken; None takes those that are next."""
    aging_us: int = round(AGING_SECONDS * 1e6)
    """After how long a waiting order counts as one priority higher, in microseconds."""
