"""The clocks that users get for tests of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from pykka import ThreadingFuture

from ordermill.engine import Order, OrderEngine, OrderStatus
from ordermill.engine.actors.messages import CheckFiles
from ordermill.engine.requests import AwaitOrder
from ordermill.engine.testing import START_US, ManualClock, WatchedClock, make_order


@pytest.fixture
def clock() -> ManualClock:
    """The clock as users have it."""
    return ManualClock()


def test_a_manual_clock_stands_still_until_it_is_moved(clock: ManualClock) -> None:
    assert clock.now_us() == clock.now_us() == START_US

    clock.advance(1.5)

    assert clock.now_us() == START_US + 1_500_000
    assert ManualClock(7).now_us() == 7


def test_a_manual_clock_calls_when_the_time_has_come(clock: ManualClock) -> None:
    called: list[str] = []
    for name, seconds in (("late", 3), ("soon", 1), ("later", 3)):
        clock.call_after(seconds, lambda name=name: called.append(name))  # type: ignore[misc]

    clock.advance(0.999999)
    assert called == []
    clock.advance(0.000001)
    assert called == ["soon"]
    clock.advance(10)
    assert called == ["soon", "late", "later"]


def test_a_manual_clock_calls_at_once_for_a_time_that_has_come(clock: ManualClock) -> None:
    called: list[int] = []

    clock.call_after(0, lambda: called.append(1))

    assert called == [1]


def test_a_call_of_a_manual_clock_may_ask_for_the_next(clock: ManualClock) -> None:
    called: list[int] = []

    clock.call_after(0.5, lambda: clock.call_after(0, lambda: called.append(clock.now_us())))
    clock.advance(1)

    assert called == [START_US + 1_000_000]


def test_setting_the_wall_clock_makes_no_call(clock: ManualClock) -> None:
    called: list[int] = []
    clock.call_after(1, lambda: called.append(1))

    clock.set_wall(START_US + 3_600_000_000)

    assert clock.now_us() == START_US + 3_600_000_000
    assert clock.monotonic_us() == START_US
    assert called == []
    clock.set_wall(START_US - 3_600_000_000)
    clock.advance(1)
    assert called == [1]


def test_a_cancelled_call_of_a_manual_clock_is_not_made(clock: ManualClock) -> None:
    called: list[int] = []
    clock.cancel(clock.call_after(1, lambda: called.append(1)))

    clock.advance(1)

    assert called == []


def test_a_closed_manual_clock_calls_nobody(clock: ManualClock) -> None:
    called: list[int] = []
    clock.call_after(0.5, lambda: called.append(1))

    clock.close()
    clock.advance(1)

    assert called == []


def test_an_engine_does_not_close_a_clock_that_it_was_given(
    start_engine: type[OrderEngine], clock: ManualClock
) -> None:
    called: list[int] = []
    clock.call_after(0.5, lambda: called.append(1))
    start_engine(clock=clock).stop()  # type: ignore[call-arg]

    clock.advance(1)

    assert called == [1]


def test_a_watched_clock_tells_for_which_time_the_engine_asks(start_engine: Callable[..., OrderEngine]) -> None:
    clock, tried = WatchedClock(), []

    def fail_once(order: Order) -> None:
        tried.append(order.order_id)
        if len(tried) == 1:
            raise ConnectionError

    receipt = start_engine(fail_once, clock=clock).submit(make_order())

    at_us = clock.next_call()
    assert (at_us > clock.now_us(), tried, clock.calls_to_come()) == (True, ["o-1"], 1)
    clock.advance_to(at_us)
    assert clock.now_us() == at_us
    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED


def test_a_watched_clock_passes_over_what_is_too_soon_the_looks_at_the_files_and_the_waits_of_callers() -> None:
    clock = WatchedClock(7)
    clock.call_after(9, partial(print, CheckFiles()))
    clock.call_after(9, partial(print, AwaitOrder("o-1", 9, ThreadingFuture())))
    clock.call_after(1, print)
    clock.call_after(2, print)

    assert clock.next_call(at_least=1.5) == 2_000_007
    assert clock.calls_to_come() == 2


def test_a_watched_clock_says_that_nobody_asks() -> None:
    with pytest.raises(TimeoutError, match="no further call"):
        WatchedClock().next_call(timeout=0)
