"""What a user gives the engine: a handler for one order. And what a handler may raise."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from ...store.domain.errors import InvalidArgument, InvalidConfiguration, OrdermillError
from ...store.domain.order import Order
from ...store.domain.text import in_one_line

Handler = Callable[[Order], object]
"""Called with an order, in a processor's thread. Returning completes the order; raising has it tried again later;
raising `Reject` fails it at once. It may run more than once for an order, since the process may die at any moment:
`Order.idempotency_key` is the same each time."""


class Effect(StrEnum):
    """What a probe has found out about an earlier attempt.

    Example:
        >>> charged = {"ordermill-o-1"}  # what the payment service would tell
        >>> def has_charged(order):
        ...     return Effect.DONE if order.idempotency_key in charged else Effect.NOT_DONE
        >>> has_charged(make_order("o-1"))
        <Effect.DONE: 'done'>
        >>> engine = OrderEngine("orders.db", handler=print, probe=has_charged)
    """

    DONE = "done"
    """The handler's effect has happened: the order is Completed without running the handler again."""
    NOT_DONE = "not done"
    """It has not: the order is handled again."""
    UNKNOWN = "unknown"
    """Nobody can tell: the order waits in Review until an operator settles it."""


MAX_RETRY_AFTER = 86_400.0
"""Seconds after which the next attempt may be wanted at the latest."""
_DECIMAL = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,6})?")

Probe = Callable[[Order], Effect]
"""Asked about an order whose handler was cut short, by a crash, a timeout or the end of its worker: did its effect
happen? Give one to the engine as `probe`, or to the handler as its attribute of that name. Asked before the order runs
again, from several threads at once, for `probe_timeout` at the most; raising means UNKNOWN."""


class Reject(OrdermillError):
    """Raise it in a handler: the order is Failed at once, whatever attempts are left.

    Example:
        >>> def charge(order):
        ...     raise Reject("the card has expired")
        >>> with OrderEngine("orders.db", handler=charge) as engine:
        ...     engine.submit(make_order("o-1")).wait(timeout=30)
        ...     engine.history("o-1")[-1].reason
        <OrderStatus.FAILED: 'Failed'>
        'rejected: the card has expired'

    Args:
        reason: why, in words for people; it goes into the order's history.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Retry(OrdermillError):
    """Raise it in a handler: the attempt has failed, and the next one is due after this time.

    Whatever is asked to come back later slows its limits down: while that time is not over, no order is begun of the
    limits that this one is under. An error of any other class with an attribute `retry_after` does the same.

    Example:
        >>> def charge(order):
        ...     raise Retry(after=30, reason="too many requests")

    Args:
        after: seconds, 0 to 86,400.
        reason: why, in words for people; it goes into the order's history.

    Raises:
        InvalidArgument: it is no such number of seconds.
    """

    def __init__(self, after: float, reason: str = "to be tried again later") -> None:
        if _seconds_of(after) is None:
            raise InvalidArgument(f"Retry after a number of seconds from 0 to {MAX_RETRY_AFTER:.0f}, not {after!r}.")
        self.retry_after = after
        self.reason = reason
        super().__init__(reason)


class HandlerUnfinished(OrdermillError):
    """The handler returned something that has its work still to do; nobody does it.

    Args:
        result: what the handler returned.
    """

    def __init__(self, result: object) -> None:
        super().__init__(
            f"the handler returned an object of type {type(result).__name__}, whose work is not done: "
            "it has to do all of its work before it returns"
        )


def retry_after_of(error: BaseException) -> float | None:
    """After how many seconds the next attempt is due, as the error says; None where it does not.

    Args:
        error: of a handler. Its attribute `retry_after` is a number, or a text of one as the header of that name has.
    """
    try:
        return _seconds_of(getattr(error, "retry_after", None))
    except BaseException:  # of a class whose attribute is broken
        return None


def _seconds_of(value: object) -> float | None:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_RETRY_AFTER:
        return float(value)
    return None


def check_callable(given: object, role: str) -> None:
    """Find out whether something can be called with an order, and does its work then, as far as that shows before.

    Args:
        given: what the user gave.
        role: what for, as messages name it: handler or probe.

    Raises:
        InvalidConfiguration: it cannot be called, or calling it would not do its work.
    """
    if not callable(given):
        raise InvalidConfiguration(f"The {role} must be callable with an order; {given!r} is not.")
    called: object = given
    while isinstance(called, partial):
        called = called.func
    if inspect.isclass(called):
        raise InvalidConfiguration(
            f"The {role} {_name(called)} is a class, which a call would only construct: "
            "give an instance that can be called, or a function."
        )
    if not inspect.isroutine(called):
        called = type(called).__call__
    for is_kind, kind in _UNFINISHED_FUNCTIONS:
        if is_kind(called):
            raise InvalidConfiguration(
                f"The {role} {_name(called)} is {kind}: a call returns before its work is done, which nobody would "
                "do. Write it as an ordinary function; one that has to await something can call asyncio.run()."
            )


def run_handler(handler: Handler, order: Order) -> None:
    """Have a handler do its work on an order.

    Raises:
        HandlerUnfinished: it returned without having done it.
        BaseException: whatever it raises.
    """
    result = handler(order)
    if result is None:
        return
    if isinstance(result, Coroutine | Generator):
        result.close()
    elif not (inspect.isawaitable(result) or inspect.isasyncgen(result) or isinstance(result, Future)):
        return
    raise HandlerUnfinished(result)


@dataclass(frozen=True)
class Simulated:
    """A handler that only takes time: for engines that are given none."""

    seconds: float
    """How long; 0 returns at once."""

    def __call__(self, order: Order) -> None:  # noqa: ARG002  # a handler takes the order
        """Take the time."""
        if self.seconds:
            time.sleep(self.seconds)


_UNFINISHED_FUNCTIONS: tuple[tuple[Callable[[object], bool], str], ...] = (
    (inspect.iscoroutinefunction, "asynchronous"),
    (inspect.isgeneratorfunction, "a generator"),
    (inspect.isasyncgenfunction, "an asynchronous generator"),
)


def _name(called: object) -> str:
    return str(getattr(called, "__qualname__", None) or repr(called))


_MAX_TEXT_LENGTH = 500


def describe(error: BaseException) -> str:
    """An error as an order's history has it: its type and its text."""
    text = shorten(error)
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def shorten(value: object) -> str:
    """The text of something of the user's, fit to be stored, and to be shown to people."""
    try:
        text = str(value)
    except BaseException:  # of a class whose __str__ is broken
        text = "(an error without a readable text)"
    text = in_one_line(text.encode(errors="replace").decode())  # a lone surrogate cannot be stored
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 1] + "…"
