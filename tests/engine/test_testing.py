"""What users get for tests of their own: a clock to move, and orders with defaults."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ordermill.engine import InvalidOrder, OrderEngine, OrderStatus
from ordermill.engine.testing import START_US, ManualClock, make_order


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


def test_an_order_is_made_with_defaults() -> None:
    order = make_order("o-7", total_amount=Decimal("5"))

    assert (order.order_id, order.user_id, order.total_cents) == ("o-7", "u-1", 500)
    with pytest.raises(InvalidOrder):
        make_order("")
    with pytest.raises(TypeError):
        make_order(status=OrderStatus.COMPLETED)
