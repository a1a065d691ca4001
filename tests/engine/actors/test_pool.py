"""Which order is next, who gets it, and how much of the work is in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, StoreUnavailable, TransitionRefused
from ordermill.engine.actors.dispatcher import Dispatcher
from ordermill.engine.actors.messages import ClaimOrders, ProcessOrders
from ordermill.engine.actors.pool import assigned_ahead
from ordermill.engine.actors.processor import ProcessorActor
from ordermill.engine.actors.roster import Roster
from ordermill.engine.testing import make_order
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.record import Move
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


def test_orders_are_handled_in_the_sequence_of_their_arrival(start_engine: StartEngine) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), processors=1)
    order_ids = [f"o-{number}" for number in range(200)]

    for order_id in order_ids[:50]:
        engine.submit(make_order(order_id))
    engine.submit_many(map(make_order, order_ids[50:]))
    engine.drain(timeout=60)

    assert handled == order_ids


def test_as_many_orders_are_in_hand_as_there_are_processors(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=3)
    engine.submit_many(make_order(f"o-{number}") for number in range(10))

    assert sorted(held.begun() for _ in range(3)) == ["o-0", "o-1", "o-2"]
    assert engine.metrics().orders_by_status[OrderStatus.PROCESSING] == 3
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 7
    assert not held.has_begun_more()


@pytest.mark.parametrize(
    ("processors", "order_seconds", "ahead"),
    [(4, 1.0, 0), (4, 60.0, 0), (64, 1.0, 1), (1, 0.01, 1), (2, 0.01, 2), (8, 0.01, 8), (2, 0.001, 20), (2, 0.0, 256)],
)
def test_the_quicker_the_handler_the_more_orders_are_assigned_ahead(
    processors: int, order_seconds: float, ahead: int
) -> None:
    assert assigned_ahead(processors, order_seconds) == ahead


def test_a_slow_order_does_not_hold_up_the_others(start_engine: StartEngine, held: Held) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "slow":
            held(order)

    engine = start_engine(handle, processors=2)
    engine.submit(make_order("slow"))
    held.begun()

    receipts = engine.submit_many(make_order(f"o-{number}") for number in range(300))

    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.status("slow") is OrderStatus.PROCESSING


class Slowable:
    """A handler that is quick but for some orders, which it holds until it is released."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.slow: frozenset[str] = frozenset()

    def __call__(self, order: Order) -> None:
        if order.order_id in self.slow:
            self._held(order)


def warm_up(engine: OrderEngine) -> None:
    """Have the engine learn that its handler is quick, so that it claims ahead."""
    engine.submit_many(make_order(f"warm-{number}") for number in range(200))
    engine.drain(timeout=60)


