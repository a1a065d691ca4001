"""Orders that were in hand when an engine died are settled before anything else runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ordermill.engine import Order, OrderEngine, OrderRecord, OrderStatus, Recovered, StoreUnavailable
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store.ledger import Ledger

StartEngine = Callable[..., OrderEngine]
Leave = Callable[..., list[OrderRecord]]
DIED = "the engine died while the order was in hand"


def test_without_a_dead_engine_there_is_nothing_to_recover(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=5)
    engine.stop()

    assert start_engine().recovered == Recovered(returned=0, completed=0, failed=0, parked=0)


def test_an_interrupted_order_is_tried_again_which_counts_as_a_failure(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    leave_in_hand("o-1")

    engine = start_engine()

    assert engine.recovered == Recovered(returned=1)
    assert engine.wait("o-1", timeout=5) is OrderStatus.COMPLETED
    assert (engine.order("o-1").attempts, engine.order("o-1").failures) == (2, 1)
    assert [step.reason for step in engine.history("o-1")][2] == DIED
    engine.stop()
    assert_sound()


def test_an_order_that_has_killed_the_engine_too_often_fails(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    handled: list[Order] = []
    leave_in_hand("o-1", failures=2)

    engine = start_engine(handled.append, max_attempts=3)

    assert engine.recovered == Recovered(failed=1)
    assert engine.wait("o-1", timeout=5) is OrderStatus.FAILED
    assert engine.history("o-1")[-1].reason == f"{DIED}; failed attempt 3 of 3"
    engine.drain(timeout=5)
    assert handled == []
    engine.stop()
    assert_sound()


def test_an_interrupted_order_is_parked_where_it_must_not_run_twice(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    handled: list[Order] = []
    leave_in_hand("o-1", "o-2", failures=4)

    engine = start_engine(handled.append, on_interrupted="review")

    assert engine.recovered == Recovered(parked=2)
    assert engine.drain(timeout=5).orders_by_status[OrderStatus.REVIEW] == 2
    assert engine.history("o-1")[-1].reason == "the engine died in mid-work"
    assert handled == []
    engine.stop()
    assert_sound()
    assert start_engine().recovered == Recovered()


def test_interrupted_orders_go_first(start_engine: StartEngine, leave_in_hand: Leave, clock: ManualClock) -> None:
    leave_in_hand("old-1", "old-2", "old-3")
    clock.advance(60)
    handled: list[str] = []

    engine = start_engine(lambda order: handled.append(order.order_id), clock=clock, processors=1)
    engine.submit_many([make_order("new-1"), make_order("new-2")])
    engine.drain(timeout=5)

    assert handled == ["old-1", "old-2", "old-3", "new-1", "new-2"]


def test_interrupted_orders_go_before_those_that_waited(
    start_engine: StartEngine, leave_in_hand: Leave, clock: ManualClock
) -> None:
    leave_in_hand("in-hand")
    parked = start_engine(on_interrupted="review", clock=clock)
    parked.retry("in-hand")
    parked.drain(timeout=5)
    parked.stop()
    leave_in_hand("b-1", "b-2")
    clock.advance(60)
    handled: list[str] = []

    start_engine(lambda order: handled.append(order.order_id), clock=clock, processors=1).drain(timeout=5)

    assert handled == ["b-1", "b-2"]


def test_more_orders_than_a_batch_are_recovered(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    leave_in_hand(*(f"o-{number}" for number in range(2500)))

    engine = start_engine()

    assert engine.recovered == Recovered(returned=2500)
    assert engine.drain(timeout=30).total_orders_processed == 2500
    engine.stop()
    assert_sound()


def test_a_recovery_that_the_store_does_not_take_is_tried_by_the_next_start(
    start_engine: StartEngine, leave_in_hand: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable(OSError("disk full"))

    leave_in_hand("o-1")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        with pytest.raises(StoreUnavailable, match="disk full"):
            start_engine()

    engine = start_engine()

    assert engine.recovered == Recovered(returned=1)
    assert engine.wait("o-1", timeout=5) is OrderStatus.COMPLETED


def test_a_clock_that_was_set_back_does_not_turn_the_history_around(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    (record,) = leave_in_hand("o-1")

    engine = start_engine()
    engine.wait("o-1", timeout=5)

    assert all(step.at_us >= record.updated_us for step in engine.history("o-1")[2:])
    engine.stop()
    assert_sound()
