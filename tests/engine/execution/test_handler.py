"""What a handler may raise, and the one that stands in for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import (
    InvalidArgument,
    InvalidConfiguration,
    Order,
    OrderEngine,
    OrdermillError,
    OrderStatus,
    Reject,
    Retry,
)
from ordermill.engine.execution.handler import Simulated, check_callable, retry_after_of, run_handler
from ordermill.engine.testing import make_order


async def charge_later(order: Order) -> None:
    raise AssertionError(order)


def charge_in_steps(order: Order) -> Iterator[Order]:
    yield order


async def charge_in_later_steps(order: Order) -> AsyncIterator[Order]:
    yield order


class Charger:
    """Handlers of every kind, as an object has them."""

    def __init__(self, *_: object) -> None:
        self.charged: list[str] = []

    def __call__(self, order: Order) -> None:
        self.charged.append(order.order_id)

    async def later(self, order: Order) -> None:
        raise AssertionError(order)

    @staticmethod
    async def static(order: Order) -> None:
        raise AssertionError(order)


class LateCharger:
    async def __call__(self, order: Order) -> None:
        raise AssertionError(order)


class SteppingCharger:
    def __call__(self, order: Order) -> Iterator[Order]:
        yield order


class EmptyCharger(Charger):
    """A handler that is false, as an empty collection is."""

    def __len__(self) -> int:
        return 0


def decorated(handler: Callable[[Order], Awaitable[None]]) -> Callable[[Order], Awaitable[None]]:
    @wraps(handler)
    def call(order: Order) -> Awaitable[None]:
        return handler(order)

    return call


def test_a_rejection_has_its_reason() -> None:
    rejection = Reject("the card was declined")

    assert (rejection.reason, str(rejection)) == ("the card was declined",) * 2
    assert isinstance(rejection, OrdermillError)


@pytest.mark.parametrize(("seconds", "slept"), [(0, []), (0.25, [0.25])])
def test_the_simulated_handler_only_takes_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, slept: list[float]
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)

    Simulated(seconds)(make_order())

    assert asked == slept


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (charge_later, "charge_later is asynchronous"),
        (charge_in_steps, "charge_in_steps is a generator"),
        (charge_in_later_steps, "charge_in_later_steps is an asynchronous generator"),
        (Charger().later, "Charger.later is asynchronous"),
        (Charger.static, "Charger.static is asynchronous"),
        (LateCharger(), "LateCharger.__call__ is asynchronous"),
        (SteppingCharger(), "SteppingCharger.__call__ is a generator"),
        (partial(charge_later), "charge_later is asynchronous"),
        (partial(LateCharger()), "LateCharger.__call__ is asynchronous"),
        (Charger, "Charger is a class"),
        (partial(Charger, 1), "Charger is a class"),
        ("charge", "'charge' is not"),
    ],
)
def test_what_a_call_would_not_run_is_refused_by_name(tmp_path: Path, handler: Any, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match=text):
        OrderEngine(tmp_path / "orders.db", handler=handler)

    assert not list(tmp_path.iterdir())


def test_a_probe_is_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="The probe charge_later is asynchronous"):
        OrderEngine(tmp_path / "orders.db", probe=charge_later)  # type: ignore[arg-type]  # mistaken


@pytest.mark.parametrize(
    "handler", [Charger(), Charger().charged.append, partial(Charger()), print, decorated(charge_later)]
)
def test_what_a_call_may_run_is_taken(handler: Any) -> None:
    check_callable(handler, "handler")


def test_a_handler_may_be_false(start_engine: Callable[..., OrderEngine]) -> None:
    handler = EmptyCharger()

    assert start_engine(handler).submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED

    assert handler.charged == ["o-1"]


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (decorated(charge_later), "coroutine"),
        (lambda order: charge_in_steps(order), "generator"),
        (lambda order: charge_in_later_steps(order), "async_generator"),
        (lambda _: Future(), "Future"),
    ],
)
def test_a_handler_that_returns_before_its_work_is_done_has_failed(
    start_engine: Callable[..., OrderEngine], handler: Any, kind: str
) -> None:
    engine = start_engine(handler, max_attempts=1)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    assert engine.history("o-1")[-1].reason == (
        f"HandlerUnfinished: the handler returned an object of type {kind}, whose work is not done: "
        "it has to do all of its work before it returns; failed attempt 1 of 1"
    )


def test_a_handler_may_run_what_is_asynchronous_to_its_end() -> None:
    done: list[str] = []

    async def charge(order: Order) -> None:
        await asyncio.sleep(0)
        done.append(order.order_id)

    run_handler(lambda order: asyncio.run(charge(order)), make_order())

    assert done == ["o-1"]


class Told(Exception):
    """An error that says after which time to try again, in whatever way."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


class Broken(Exception):
    """An error whose attribute cannot be read."""

    @property
    def retry_after(self) -> float:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Retry(after=30), 30.0),
        (Told(0), 0.0),
        (Told(2.5), 2.5),
        (Told("120"), 120.0),
        (Told("1.5"), 1.5),
        (Told("Fri, 27 Nov 2026 18:00:00 GMT"), None),
        (Told(-1), None),
        (Told(1e9), None),
        (Told(float("nan")), None),
        (Told(True), None),
        (Told(None), None),
        (Told([1]), None),
        (Broken(), None),
        (ValueError("no"), None),
    ],
    ids=repr,
)
def test_an_error_may_say_after_which_time_to_try_again(error: Exception, seconds: float | None) -> None:
    assert retry_after_of(error) == seconds


@pytest.mark.parametrize("after", [-1, 1e9, float("nan"), "soon", None, True])
def test_a_time_that_none_is_refused(after: Any) -> None:
    with pytest.raises(InvalidArgument, match="Retry after a number of seconds from 0 to 86400"):
        Retry(after=after)
