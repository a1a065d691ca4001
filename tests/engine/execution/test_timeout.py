"""Handlers that overrun their time: the order moves on, capacity returns, and what comes late changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus
from ordermill.engine.testing import ManualClock, make_order


class Stuck:
    """A handler that does not return for some orders until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.released = threading.Event()
        self.stuck_attempts = 1
        self._attempts: dict[str, int] = {}

    def __call__(self, order: Order) -> None:
        attempt = self._attempts[order.order_id] = self._attempts.get(order.order_id, 0) + 1
        if order.order_id.startswith("stuck") and attempt <= self.stuck_attempts:
            self.begun.release()
            assert self.released.wait(timeout=30)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """A handler that is released in the end."""
    handler = Stuck()
    yield handler
    handler.released.set()


@pytest.fixture
def start_stuck(
    start_engine: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> Iterator[Callable[..., OrderEngine]]:
    """Starts an engine with that handler, a timeout of five seconds and a clock that stands still."""

    def start(**settings: object) -> OrderEngine:
        return start_engine(stuck, clock=clock, handler_timeout=5, retry_seconds=0, **settings)

    yield start
    stuck.released.set()


def test_an_order_whose_handler_overruns_its_time_is_tried_again_by_a_new_processor(
    start_stuck: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> None:
    engine = start_stuck(processors=1)
    receipt = engine.submit(make_order("stuck"))
    assert stuck.begun.acquire(timeout=60)
    clock.advance(5)

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.order("stuck").attempts == 2
    assert engine.history("stuck")[2].reason.startswith("TimeoutError: the handler did not return within 5 s")
    assert engine.metrics().abandoned_handlers == 1


def test_a_handler_has_all_of_its_time(
    start_stuck: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> None:
    engine = start_stuck(processors=1)
    receipt = engine.submit(make_order("stuck"))
    assert stuck.begun.acquire(timeout=60)
    clock.advance(4.9)
    stuck.released.set()

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.order("stuck").attempts == 1


def test_a_result_that_comes_late_changes_nothing(
    start_stuck: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> None:
    engine = start_stuck(processors=1, max_attempts=1)
    receipt = engine.submit(make_order("stuck"))
    assert stuck.begun.acquire(timeout=60)
    clock.advance(5)
    assert receipt.wait(timeout=60) is OrderStatus.FAILED
    history = engine.history("stuck")
    stuck.released.set()
    engine.stop()
    engine.start()

    assert engine.history("stuck") == history


def test_other_orders_go_on_while_handlers_are_stuck(
    start_stuck: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> None:
    engine = start_stuck(processors=2, max_attempts=1)
    receipts = engine.submit_many(make_order(f"stuck-{number}") for number in range(2))
    for _ in receipts:
        assert stuck.begun.acquire(timeout=60)
    others = engine.submit_many(make_order(f"good-{number}") for number in range(20))
    clock.advance(5)

    assert {receipt.wait(timeout=60) for receipt in others} == {OrderStatus.COMPLETED}
    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.FAILED}


def test_readiness_tells_when_too_many_handlers_are_abandoned_and_capacity_returns_with_them(
    start_stuck: Callable[..., OrderEngine], stuck: Stuck, clock: ManualClock
) -> None:
    engine = start_stuck(processors=1, max_abandoned=0, max_attempts=1)
    receipt = engine.submit(make_order("stuck"))
    assert stuck.begun.acquire(timeout=60)
    clock.advance(5)
    assert receipt.wait(timeout=60) is OrderStatus.FAILED
    waiting = engine.submit(make_order("good"))

    assert engine.unready_reasons() == ("1 handlers have overrun their time: 1 processors are missing",)
    with pytest.raises(TimeoutError):
        waiting.wait(timeout=0)
    stuck.released.set()
    assert waiting.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.unready_reasons() == ()
    assert engine.metrics().abandoned_handlers == 0
