"""One attempt at an order: the handler is called, and how that ended is told as data, which can travel."""

from __future__ import annotations

import contextvars
import queue
import threading
import traceback
from collections.abc import Callable
from typing import NamedTuple

from ...store.domain.order import Order
from .handler import Handler, Reject, describe, retry_after_of, run_handler, shorten

_MAX_TRACEBACK_LENGTH = 10_000
_MAX_AT_ONCE = 200
_at_once = threading.BoundedSemaphore(_MAX_AT_ONCE)
"""The handlers with a limit in this process, those among them that have overrun it and run on."""


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
    retry_after: float | None = None
    """After how many seconds the next attempt is due; None where the handler has not said so."""


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
    """The handler was not called, so this does not count as an attempt."""

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
        return Failed(describe(error), _traceback(error), retry_after_of(error))
    return Returned()


def within(seconds: float | None, call: Callable[[], Outcome]) -> Outcome:
    """Make an attempt, and wait for it no longer than this.

    Args:
        seconds: its time; None gives it all the time that it wants.
        call: makes it, and raises nothing.
    """
    if seconds is None:
        return call()
    if not _at_once.acquire(blocking=False):
        return NotBegun(f"{_MAX_AT_ONCE} handlers run in its process already, and most have overrun their time")
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    context = contextvars.copy_context()

    def run() -> None:
        outcome = context.run(call)
        _at_once.release()
        outcomes.put(outcome)

    try:
        # Nothing ends a thread: a daemon does not hold up the end of its process either.
        threading.Thread(target=run, name="ordermill-attempt", daemon=True).start()
    except RuntimeError as error:
        _at_once.release()
        return NotBegun(f"no thread can be started for the handler: {describe(error)}")
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
