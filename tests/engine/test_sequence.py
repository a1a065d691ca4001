"""Which order comes when, in a running engine: by priority, by time, and one of a key after another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    Durability,
    InvalidArgument,
    InvalidOrder,
    Order,
    OrderConflict,
    OrderEngine,
    OrderNotFound,
    OrderStatus,
    Outcome,
    Reject,
    TransitionRefused,
)
from ordermill.engine.testing import START_US, WatchedClock, make_order
from ordermill.store.domain.claim import Claim
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.database import open_writer

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]
COMPLETED = OrderStatus.COMPLETED


class Service:
    """A handler that notes each attempt, and does with the first ones of some orders what it is told."""

    def __init__(self, **troubles: Exception) -> None:
        self._troubles = {name.replace("_", "-"): trouble for name, trouble in troubles.items()}
        self.attempts: list[str] = []

    def __call__(self, order: Order) -> None:
        """Fail where that order is to fail once."""
        self.attempts.append(order.order_id)
        if (trouble := self._troubles.pop(order.order_id, None)) is not None:
            raise trouble


def of_key(*order_ids: str, key: str | None = "k", **fields: Any) -> list[Order]:
    return [make_order(order_id, key=key, **fields) for order_id in order_ids]


def test_the_next_of_a_key_waits_while_one_waits_for_its_next_attempt(
    start_engine: StartEngine, clock: WatchedClock, let_record: Callable[[OrderEngine], None]
) -> None:
    handler = Service(a=ConnectionError("down"))
    engine = start_engine(handler, clock=clock, retry_seconds=10)
    engine.submit_many([*of_key("a", "b"), *of_key("x", key=None)])
    again_us = clock.next_call(at_least=1, timeout=60)
    assert engine.wait("x", timeout=60) is COMPLETED
    let_record(engine)
    assert engine.status("b") is OrderStatus.PENDING

    clock.advance_to(again_us)

    assert engine.wait("b", timeout=60) is COMPLETED
    assert sorted(handler.attempts[:2]) == ["a", "x"]
    assert handler.attempts[2:] == ["a", "b"]


def test_where_they_continue_the_next_of_a_key_passes_one_that_waits(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    handler = Service(a=ConnectionError("down"))
    engine = start_engine(handler, clock=clock, key_policy="continue")
    engine.submit_many(of_key("a", "b"))
    assert engine.wait("b", timeout=60) is COMPLETED
    assert engine.status("a") is OrderStatus.PENDING

    clock.advance(3600)

    assert engine.wait("a", timeout=60) is COMPLETED
    assert handler.attempts == ["a", "b", "a"]


def test_a_failed_order_halts_its_key_until_an_operator_retries_it(
    start_engine: StartEngine, let_record: Callable[[OrderEngine], None]
) -> None:
    handler = Service(a=Reject("never"))
    engine = start_engine(handler, key_policy="halt")
    engine.submit_many([*of_key("a", "b"), *of_key("x", key="other")])
    assert engine.wait("a", timeout=60) is OrderStatus.FAILED
    assert engine.wait("x", timeout=60) is COMPLETED
    let_record(engine)
    assert engine.status("b") is OrderStatus.PENDING

    engine.retry("a")

    assert engine.wait("b", timeout=60) is COMPLETED
    assert [attempt for attempt in handler.attempts if attempt != "x"] == ["a", "a", "b"]


def test_an_operator_may_cancel_what_a_halted_key_holds(start_engine: StartEngine) -> None:
    engine = start_engine(Service(a=Reject("never")), key_policy="halt")
    engine.submit_many(of_key("a", "b", "c"))
    assert engine.wait("a", timeout=60) is OrderStatus.FAILED

    assert engine.cancel("b").status is OrderStatus.CANCELLED
    engine.retry("a")

    assert engine.wait("c", timeout=60) is COMPLETED
    assert engine.status("b") is OrderStatus.CANCELLED


def test_another_policy_lets_go_at_the_start_what_it_does_not_hold(start_engine: StartEngine) -> None:
    engine = start_engine(Service(a=Reject("never")), key_policy="halt")
    engine.submit_many(of_key("a", "b"))
    assert engine.wait("a", timeout=60) is OrderStatus.FAILED
    engine.stop()

    assert start_engine(key_policy="hold").wait("b", timeout=60) is COMPLETED


@pytest.mark.parametrize("policy", ["hold", "halt"])
def test_after_a_crash_the_one_in_hand_comes_before_the_next_of_its_key(
    start_engine: StartEngine, database: Path, clock: WatchedClock, policy: str
) -> None:
    writer = open_writer(database, Durability.NORMAL)
    ledger = Ledger(writer)
    ledger.record(of_key("a", "b", "c"), [], START_US)
    ledger.record([], [], START_US, claim=Claim(9, START_US))
    writer.close()
    handler = Service()

    engine = start_engine(handler, clock=clock, key_policy=policy)
    assert engine.recovered.returned == 1
    clock.advance(3600)

    assert engine.wait("c", timeout=60) is COMPLETED
    assert handler.attempts == ["a", "b", "c"]
    assert [engine.order(order_id).attempts for order_id in "abc"] == [2, 1, 1]


def test_the_orders_of_a_user_run_one_after_another_where_users_are_serial(
    start_engine: StartEngine, held: Held, let_record: Callable[[OrderEngine], None]
) -> None:
    engine = start_engine(held, serial_users=True, processors=4)
    engine.submit_many([make_order("a-1", user_id="a"), make_order("a-2", user_id="a"), make_order("b-1", user_id="b")])
    assert {held.begun(60), held.begun(60)} == {"a-1", "b-1"}
    let_record(engine)
    assert engine.status("a-2") is OrderStatus.PENDING

    held.release()

    assert engine.wait("a-2", timeout=60) is COMPLETED


@pytest.mark.parametrize("policy", ["hold", "halt"])
def test_no_two_of_a_key_overlap_or_swap_on_many_processors(
    start_engine: StartEngine, assert_sound: Callable[[], None], policy: str
) -> None:
    lock, running, begun, overlaps = threading.Lock(), Counter[str](), list[str](), list[str]()

    def handle(order: Order) -> None:
        key = str(order.key)
        with lock:
            running[key] += 1
            begun.append(order.order_id)
            if running[key] > 1:
                overlaps.append(order.order_id)
            is_first = begun.count(order.order_id) == 1
        try:
            if is_first and int(order.order_id) % 7 == 0:
                raise ConnectionError("try again")
        finally:
            with lock:
                running[key] -= 1

    engine = start_engine(handle, processors=8, retry_seconds=0.001, key_policy=policy)
    for lot in range(10):
        engine.submit_many(make_order(f"{30 * lot + i:03}", key=f"k-{i % 5}", priority=i % 10) for i in range(30))
    engine.drain(timeout=60)
    engine.stop()

    assert overlaps == []
    assert len(set(begun)) == 300
    for number in range(5):
        own = [order_id for order_id in dict.fromkeys(begun) if int(order_id) % 5 == number]
        assert own == sorted(own)
    assert_sound()


def test_what_has_a_higher_priority_is_begun_first(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    assert held.begun(60) == "first"
    engine.submit_many([make_order(f"p-{priority}", priority=priority) for priority in (4, 0, 9)])
    engine.submit(make_order("again", priority=9))

    held.release()

    assert [held.begun(60) for _ in range(4)] == ["p-9", "again", "p-4", "p-0"]


def test_what_has_waited_for_long_comes_before_what_is_more_urgent(
    start_engine: StartEngine, held: Held, clock: WatchedClock
) -> None:
    engine = start_engine(held, processors=1, clock=clock, aging_seconds=10)
    engine.submit(make_order("first"))
    assert held.begun(60) == "first"
    engine.submit(make_order("old", priority=0))
    clock.advance(91)
    engine.submit(make_order("new", priority=9))

    held.release()

    assert [held.begun(60), held.begun(60)] == ["old", "new"]


def test_an_order_is_begun_when_its_time_has_come_and_no_earlier(
    start_engine: StartEngine, clock: WatchedClock, let_record: Callable[[OrderEngine], None]
) -> None:
    engine = start_engine(clock=clock)
    when = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(seconds=60)
    engine.submit(make_order("later", not_before=when))
    engine.submit(make_order("now"))
    assert engine.wait("now", timeout=60) is COMPLETED
    clock.advance(59)
    let_record(engine)
    assert engine.status("later") is OrderStatus.PENDING

    clock.advance(1)

    assert engine.wait("later", timeout=60) is COMPLETED


def test_a_paused_engine_keeps_the_sequence_of_priorities_and_keys(start_engine: StartEngine) -> None:
    handler = Service()
    engine = start_engine(handler, processors=1)
    engine.pause()
    engine.submit_many([*of_key("k-1", "k-2"), make_order("low", priority=0), *of_key("k-3", priority=9)])
    engine.submit(make_order("high", priority=9))

    engine.resume()
    engine.drain(timeout=60)

    own = [attempt for attempt in handler.attempts if attempt.startswith("k")]
    assert own == ["k-1", "k-2", "k-3"]
    assert handler.attempts[0] == "high"
    assert handler.attempts[-1] == "low"


def test_an_order_that_is_rescheduled_comes_when_it_is_wanted(
    start_engine: StartEngine, held: Held, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    assert held.begun(60) == "first"
    engine.submit_many(make_order(order_id) for order_id in ("a", "b", "c"))

    moved = engine.reschedule("c", priority=9, reason="the customer waits")

    assert (moved.order.priority, moved.status) == (9, OrderStatus.PENDING)
    assert engine.order("c") == moved
    step = engine.history("c")[-1]
    assert (step.from_status, step.to_status) == (OrderStatus.PENDING, OrderStatus.PENDING)
    assert step.reason == "rescheduled: priority 9, at once; the customer waits"
    assert engine.audit(limit=1)[0].action == "reschedule"
    held.release()
    assert [held.begun(60) for _ in range(3)] == ["c", "a", "b"]
    engine.drain(timeout=60)
    engine.stop()
    assert_sound()


def test_an_order_may_be_put_off_and_taken_up_again(
    start_engine: StartEngine, held: Held, clock: WatchedClock, let_record: Callable[[OrderEngine], None]
) -> None:
    engine = start_engine(held, processors=1, clock=clock)
    engine.submit(make_order("first"))
    assert held.begun(60) == "first"
    engine.submit_many(make_order(order_id) for order_id in ("a", "b"))
    when = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(seconds=60)
    for order_id in ("a", "b"):
        moved = engine.reschedule(order_id, not_before=when)
        assert moved.ready_at == moved.order.not_before == when
    held.release()
    assert engine.wait("first", timeout=60) is COMPLETED
    let_record(engine)
    assert engine.status("a") is OrderStatus.PENDING

    assert engine.reschedule("a", not_before=None).order.not_before is None

    assert engine.wait("a", timeout=60) is COMPLETED
    clock.advance(60)
    assert engine.wait("b", timeout=60) is COMPLETED


def test_a_reschedule_hurries_no_next_attempt(
    start_engine: StartEngine, clock: WatchedClock, let_record: Callable[[OrderEngine], None]
) -> None:
    engine = start_engine(Service(a=ConnectionError("down")), clock=clock, retry_seconds=10)
    engine.submit(make_order("a"))
    again_us = clock.next_call(at_least=1, timeout=60)

    moved = engine.reschedule("a", priority=9)

    assert (moved.failures, moved.ready_us) == (1, again_us)
    let_record(engine)
    assert engine.status("a") is OrderStatus.PENDING
    clock.advance_to(again_us)
    assert engine.wait("a", timeout=60) is COMPLETED


def test_an_order_that_is_claimed_and_not_begun_is_rescheduled_and_one_that_is_begun_is_not(
    start_engine: StartEngine, held: Held
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("first"), make_order("next")])
    assert held.begun(60) == "first"

    assert engine.reschedule("next", priority=0).order.priority == 0

    with pytest.raises(TransitionRefused, match="is Processing"):
        engine.reschedule("first", priority=0)
    held.release()
    assert engine.wait("next", timeout=60) is COMPLETED
    with pytest.raises(TransitionRefused, match="is Completed"):
        engine.reschedule("next", priority=1)
    with pytest.raises(OrderNotFound):
        engine.reschedule("nobody", priority=1)


def test_a_rescheduled_order_is_the_same_when_it_is_sent_again(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    orders = [make_order("first"), make_order("a", priority=2)]
    engine.submit_many(orders)
    assert held.begun(60) == "first"
    engine.reschedule("a", priority=9)
    engine.reschedule("a", priority=8)

    assert engine.submit(orders[1]).record.order.priority == 8
    with pytest.raises(OrderConflict):
        engine.submit(make_order("a", priority=7))


def test_when_an_order_is_to_be_completed_is_changed_and_taken_away(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    by = datetime(2099, 12, 24, 18, tzinfo=timezone(timedelta(hours=1)))
    sent = make_order("a", complete_by=by)
    engine.submit_many([make_order("first"), sent])
    assert held.begun(60) == "first"
    assert engine.order("a").order == sent

    moved = engine.reschedule("a", complete_by=by + timedelta(days=1), reason="agreed with the customer")

    assert moved.order.complete_by == by + timedelta(days=1)
    assert engine.order("a") == moved
    assert engine.history("a")[-1].reason == (
        "rescheduled: priority 4, at once, to be completed by 2099-12-25T17:00:00.000000Z; agreed with the customer"
    )
    assert engine.reschedule("a", complete_by=None).order.complete_by is None
    assert engine.submit(sent).outcome is Outcome.DUPLICATE
    with pytest.raises(OrderConflict):
        engine.submit(make_order("a", complete_by=by + timedelta(days=2)))


def test_a_schedule_that_is_none_is_refused(start_engine: StartEngine) -> None:
    engine = start_engine()

    with pytest.raises(InvalidOrder, match="/priority: must be a whole number"):
        engine.reschedule("a", priority=10)
    with pytest.raises(InvalidOrder, match="/not_before"):
        engine.reschedule("a", not_before=datetime(2027, 1, 1))  # that is what is wrong with it
    with pytest.raises(InvalidOrder, match="/complete_by"):
        engine.reschedule("a", complete_by=datetime(2027, 1, 1))
    with pytest.raises(InvalidArgument, match="Say what is to change"):
        engine.reschedule("a")


def test_a_held_order_of_a_key_stays_held_when_it_is_rescheduled(
    start_engine: StartEngine, held: Held, let_record: Callable[[OrderEngine], None]
) -> None:
    engine = start_engine(held, processors=4)
    engine.submit_many(of_key("a", "b"))
    assert held.begun(60) == "a"

    engine.reschedule("b", priority=9)
    let_record(engine)

    assert not held.has_begun_more()
    held.release()
    assert engine.wait("b", timeout=60) is COMPLETED