def test_the_recorder_is_told_of_room_only_where_it_knows_of_much_less(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(lambda _: None, processors=2)
    warm_up(engine)
    told: list[ClaimOrders] = []
    want = Dispatcher.want

    def note(dispatcher: Dispatcher, message: ClaimOrders) -> None:
        told.append(message)
        want(dispatcher, message)

    monkeypatch.setattr(Dispatcher, "want", note)
    for number in range(40):
        engine.submit(make_order(f"o-{number}")).wait(timeout=60)

    assert len(told) < 20


def test_what_was_claimed_behind_a_slow_order_goes_to_whoever_is_idle(start_engine: StartEngine, held: Held) -> None:
    handler = Slowable(held)
    engine = start_engine(handler, processors=2)
    warm_up(engine)
    handler.slow = frozenset({"o-0"})

    receipts = engine.submit_many(make_order(f"o-{number}") for number in range(100))

    assert held.begun() == "o-0"
    assert {receipt.wait(timeout=60) for receipt in receipts[1:]} == {OrderStatus.COMPLETED}
    assert {engine.order(f"o-{number}").attempts for number in range(100)} == {1}


def test_an_order_is_begun_beside_a_slow_one_though_the_clock_stands_still(
    start_engine: StartEngine, held: Held, clock: WatchedClock
) -> None:
    handler = Slowable(held)
    engine = start_engine(handler, processors=2, clock=clock)
    warm_up(engine)
    handler.slow = frozenset({"slow"})
    engine.submit(make_order("slow"))
    held.begun()

    engine.submit(make_order("quick"))

    assert engine.wait("quick", timeout=60) is OrderStatus.COMPLETED


def test_what_was_claimed_and_finds_nobody_idle_goes_back_at_no_cost(
    start_engine: StartEngine, held: Held, assert_sound: Callable[[], None]
) -> None:
    handler = Slowable(held)
    engine = start_engine(handler, processors=2, max_attempts=1)
    warm_up(engine)
    handler.slow = frozenset({"o-0", "o-1"})
    engine.submit_many(make_order(f"o-{number}") for number in range(50))
    assert {held.begun(), held.begun()} == {"o-0", "o-1"}

    while engine.metrics().orders_by_status[OrderStatus.PROCESSING] > 2:
        assert engine.unready_reasons() == ()

    returned = [record for record in engine.orders(status=OrderStatus.PENDING) if record.attempts]
    assert returned
    assert {record.failures for record in returned} == {0}
    assert engine.history(returned[0].order_id)[-1].reason == "no processor was free in time"
    held.release()
    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 250
    engine.stop()
    assert_sound()


def test_what_went_back_is_handled_in_its_old_sequence(start_engine: StartEngine, held: Held) -> None:
    handled: list[str] = []
    slow = Slowable(held)

    def handle(order: Order) -> None:
        slow(order)
        handled.append(order.order_id)

    engine = start_engine(handle, processors=1, window=20)
    warm_up(engine)
    handled.clear()
    slow.slow = frozenset({"o-0"})
    engine.submit_many(make_order(f"o-{number}") for number in range(300))
    held.begun()
    while engine.metrics().orders_by_status[OrderStatus.PROCESSING] > 1:
        assert engine.unready_reasons() == ()
    held.release()
    engine.drain(timeout=60)

    assert handled == [f"o-{number}" for number in range(300)]


def test_what_goes_back_is_not_overtaken_while_that_is_recorded(
    start_engine: StartEngine,
    held: Held,
    clock: WatchedClock,
    ledger: HeldLedger,
    event_after: Callable[[type, str], threading.Event],
) -> None:
    handled: list[str] = []
    slow = Slowable(held)

    def handle(order: Order) -> None:
        slow(order)
        handled.append(order.order_id)

    engine = start_engine(handle, processors=1, clock=clock)
    warm_up(engine)
    handled.clear()
    slow.slow = frozenset({"o-0"})
    engine.submit_many(make_order(f"o-{number}") for number in range(300))  # more than are claimed ahead
    held.begun()
    ledger.hold(lambda _, moves: any(step.after.status is OrderStatus.PENDING for step in moves))
    is_idle = event_after(Roster, "note_idle")
    clock.advance(0.1)
    ledger.wait_until_held()
    held.release()
    assert is_idle.wait(60)
    ledger.release()
    engine.drain(timeout=60)

    assert handled == [f"o-{number}" for number in range(300)]


@pytest.fixture
def claimed(start_engine: StartEngine, held: Held, clock: WatchedClock) -> OrderEngine:
    """An engine whose processor is held, with orders that are claimed behind it, and a clock that stands still."""
    handler = Slowable(held)
    engine = start_engine(handler, processors=1, clock=clock, stop_seconds=0)
    warm_up(engine)
    handler.slow = frozenset({"o-0"})
    engine.submit_many(make_order(f"o-{number}") for number in range(5))
    held.begun()
    return engine


def test_an_order_that_a_processor_is_about_to_begin_stays_with_it_however_long_that_takes(
    start_engine: StartEngine,
    clock: WatchedClock,
    let_record: Callable[[OrderEngine], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_run, comes = threading.Event(), threading.Event()
    receive = ProcessorActor.receive

    def receive_late(self: ProcessorActor, message: Any) -> None:
        if isinstance(message, ProcessOrders):
            comes.set()
            assert may_run.wait(60)  # as on a machine that is busy with something else
        receive(self, message)

    monkeypatch.setattr(ProcessorActor, "receive", receive_late)
    engine = start_engine(clock=clock, processors=1)
    try:
        engine.submit(make_order("o-1"))
        assert comes.wait(60)
        engine.submit(make_order("o-2"))
        clock.advance(1)
        let_record(engine)
        let_record(engine)
    finally:
        may_run.set()

    engine.drain(timeout=60)
    assert [engine.order(order_id).attempts for order_id in ("o-1", "o-2")] == [1, 1]


def test_slow_handlers_that_began_together_have_nothing_claimed_ahead_until_they_are_about_to_end(
    start_engine: StartEngine, clock: WatchedClock, let_record: Callable[[OrderEngine], None]
) -> None:
    rounds = [threading.Barrier(13) for _ in range(3)]
    begun = threading.Barrier(13)

    def handle(order: Order) -> None:
        begun.wait(timeout=60)
        rounds[int(order.order_id) // 12].wait(timeout=60)

    engine = start_engine(handle, processors=12, clock=clock, stop_seconds=10)
    engine.submit_many(make_order(str(number)) for number in range(36))
    for number in range(3):
        begun.wait(timeout=60)
        let_record(engine)  # of an order that was claimed ahead, the one before it may still have to be recorded
        assert engine.metrics().orders_by_status[OrderStatus.PROCESSING] == 12
        clock.advance(0.2)
        rounds[number].wait(timeout=60)

    engine.drain(timeout=60)
    assert {record.attempts for record in engine.orders()} == {1}


def test_an_order_that_is_claimed_and_not_begun_can_be_cancelled(
    claimed: OrderEngine, held: Held, assert_sound: Callable[[], None]
) -> None:
    assert claimed.status("o-3") is OrderStatus.PROCESSING

    assert claimed.cancel("o-3").status is OrderStatus.CANCELLED

    assert [(step.to_status, step.reason) for step in claimed.history("o-3")[2:]] == [
        (OrderStatus.PENDING, "it was not begun yet"),
        (OrderStatus.CANCELLED, "cancelled before work began"),
    ]
    held.release()
    assert claimed.drain(timeout=60).orders_by_status[OrderStatus.CANCELLED] == 1
    assert claimed.order("o-4").status is OrderStatus.COMPLETED
    claimed.stop()
    assert_sound()


def test_an_order_that_is_begun_cannot_be_cancelled(claimed: OrderEngine) -> None:
    with pytest.raises(TransitionRefused, match="Processing"):
        claimed.cancel("o-0")


def test_of_several_who_cancel_an_order_one_does(claimed: OrderEngine) -> None:
    replies = [claimed.begin_cancel("o-3") for _ in range(5)]
    outcomes = []
    for reply in replies:
        try:
            outcomes.append(reply.get(timeout=60).status)
        except TransitionRefused:
            outcomes.append(None)

    assert outcomes.count(OrderStatus.CANCELLED) == 1
    assert outcomes.count(None) == 4


def test_a_cancellation_that_fails_leaves_the_order_to_be_handled(
    claimed: OrderEngine, held: Held, ledger: HeldLedger
) -> None:
    def is_cancellation(_: object, moves: Sequence[Move]) -> bool:
        return any(step.after.status is OrderStatus.CANCELLED for step in moves)

    ledger.fail_once(StoreUnavailable(OSError("disk full")), is_cancellation)

    with pytest.raises(StoreUnavailable):
        claimed.cancel("o-3")

    held.release()
    assert claimed.wait("o-3", timeout=60) is OrderStatus.COMPLETED


def test_a_cancellation_is_answered_although_nobody_was_told_that_its_order_came_back(
    claimed: OrderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Ledger.record
    errors = [RuntimeError("unexpected, after the commit")]

    def record_and_deny(self: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
        recorded = record(self, orders, moves, *more)
        if errors and any(step.after.status is OrderStatus.PENDING for step in moves):
            raise errors.pop()
        return recorded

    monkeypatch.setattr(Ledger, "record", record_and_deny)

    assert claimed.begin_cancel("o-3").get(timeout=60).status is OrderStatus.CANCELLED
    assert not errors


def test_a_stop_returns_what_is_claimed_and_not_begun(
    claimed: OrderEngine, start_engine: StartEngine, clock: WatchedClock
) -> None:
    claimed.stop()

    engine = start_engine(clock=clock)
    engine.drain(timeout=60)
    assert [engine.order(f"o-{number}").failures for number in range(5)] == [0] * 5
    assert engine.history("o-0")[2].reason == "the engine stopped before the handler returned"
    assert engine.history("o-4")[2].reason == "the engine stopped before it was begun"
