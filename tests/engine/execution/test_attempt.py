"""One attempt: however the handler ends, that is told as data."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import NoReturn

import pytest

from ordermill.engine import Order, Reject
from ordermill.engine.execution import attempt as attempts
from ordermill.engine.execution.attempt import Failed, NotBegun, Overran, Rejected, Returned, attempt, within
from ordermill.engine.testing import make_order

ASKED: ContextVar[str] = ContextVar("asked", default="nobody")


class Odd(Exception):
    """An error that does not travel: it is made of two arguments, and has a lock."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.lock = threading.Lock()


class Rude(Exception):
    """An error that wants to end the program when it is read."""

    def __str__(self) -> NoReturn:
        raise SystemExit(1)


def raising(error: BaseException) -> Callable[[Order], None]:
    def handler(_: Order) -> None:
        raise error

    return handler


def test_what_the_handler_returns_is_left_where_it_is() -> None:
    assert attempt(lambda _: threading.Lock(), make_order()) == Returned()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Odd(1, 2), "Odd: 1 and 2"),
        (StopIteration(), "StopIteration"),
        (SystemExit(3), "SystemExit: 3"),
        (Rude(), "Rude: (an error without a readable text)"),
    ],
)
def test_an_error_is_told_as_text_with_its_traceback(error: BaseException, text: str) -> None:
    outcome = pickle.loads(pickle.dumps(attempt(raising(error), make_order())))

    assert isinstance(outcome, Failed)
    assert outcome.error == text
    assert "in handler\n    raise error" in outcome.traceback or isinstance(error, Rude)


def test_a_rejection_is_told_with_its_reason_as_text() -> None:
    assert attempt(raising(Reject(Odd(1, 2))), make_order()) == Rejected("1 and 2")  # type: ignore[arg-type]  # mistaken


def test_a_handler_may_take_all_of_its_time() -> None:
    assert within(10, partial(attempt, lambda _: None, make_order())) == Returned()
    assert within(None, partial(attempt, raising(Reject("no")), make_order())) == Rejected("no")


def test_a_handler_that_overruns_its_time_is_left_behind() -> None:
    has_ended = threading.Event()
    may_end = threading.Event()

    def handler(_: Order) -> None:
        may_end.wait(60)
        has_ended.set()

    assert within(0.01, partial(attempt, handler, make_order())) == Overran(0.01)
    may_end.set()
    assert has_ended.wait(60)


def test_a_handler_with_a_limit_sees_the_context_of_its_caller() -> None:
    seen: list[str] = []
    token = ASKED.set("me")
    within(10, partial(attempt, lambda _: seen.append(ASKED.get()), make_order()))
    ASKED.reset(token)

    assert seen == ["me"]


def test_no_more_handlers_are_left_behind_than_a_process_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_at_once", threading.BoundedSemaphore(1))
    may_end = threading.Event()
    within(0.01, partial(attempt, lambda _: may_end.wait(60), make_order()))
    outcome = within(10, partial(attempt, lambda _: None, make_order()))
    may_end.set()
    for thread in threading.enumerate():
        if thread.name == "ordermill-attempt":
            thread.join(60)

    assert isinstance(outcome, NotBegun)
    assert outcome.trouble is not None
    assert "handlers run in its process already" in outcome.trouble


def test_an_attempt_that_gets_no_thread_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert within(10, partial(attempt, lambda _: None, make_order())) == NotBegun(
        "no thread can be started for the handler: RuntimeError: can't start new thread"
    )
