"""Orders that are to be completed by a time: what is promised when they are handed in, and which are refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import DeadlineUnlikely, EngineStopped, OrderEngine, OrderNotFound, OrderStatus, Outcome
from ordermill.engine.testing import START_US, Held, WatchedClock, make_order
from ordermill.store.domain.record import utc

if TYPE_CHECKING:
    from ordermill.engine import Order

StartEngine = Callable[..., OrderEngine]
NOW = utc(START_US)
PASSED = NOW - timedelta(seconds=1)


def in_seconds(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def have_measured(engine: OrderEngine) -> None:
    """Let the engine see how long orders take: with a clock that stands still, no time at all."""
    engine.submit_many([make_order(f"done-{number}") for number in range(30)])
    engine.drain(timeout=60)


def test_nothing_is_promised_with_too_little_data(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: None, clock=clock, min_confidence=0.9)

    receipt = engine.submit(make_order("o-1", complete_by=in_seconds(1)))

    assert (receipt.outcome, receipt.confidence) == (Outcome.ACCEPTED, None)


def test_an_order_that_may_not_be_begun_in_time_is_never_likely(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: None, clock=clock)

    receipt = engine.submit(make_order("o-1", not_before=in_seconds(60), complete_by=in_seconds(50)))

    assert receipt.confidence == 0.0


def test_an_order_without_such_a_time_is_promised_nothing(start_engine: StartEngine) -> None:
    assert start_engine(lambda _: None).submit(make_order()).confidence is None


def test_it_is_told_how_likely_an_order_is_in_time(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: None, clock=clock)
    have_measured(engine)

    receipts = engine.submit_many(
        [make_order("in-time", complete_by=in_seconds(60)), make_order("late", complete_by=PASSED), make_order("plain")]
    )

    assert [(receipt.outcome, receipt.confidence) for receipt in receipts] == [
        (Outcome.ACCEPTED, 1.0),
        (Outcome.ACCEPTED, 0.0),
        (Outcome.ACCEPTED, None),
    ]
    again = engine.submit(make_order("in-time", complete_by=in_seconds(60)))
    assert (again.outcome, again.confidence) == (Outcome.DUPLICATE, None)


def test_an_order_that_is_unlikely_to_be_in_time_is_refused(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: None, clock=clock, min_confidence=0.9)
    have_measured(engine)

    with pytest.raises(DeadlineUnlikely, match="which is too low") as caught:
        engine.submit(make_order("late", complete_by=PASSED))

    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.order_id, error.complete_by, error.confidence, error.earliest) == ("late", PASSED, 0.0, NOW)
    assert error.retry_after_seconds == 1
    with pytest.raises(OrderNotFound):
        engine.order("late")


def test_it_does_not_keep_out_the_others_that_came_with_it(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: None, clock=clock, min_confidence=0.9)
    late = make_order("late", complete_by=PASSED)

    receipts = engine.submit_many([make_order("a"), late, make_order("b", complete_by=in_seconds(1))])

    assert [receipt.outcome.value for receipt in receipts] == ["accepted", "unlikely", "accepted"]
    assert (receipts[1].order_id, receipts[1].confidence) == ("late", 0.0)
    with pytest.raises(DeadlineUnlikely):
        receipts[1].wait(timeout=60)
    assert {order.order_id for order in engine.orders()} == {"a", "b"}


def test_one_that_was_accepted_before_is_the_same_however_late_it_is(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    engine = start_engine(lambda _: None, clock=clock, min_confidence=0.9)
    order = make_order("o-1", complete_by=in_seconds(1))
    engine.submit(order).wait(timeout=60)
    clock.advance(60)

    assert engine.submit(order).outcome is Outcome.DUPLICATE


def test_orders_of_one_submission_are_the_less_likely_in_time_the_later_their_turn_comes(
    start_engine: StartEngine, clock: WatchedClock, held: Held
) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "first":
            held(order)
        clock.advance(1)

    engine = start_engine(handle, clock=clock, processors=1)
    have_measured(engine)
    engine.submit(make_order("first"))
    assert held.begun(60) == "first"
    clock.advance(2)  # what was measured is read anew
    by = utc(clock.now_us()) + timedelta(seconds=60)

    receipts = engine.submit_many([make_order(f"o-{n}", user_id=f"u-{n}", complete_by=by) for n in range(200)])
    later = engine.submit(make_order("later", not_before=by - timedelta(seconds=5), complete_by=by))
    held.release()
    engine.drain(timeout=60)

    told = [receipt.confidence for receipt in receipts]
    assert None not in told
    assert told == sorted(told, reverse=True)
    assert (told[0], told[199]) == (1.0, 0.0)
    assert (told[30] or 0) > 0.9 > 0.1 > (told[100] or 0)
    assert later.confidence == 0.0  # two hundred go first


def test_what_was_promised_is_judged_when_the_order_is_over(
    start_engine: StartEngine, clock: WatchedClock, held: Held
) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "promised":
            held(order)

    engine = start_engine(handle, clock=clock, processors=1)
    have_measured(engine)
    assert engine.submit(make_order("promised", complete_by=in_seconds(60))).confidence == 1.0
    assert held.begun(60) == "promised"
    engine.control()  # the recorder has noted what was told
    clock.advance(1)
    engine.control()
    held.release()
    engine.drain(timeout=60)
    clock.advance(1)
    engine.control()
    engine.control()  # what came with the one before is done

    accuracy = engine.metrics().outlooks
    assert accuracy is not None
    assert (accuracy.kept, accuracy.of) == (0.0, 1)


def test_an_engine_that_stops_meanwhile_says_so(start_engine: StartEngine) -> None:
    engine = start_engine(lambda _: None)
    engine.stop()

    with pytest.raises(EngineStopped):
        engine.submit(make_order(complete_by=NOW))


def test_an_order_is_told_of_as_soon_as_it_is_late(start_engine: StartEngine, clock: WatchedClock, held: Held) -> None:
    engine = start_engine(held, clock=clock, processors=1)
    engine.submit_many([make_order("first", complete_by=in_seconds(5)), make_order("next", complete_by=in_seconds(90))])
    assert held.begun(60) == "first"

    late = (event for event in engine.events(after=0, timeout=60) if event.is_late)
    clock.advance(6)
    first = next(late)
    assert (first.order_id, first.to_status, first.at_us) == ("first", OrderStatus.PROCESSING, clock.now_us())
    clock.advance(60)
    clock.advance(60)
    following = next(late)
    assert (following.order_id, following.to_status) == ("next", OrderStatus.PENDING)
    held.release()
    assert engine.drain(timeout=60).late_orders == 2


def test_an_order_that_came_late_while_the_engine_was_down_is_told_of_at_the_next_start(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    engine = start_engine(lambda _: None, clock=clock)
    engine.pause()
    engine.submit(make_order("o-1", complete_by=in_seconds(5)))
    engine.stop()
    clock.advance(60)

    engine = start_engine(lambda _: None, clock=clock)

    assert next(event for event in engine.events(after=0, timeout=60) if event.is_late).order_id == "o-1"
