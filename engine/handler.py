"""What a user gives the engine: a handler for one order. And what a handler may raise."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..store.errors import OrdermillError
from ..store.order import Order

Handler = Callable[[Order], object]
"""Called with an order, in a processor's thread. Returning completes the order; raising has it tried again later;
raising `Reject` fails it at once. It may run more than once for an order, since the process may die at any moment."""


class Reject(OrdermillError):
    """Raise it in a handler: the order is Failed at once, whatever attempts are left.

    Args:
        reason: why, in words for people; it goes into the order's history.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def simulated(seconds: float) -> Handler:
    """A handler that only takes time.

    Args:
        seconds: how long; 0 returns at once.
    """

    def simulate(order: Order) -> None:  # noqa: ARG001  # a handler takes the order
        if seconds:
            time.sleep(seconds)

    return simulate
