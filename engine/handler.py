"""What a user gives the engine: a handler for one order. And what a handler may raise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..store.errors import OrdermillError
from ..store.order import Order

Handler = Callable[[Order], object]
"""Called with an order, in a processor's thread. Returning completes the order; raising has it tried again later;
raising `Reject` fails it at once. It may run more than once for an order, since the process may die at any moment:
`Order.idempotency_key` is the same each time."""


class Effect(StrEnum):
    """What a probe has found out about an earlier attempt."""

    DONE = "done"
    """The handler's effect has happened: the order is Completed without running the handler again."""
    NOT_DONE = "not done"
    """It has not: the order is handled again."""
    UNKNOWN = "unknown"
    """Nobody can tell: the order waits in Review until an operator settles it."""


Probe = Callable[[Order], Effect]
"""Asked, after a crash, about an order whose handler may have been running: did its effect happen? A handler offers one
as its attribute `probe`. Asked before anything runs again, from several threads at once; raising means UNKNOWN. The
start waits for it: bound the time that it takes."""


class Reject(OrdermillError):
    """Raise it in a handler: the order is Failed at once, whatever attempts are left.

    Args:
        reason: why, in words for people; it goes into the order's history.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Simulated:
    """A handler that only takes time: for engines that are given none."""

    seconds: float
    """How long; 0 returns at once."""

    def __call__(self, order: Order) -> None:  # noqa: ARG002  # a handler takes the order
        """Take the time."""
        if self.seconds:
            time.sleep(self.seconds)


_MAX_TEXT_LENGTH = 500


def describe(error: BaseException) -> str:
    """An error as an order's history has it: its type and its text."""
    text = shorten(error)
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def shorten(value: object) -> str:
    """The text of something of the user's, fit to be stored."""
    try:
        text = str(value)
    except BaseException:  # of a class whose __str__ is broken
        text = "(an error without a readable text)"
    text = text.encode(errors="replace").decode()  # a lone surrogate cannot be stored
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 1] + "…"
