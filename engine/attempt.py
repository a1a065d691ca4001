"""One attempt at an order: the handler is called, and how that ended is told as data, which can travel."""

from __future__ import annotations

import contextvars
import queue
import threading
import traceback
from typing import NamedTuple

from ..store.order import Order
from .handler import Handler, Reject, describe, run_handler, shorten

_MAX_TRACEBACK_LENGTH = 10_000


class Returned(NamedTuple):
    """The handler returned."""


class Rejected(NamedTuple):
    """The handler raised `Reject`."""

    reason: str
    """In words for people."""


class Failed(NamedTuple):
    """The handler raised anything else."""

    error: str
    """Its type and text."""
    traceback: str
    """Where, as Python prints it; empty where that cannot be had."""


class Overran(NamedTuple):
    """The handler did not return in time, and runs on."""

    seconds: float
    """The time that it had."""


class Lost(NamedTuple):
    """The handler may have run to its end, in part or not at all: nobody can tell."""

    why: str
    """What happened to it, in words for people."""
    has_company: bool = False
    """Whether other orders were lost with it: any of them may have been the reason."""


class NotBegun(NamedTuple):
    """The handler was not called, so this was no attempt."""

    trouble: str | None = None
    """What kept it from being called, in words for people; None where the order was taken back."""


Outcome = Returned | Rejected | Failed | Overran | Lost | NotBegun


def attempt(handler: Handler, order: Order) -> Outcome:
    """Put an order through the handler, in this thread.

    Args:
        handler: what to call.
        order: what to call it with.

    Returns:
        How it ended. Nothing is raised: an error may be of a class that does not travel.
    """
    try:
        run_handler(handler, order)
    except Reject as rejection:
        return Rejected(shorten(rejection.reason))
    except BaseException as error:  # a handler's SystemExit is a failed attempt like any other
        return Failed(describe(error), _traceback(error))
    return Returned()


def attempt_within(handler: Handler, order: Order, seconds: float | None) -> Outcome:
    """Put an order through the handler, and wait for it no longer than this.

    Args:
        handler: what to call.
        order: what to call it with.
        seconds: its time; None gives it all the time that it wants.
    """
    if seconds is None:
        return attempt(handler, order)
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    context = contextvars.copy_context()
    # Nothing ends a thread: a daemon does not hold up the end of its process either.
    threading.Thread(
        target=lambda: outcomes.put(context.run(attempt, handler, order)), name="ordermill-attempt", daemon=True
    ).start()
    try:
        return outcomes.get(timeout=seconds)
    except queue.Empty:
        return Overran(seconds)


def describe_overrun(seconds: float) -> str:
    """What an order's history has of a handler that did not return in time.

    Args:
        seconds: the time that it had.
    """
    return f"TimeoutError: the handler did not return within {seconds:g} s"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-_MAX_TRACEBACK_LENGTH:]
    except BaseException:  # of a class whose __str__ is broken
        return ""
