"""Setting the machine's clock, back or ahead, moves no timer and holds up no order; and it is told."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus
from ordermill.engine.testing import START_US, ManualClock, make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]

HOUR_US = 3_600_000_000
STEPS = pytest.mark.parametrize("step_us", [-HOUR_US, HOUR_US], ids=["back", "ahead"])


class Flaky:
    """A handler that fails in the first attempt of each order."""

    def __init__(self) -> None:
        self.attempts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: set[str] = set()

    def __call__(self, order: Order) -> None:
        self.attempts.put(order.order_id)
        if order.order_id not in self._seen:
            self._seen.add(order.order_id)
            raise ConnectionError("no answer")


@STEPS
def test_a_retry_comes_after_its_delay_whatever_the_clock_is_set_to(
    start_engine: StartEngine, clock: WatchedClock, step_us: int
) -> None:
    handler = Flaky()
    engine = start_engine(handler, clock=clock, retry_seconds=10)
    for order_id in ("before", "after"):
        engine.submit(make_order(order_id))
        clock.next_call(at_least=1)
        clock.set_wall(START_US + step_us)
        assert engine.status(order_id) is OrderStatus.PENDING

        clock.advance(10)

        engine.drain(timeout=60)
        assert engine.status(order_id) is OrderStatus.COMPLETED


@STEPS
def test_a_handler_has_its_time_whatever_the_clock_is_set_to(
    start_engine: StartEngine, held: Held, clock: ManualClock, step_us: int
) -> None:
    engine = start_engine(held, clock=clock, handler_timeout=5, max_attempts=1)
    receipt = engine.submit(make_order())
    held.begun()
    clock.set_wall(START_US + step_us)
    clock.advance(4.9)
    assert engine.status("o-1") is OrderStatus.PROCESSING

    clock.advance(0.1)

    assert receipt.wait(timeout=60) is OrderStatus.FAILED


@STEPS
def test_a_wait_ends_after_its_time_whatever_the_clock_is_set_to(
    start_engine: StartEngine, held: Held, clock: ManualClock, step_us: int
) -> None:
    engine = start_engine(held, clock=clock)
    engine.submit(make_order())
    moved = engine.begin_wait("o-1", timeout=5)
    clock.set_wall(START_US + step_us)
    clock.advance(4.9)
    assert not moved.is_done

    clock.advance(0.1)

    assert moved.is_done


@STEPS
def test_new_orders_go_in_the_sequence_of_their_arrival_whatever_the_clock_is_set_to(
    start_engine: StartEngine, held: Held, clock: ManualClock, step_us: int
) -> None:
    engine = start_engine(held, clock=clock, processors=1)
    engine.submit(make_order("o-0"))
    for number in range(1, 4):
        engine.submit(make_order(f"o-{number}"))
        clock.set_wall(clock.now_us() + step_us)
        clock.advance(0.001)
    held.release()
    engine.drain(timeout=60)

    assert [held.begun() for _ in range(4)] == ["o-0", "o-1", "o-2", "o-3"]


def test_the_stamps_of_an_order_never_run_backwards(
    start_engine: StartEngine, clock: ManualClock, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(lambda _: clock.set_wall(START_US - HOUR_US), clock=clock)
    engine.submit(make_order()).wait(timeout=60)

    assert [transition.at_us for transition in engine.history("o-1")] == [START_US] * 3
    assert engine.order("o-1").updated_us == START_US
    engine.submit(make_order("later")).wait(timeout=60)
    assert engine.order("later").created_us == START_US - HOUR_US
    engine.stop()
    assert_sound()


def test_a_database_whose_last_step_lies_in_the_future_is_worked_off_at_once_and_told(
    start_engine: StartEngine, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = start_engine(held, clock=ManualClock(START_US + HOUR_US), processors=1, stop_seconds=0, retry_seconds=10)
    ahead.submit_many([make_order("in-hand"), make_order("waiting")])
    held.begun()
    ahead.stop()
    assert ahead.warnings() == ()
    held.release()
    clock = ManualClock()

    engine = start_engine(clock=clock)

    assert engine.submit(make_order("new")).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.wait("in-hand", timeout=60) is OrderStatus.COMPLETED
    assert engine.wait("waiting", timeout=60) is OrderStatus.COMPLETED
    (warning,) = engine.warnings()
    assert warning.startswith("the machine's clock is 3600 s behind what this database has seen")
    assert warning in caplog.text
    assert engine.unready_reasons() == ()
    clock.set_wall(START_US + HOUR_US)
    assert engine.warnings() == ()


def test_a_clock_that_is_set_back_while_the_engine_runs_is_told(start_engine: StartEngine, clock: ManualClock) -> None:
    engine = start_engine(clock=clock)
    clock.set_wall(START_US - 1_000_000)
    assert engine.warnings() == ()

    clock.set_wall(START_US - HOUR_US)

    assert engine.warnings()[0].startswith("the machine's clock is 3600 s behind")


def test_an_order_in_its_backoff_goes_on_waiting_after_a_restart_and_no_longer_than_a_backoff(
    start_engine: StartEngine, clock: WatchedClock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Flaky()
    first = start_engine(handler, clock=clock, retry_seconds=10, retry_max_seconds=10)
    first.submit(make_order())
    ready_us = clock.next_call(at_least=1)
    first.stop()
    assert handler.attempts.get(timeout=60) == "o-1"

    second = start_engine(handler, clock=clock, retry_max_seconds=10)

    assert clock.next_call(at_least=1) == second.order("o-1").ready_us == ready_us
    second.stop()
    assert handler.attempts.empty()

    start_engine(handler, clock=ManualClock(START_US - HOUR_US), retry_max_seconds=10)

    assert handler.attempts.get(timeout=60) == "o-1"
    assert "1 orders were to wait for a time that lies too far ahead: they are processed now" in caplog.text
