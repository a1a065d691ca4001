"""OrderEngine: the embedding interface as a whole, from start to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peewee import OperationalError

from ordermill.engine import (
    EngineStopped,
    InvalidArgument,
    InvalidConfiguration,
    Order,
    OrderConflict,
    OrderEngine,
    OrdermillError,
    OrderNotFound,
    OrderStatus,
    Outcome,
    Reject,
    StoreUnavailable,
    TransitionRefused,
)
from ordermill.engine.actors.pool import PoolActor
from ordermill.engine.actors.waiters import Waiters
from ordermill.engine.requests import AwaitOrder
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store import queries

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]


def test_the_example_of_the_contract_works(database: Path) -> None:
    charged: list[Order] = []

    def charge(order: Order) -> None:
        charged.append(order)

    with OrderEngine(str(database), handler=charge, processors=8) as engine:
        order = Order(order_id="o-1", user_id="u-1", item_ids=("sku-1",), total_amount=Decimal("19.99"))
        receipt = engine.submit(order)
        assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
        receipts = engine.submit_many(make_order(f"more-{i}") for i in range(20))
        assert [receipt.wait(timeout=60) for receipt in receipts] == [OrderStatus.COMPLETED] * 20
        assert engine.status("o-1") is OrderStatus.COMPLETED
        assert [step.to_status.value for step in engine.history("o-1")] == ["Pending", "Processing", "Completed"]
        metrics = engine.drain(timeout=60)

    assert charged[0] == order
    assert metrics.total_orders_processed == len(charged) == 21


@pytest.mark.parametrize("form", [str, Path, lambda path: f"sqlite:///{path}"], ids=["text", "path", "URL"])
@pytest.mark.sqlite
def test_a_database_is_named_by_path_or_url(database: Path, form: Callable[[Path], Any]) -> None:
    with OrderEngine(form(database), handler=lambda _: None) as engine:
        engine.submit(make_order()).wait(timeout=60)

    assert engine.path == database
    assert database.exists()


@pytest.mark.parametrize(
    "address", [":memory:", "", "mysql://localhost/orders", "mariadb://u:p@host/orders", "sqlite://"]
)
def test_an_address_that_is_no_file_is_refused(address: str) -> None:
    with pytest.raises(InvalidConfiguration):
        OrderEngine(address)


@pytest.mark.parametrize(
    "options", [{"processors": 0}, {"threads": 8}, {"durability": "none"}, {"handler": "charge"}], ids=str
)
@pytest.mark.sqlite
def test_wrong_options_are_refused_before_anything_starts(database: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration):
        OrderEngine(database, **options)

    assert not database.exists()


def test_without_a_handler_work_is_simulated_and_said_to_be(database: Path) -> None:
    with OrderEngine(database, simulate_seconds=0) as engine:
        assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
        assert engine.metrics().simulated
        (warning,) = engine.warnings()
        assert "no handler is given" in warning


def test_with_a_handler_nothing_is_said_of_simulating(start_engine: StartEngine) -> None:
    engine = start_engine()

    assert not engine.metrics().simulated
    assert engine.warnings() == ()


def test_an_order_is_told_as_it_was_submitted_and_where_it_is(start_engine: StartEngine, clock: ManualClock) -> None:
    engine = start_engine(clock=clock)
    order = make_order(item_ids=("b", "a", "b"), total_amount=Decimal("0.01"))

    engine.submit(order).wait(timeout=60)
    record = engine.order("o-1")

    assert record.order == order
    assert (record.status, record.attempts, record.failures) == (OrderStatus.COMPLETED, 1, 0)
    assert record.created_us == record.updated_us == clock.now_us()


def test_the_same_order_from_a_hundred_threads_is_stored_and_handled_once(
    start_engine: StartEngine, assert_sound: Callable[[], None]
) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id))
    ready = threading.Barrier(100)

    def submit(_: int) -> Outcome:
        ready.wait(timeout=60)
        receipt = engine.submit(make_order())
        assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
        return receipt.outcome

    with ThreadPoolExecutor(100) as threads:
        outcomes = list(threads.map(submit, range(100)))

    assert sorted(outcomes) == [Outcome.ACCEPTED] + [Outcome.DUPLICATE] * 99
    assert handled == ["o-1"]
    assert engine.drain(timeout=60).total_orders_processed == 1
    engine.stop()
    assert_sound()


def test_an_order_that_was_handled_before_is_not_handled_again(start_engine: StartEngine) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id))
    engine.submit(make_order()).wait(timeout=60)

    again = engine.submit(make_order())

    assert (again.outcome, again.record.status) == (Outcome.DUPLICATE, OrderStatus.COMPLETED)
    assert again.wait(timeout=60) is OrderStatus.COMPLETED
    engine.drain(timeout=60)
    assert handled == ["o-1"]


def test_an_order_whose_id_is_taken_is_a_conflict(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order())

    with pytest.raises(OrderConflict, match="'o-1'"):
        engine.submit(make_order(user_id="somebody else"[:8]))

    assert engine.order("o-1").order == make_order()


def test_a_conflict_does_not_keep_the_others_of_a_submission_out(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order("b"))

    receipts = engine.submit_many([make_order("a"), make_order("b", user_id="u-2"), make_order("a"), make_order("c")])

    assert [(receipt.order_id, receipt.outcome.value) for receipt in receipts] == [
        ("a", "accepted"),
        ("b", "conflict"),
        ("a", "duplicate"),
        ("c", "accepted"),
    ]
    with pytest.raises(OrderConflict, match="'b'"):
        receipts[1].wait(timeout=60)
    assert engine.drain(timeout=60).total_orders_processed == 3


def test_a_submission_of_nothing_is_nothing(start_engine: StartEngine) -> None:
    engine = start_engine()

    assert engine.submit_many([]) == []
    assert engine.metrics().backlog == 0


def test_a_pending_order_is_cancelled_and_never_handled(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    assert held.begun() == "first"
    receipt = engine.submit(make_order("second"))

    record = engine.cancel("second")

    assert record.status is OrderStatus.CANCELLED
    assert record == engine.order("second")
    assert receipt.wait(timeout=60) is OrderStatus.CANCELLED
    assert engine.history("second")[-1].reason == "cancelled before work began"
    held.release()
    metrics = engine.drain(timeout=60)
    assert (metrics.orders_by_status[OrderStatus.CANCELLED], metrics.total_orders_processed) == (1, 1)
    assert not held.has_begun_more()


def test_an_order_in_hand_or_done_is_not_cancelled(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    receipt = engine.submit(make_order())
    held.begun()

    with pytest.raises(TransitionRefused, match="is Processing"):
        engine.cancel("o-1")
    held.release()
    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    with pytest.raises(TransitionRefused, match="is Completed"):
        engine.cancel("o-1")


def test_a_failed_order_that_is_retried_gets_all_of_its_attempts_anew(start_engine: StartEngine) -> None:
    attempts: list[str] = []

    def fail(order: Order) -> None:
        attempts.append(order.order_id)
        raise ConnectionError("no answer")

    engine = start_engine(fail, max_attempts=2, retry_seconds=0)
    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    retried = engine.retry("o-1")
    assert (retried.status, retried.attempts, retried.failures) == (OrderStatus.PENDING, 2, 0)
    assert engine.wait("o-1", timeout=60) is OrderStatus.FAILED

    record = engine.order("o-1")
    assert (len(attempts), record.attempts, record.failures) == (4, 4, 2)
    assert [step.reason for step in engine.history("o-1")][-5:] == [
        "retried by an operator",
        "assigned to a processor",
        "ConnectionError: no answer; tried again in 0.0 s",
        "assigned to a processor",
        "ConnectionError: no answer; failed attempt 2 of 2",
    ]


def test_a_failed_order_that_is_retried_may_be_completed(start_engine: StartEngine) -> None:
    answers: list[Exception] = [Reject("the card was declined")]

    def handler(_: Order) -> None:
        if answers:
            raise answers.pop()

    engine = start_engine(handler)
    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED
    engine.retry("o-1")

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_an_order_that_waits_for_its_next_attempt_is_hurried_by_a_retry(
    start_engine: StartEngine, clock: ManualClock, assert_sound: Callable[[], None]
) -> None:
    answers: list[Exception] = [ConnectionError("no answer"), ConnectionError("no answer")]

    def handler(_: Order) -> None:
        if answers:
            raise answers.pop()

    engine = start_engine(handler, clock=clock, retry_seconds=3_600, retry_max_seconds=3_600, max_attempts=2)
    engine.submit(make_order())
    for attempt in (1, 2):  # were what failed before counted, the second would be the last one
        while (waiting := engine.order("o-1")).attempts < attempt or waiting.status is OrderStatus.PROCESSING:
            pass
        assert (waiting.status, waiting.failures) == (OrderStatus.PENDING, 1)
        assert waiting.last_error == "ConnectionError: no answer"
        assert waiting.ready_us is not None
        assert waiting.ready_us >= clock.now_us() + 1_800_000_000

        hurried = engine.retry("o-1", "the provider is back")

        assert (hurried.status, hurried.failures) == (OrderStatus.PENDING, 0)
        assert hurried.ready_us == clock.now_us()

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    steps = [(step.from_status, step.to_status, step.reason) for step in engine.history("o-1")]
    assert steps.count((OrderStatus.PENDING, OrderStatus.PENDING, "the provider is back")) == 2
    assert engine.drain(timeout=60).backlog == 0
    engine.stop()
    assert_sound()


def test_an_order_that_is_ready_is_not_hurried(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("in-hand"), make_order("waiting")])
    held.begun()

    with pytest.raises(TransitionRefused, match=r"Order 'waiting' is Pending already\."):
        engine.retry("waiting")


def test_whoever_moves_an_order_may_say_why(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("in-hand"), make_order("waiting")])
    held.begun()

    engine.cancel("waiting", reason="ordered twice")

    assert engine.history("waiting")[-1].reason == "ordered twice"


@pytest.mark.parametrize("reason", ["", "x" * 501, "a\nb", 5])
def test_a_reason_that_nobody_could_read_is_refused(start_engine: StartEngine, reason: Any) -> None:
    engine = start_engine()
    moves: list[Callable[[], object]] = [
        lambda: engine.cancel("o-1", reason),
        lambda: engine.retry("o-1", reason),
        lambda: engine.settle("o-1", OrderStatus.FAILED, reason),
    ]
    for move in moves:
        with pytest.raises(InvalidArgument, match="The reason must be a string of 1 to 500 characters"):
            move()


def test_only_failed_and_reviewed_orders_are_retried(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("in-hand"), make_order("waiting"), make_order("gone")])
    held.begun()
    engine.cancel("gone")

    for order_id, status in (("in-hand", "Processing"), ("waiting", "Pending"), ("gone", "Cancelled")):
        with pytest.raises(TransitionRefused, match=f"is {status}"):
            engine.retry(order_id)


@pytest.mark.parametrize("status", [OrderStatus.COMPLETED, OrderStatus.FAILED])
def test_a_review_is_settled_by_an_operator(
    start_engine: StartEngine,
    leave_in_hand: Callable[..., object],
    assert_sound: Callable[[], None],
    status: OrderStatus,
) -> None:
    leave_in_hand("o-1")
    engine = start_engine(on_interrupted="review")
    assert engine.status("o-1") is OrderStatus.REVIEW

    record = engine.settle("o-1", status, "looked it up")

    assert record.status is engine.wait("o-1", timeout=60) is status
    assert engine.history("o-1")[-1].reason == "looked it up"
    engine.stop()
    assert_sound()


def test_a_review_may_be_retried(start_engine: StartEngine, leave_in_hand: Callable[..., object]) -> None:
    leave_in_hand("o-1")
    engine = start_engine(on_interrupted="review")

    engine.retry("o-1")

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_only_a_review_is_settled_and_only_as_completed_or_failed(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)

    with pytest.raises(TransitionRefused, match="is Completed"):
        engine.settle("o-1", OrderStatus.FAILED)
    with pytest.raises(InvalidArgument, match="must be one of Completed, Failed; 'Pending' is not"):
        engine.settle("o-1", OrderStatus.PENDING)


CALLS: dict[str, Callable[[OrderEngine], object]] = {
    "order": lambda engine: engine.order("none"),
    "status": lambda engine: engine.status("none"),
    "history": lambda engine: engine.history("none"),
    "wait": lambda engine: engine.wait("none", timeout=60),
    "cancel": lambda engine: engine.cancel("none"),
    "retry": lambda engine: engine.retry("none"),
    "settle": lambda engine: engine.settle("none", OrderStatus.FAILED),
}
MORE_CALLS: dict[str, Callable[[OrderEngine], object]] = {
    "submit": lambda engine: engine.submit(make_order()),
    "submit_many": lambda engine: engine.submit_many([make_order()]),
    "orders": lambda engine: engine.orders(),
    "metrics": lambda engine: engine.metrics(),
    "drain": lambda engine: engine.drain(timeout=60),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_order_that_does_not_exist_is_named(
    start_engine: StartEngine, call: Callable[[OrderEngine], object]
) -> None:
    with pytest.raises(OrderNotFound, match="'none'"):
        call(start_engine())


@pytest.mark.parametrize("call", (CALLS | MORE_CALLS).values(), ids=CALLS | MORE_CALLS)
def test_an_engine_that_does_not_run_says_so(database: Path, call: Callable[[OrderEngine], object]) -> None:
    engine = OrderEngine(database)
    with pytest.raises(EngineStopped):
        call(engine)
    with engine:
        pass
    with pytest.raises(EngineStopped):
        call(engine)
    assert engine.unready_reasons() == ("the engine is stopped",)
    engine.interrupt_waits()


def test_orders_are_listed_newest_first_in_pages(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit_many(make_order(f"o-{i}", user_id=f"u-{i % 2}") for i in range(7))
    engine.drain(timeout=60)

    first = engine.orders(limit=4)
    second = engine.orders(limit=4, before=first[-1].sequence)

    assert [record.order_id for record in first + second] == [f"o-{i}" for i in reversed(range(7))]
    assert [record.order_id for record in engine.orders(user_id="u-1")] == ["o-5", "o-3", "o-1"]
    assert len(engine.orders(status=OrderStatus.COMPLETED)) == 7
    assert engine.orders(status=OrderStatus.PENDING) == []


def test_a_wait_ends_when_its_time_is_over(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    receipt = engine.submit(make_order())
    held.begun()

    with pytest.raises(TimeoutError, match="'o-1' is still Processing"):
        receipt.wait(timeout=0.01)
    with pytest.raises(TimeoutError):
        engine.wait("o-1", timeout=0)
    held.release()

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert receipt.wait(timeout=0) is OrderStatus.COMPLETED


def test_many_threads_may_wait_for_one_order(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    receipt = engine.submit(make_order())

    with ThreadPoolExecutor(50) as threads:
        waiting = [threads.submit(receipt.wait, 10) for _ in range(50)]
        held.begun()
        held.release()
        assert {future.result(timeout=60) for future in waiting} == {OrderStatus.COMPLETED}


def test_a_wait_ends_when_the_engine_stops(start_engine: StartEngine, held: Held, clock: ManualClock) -> None:
    engine = start_engine(held, clock=clock, processors=1, stop_seconds=0)
    engine.submit(make_order("in-hand"))
    waiting = engine.submit(make_order("waiting"))
    held.begun()

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(waiting.wait)
        engine.stop()
        with pytest.raises(EngineStopped):
            future.result(timeout=60)


def test_a_wait_that_a_stop_overtakes_is_told_so(start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    leave = Waiters.leave

    def stop_first(room: Waiters, request: AwaitOrder) -> bool:
        was_waiting = leave(room, request)
        engine.stop()
        return was_waiting

    monkeypatch.setattr(Waiters, "leave", stop_first)

    with pytest.raises(EngineStopped):
        engine.wait("o-1")


def test_whatever_is_asked_while_an_engine_stops_is_answered(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    outcomes: list[object] = []

    def ask(call: Callable[[], object]) -> None:
        while True:
            try:
                call()
            except EngineStopped:
                return
            except OrdermillError:
                pass  # it is Completed, and is not cancelled

    calls: list[Callable[[], object]] = [
        lambda: engine.wait("o-1"),
        lambda: engine.drain(),
        lambda: engine.metrics(),
        lambda: engine.submit(make_order("o-2")),
        lambda: engine.cancel("o-1"),
        lambda: engine.retry("o-1"),
        lambda: engine.settle("o-1", "Failed"),
        lambda: engine.begin_wait("o-1").get(),
        lambda: engine.history("o-1"),
    ]
    with ThreadPoolExecutor(len(calls)) as threads:
        asked = [threads.submit(ask, call) for call in calls]
        engine.submit(make_order("o-3")).wait(timeout=60)
        engine.stop()
        outcomes = [future.result(timeout=60) for future in asked]

    assert outcomes == [None] * len(calls)


def test_who_drains_again_and_again_leaves_nothing_behind(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    engine.submit(make_order())
    for _ in range(20):
        with pytest.raises(TimeoutError):
            engine.drain(timeout=0)

    assert engine._life.running is not None
    metrics_actor: Any = engine._life.running.context.metrics
    assert len(metrics_actor._actor_weakref()._draining) == 1


def test_a_door_that_closes_ends_all_waits_while_the_engine_runs_on(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    receipt = engine.submit(make_order())
    held.begun()

    engine.interrupt_waits()

    with pytest.raises(EngineStopped):
        receipt.wait(timeout=60)
    held.release()
    engine.drain(timeout=60)
    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED


def test_a_drain_of_nothing_returns_at_once(start_engine: StartEngine) -> None:
    assert start_engine().drain(timeout=60).backlog == 0


def test_a_drain_waits_for_the_last_order(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    engine.submit_many(make_order(f"o-{i}") for i in range(30))

    with pytest.raises(TimeoutError, match="30 orders are unfinished"):
        engine.drain(timeout=0.01)
    with ThreadPoolExecutor(3) as threads:
        draining = [threads.submit(engine.drain, 10) for _ in range(3)]
        held.release()
        assert [future.result(timeout=60).total_orders_processed for future in draining] == [30] * 3


def test_a_drain_ends_when_the_engine_stops(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, stop_seconds=0)
    engine.submit_many([make_order("in-hand"), make_order("waiting")])
    held.begun()

    with ThreadPoolExecutor(1) as threads:
        draining = threads.submit(engine.drain)
        engine.stop()
        with pytest.raises(EngineStopped):
            draining.result(timeout=60)
    held.release()


def test_a_drain_does_not_wait_for_reviews(start_engine: StartEngine, leave_in_hand: Callable[..., object]) -> None:
    leave_in_hand("o-1")

    metrics = start_engine(on_interrupted="review").drain(timeout=60)

    assert metrics.orders_by_status[OrderStatus.REVIEW] == 1


def test_a_stop_waits_for_the_order_in_hand(
    start_engine: StartEngine, held: Held, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("in-hand"), make_order("waiting")])
    assert held.begun() == "in-hand"

    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(engine.stop)
        with pytest.raises(TimeoutError):
            stopping.result(timeout=0.05)
        held.release()
        stopping.result(timeout=60)

    assert_sound()
    engine.start()
    assert engine.recovered == type(engine.recovered)()
    assert engine.status("in-hand") is OrderStatus.COMPLETED
    assert engine.wait("waiting", timeout=60) is OrderStatus.COMPLETED
    assert engine.order("waiting").attempts == 1


def test_a_stop_without_patience_returns_the_order_in_hand(
    start_engine: StartEngine, held: Held, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(held, processors=1, stop_seconds=0)
    engine.submit(make_order())
    held.begun()

    engine.stop()
    assert_sound()
    held.release()
    with OrderEngine(engine.address, handler=lambda _: None) as successor:
        assert successor.recovered.returned == 0
        assert successor.wait("o-1", timeout=60) is OrderStatus.COMPLETED
        record, history = successor.order("o-1"), successor.history("o-1")

    assert (record.attempts, record.failures) == (2, 0)
    assert [(step.to_status.value, step.attempt) for step in history] == [
        ("Pending", 0),
        ("Processing", 1),
        ("Pending", 1),
        ("Processing", 2),
        ("Completed", 2),
    ]
    assert history[2].reason == "the engine stopped before the handler returned"
    assert_sound()


def test_a_late_result_of_an_order_that_a_stop_returned_is_not_recorded(
    start_engine: StartEngine, held: Held, database: Path
) -> None:
    def fail_late(order: Order) -> None:
        held(order)
        raise Reject("too late")

    engine = start_engine(fail_late, processors=1, stop_seconds=0)
    engine.submit(make_order())
    held.begun()
    engine.stop()
    second = type(held)()
    with OrderEngine(database, handler=second) as successor:
        second.begun()
        held.release()
        assert successor.status("o-1") is OrderStatus.PROCESSING
        second.release()
        assert successor.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_a_stop_without_patience_returns_what_was_about_to_be_assigned(
    start_engine: StartEngine,
    ledger: HeldLedger,
    event_after: Callable[[type, str], threading.Event],
    assert_sound: Callable[[], None],
) -> None:
    abandoned = event_after(PoolActor, "_abandon")
    ledger.hold(lambda orders, _: bool(orders))
    engine = start_engine(stop_seconds=0)
    engine.begin_submit([make_order()])
    ledger.wait_until_held()

    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(engine.stop)
        assert abandoned.wait(60)
        ledger.release()
        stopping.result(timeout=60)

    assert_sound()
    engine.start()
    assert engine.recovered.returned == 0
    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert engine.order("o-1").failures == 0


def test_a_stop_returns_orders_that_were_assigned_but_not_begun(
    start_engine: StartEngine,
    event_after: Callable[[type, str], threading.Event],
    assert_sound: Callable[[], None],
) -> None:
    begun, go = threading.Event(), threading.Event()
    winding_down = event_after(PoolActor, "_wind_down")

    def quick_until_the_hundredth(order: Order) -> None:
        if order.order_id == "o-100":
            begun.set()
            assert go.wait(60)

    engine = start_engine(quick_until_the_hundredth, processors=1)
    engine.submit_many(make_order(f"o-{i}") for i in range(500))
    assert begun.wait(60)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(engine.stop)
        assert winding_down.wait(60)
        go.set()
        stopping.result(timeout=60)

    assert_sound()
    engine.start()
    assert engine.recovered == type(engine.recovered)()
    assert engine.drain(timeout=60).total_orders_processed == 500
    assert {record.failures for record in engine.orders(limit=500)} == {0}
    engine.stop()
    assert_sound()


def test_an_engine_starts_and_stops_more_than_once(database: Path) -> None:
    engine = OrderEngine(database, handler=lambda _: None)
    for number in range(3):
        engine.start()
        engine.start()
        engine.submit(make_order(f"o-{number}")).wait(timeout=60)
        assert engine.metrics().total_orders_processed == number + 1
        engine.stop()
        engine.stop()


def test_an_engine_may_be_stopped_from_several_other_threads(database: Path) -> None:
    engine = OrderEngine(database, handler=lambda _: None)
    engine.start()
    engine.submit(make_order())

    with ThreadPoolExecutor(4) as threads:
        for stopping in [threads.submit(engine.stop) for _ in range(4)]:
            stopping.result(timeout=60)

    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_submissions_during_a_stop_are_stored_or_refused_and_never_lost(database: Path) -> None:
    engine = OrderEngine(database, handler=lambda _: None)
    engine.start()
    first = threading.Barrier(5)

    def submit(worker: int) -> list[str]:
        accepted: list[str] = []
        while True:
            try:
                accepted.append(engine.submit(make_order(f"{worker}-{len(accepted)}")).order_id)
            except EngineStopped:
                return accepted
            if len(accepted) == 1:
                first.wait(timeout=60)

    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(submit, worker) for worker in range(4)]
        first.wait(timeout=60)
        engine.stop()
        acknowledged = {order_id for worker in workers for order_id in worker.result(timeout=60)}

    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.drain(timeout=30).total_orders_processed == len(acknowledged)
        assert {record.order_id for record in successor.orders(limit=10**6)} == acknowledged


def test_a_read_in_a_stop_gets_its_answer_or_is_told_of_the_stop(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    find = queries.find
    reading, go = threading.Event(), threading.Event()

    def find_slowly(database: Any, order_id: str) -> Any:
        reading.set()
        assert go.wait(60)
        return find(database, order_id)

    monkeypatch.setattr(queries, "find", find_slowly)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(engine.status, "o-1")
        assert reading.wait(60)
        engine.stop()
        go.set()
        error = future.exception(timeout=60)

    assert error is None or isinstance(error, EngineStopped)


def test_a_handler_may_use_the_engine(start_engine: StartEngine) -> None:
    engines: list[OrderEngine] = []

    def split(order: Order) -> None:
        assert engines[0].status(order.order_id) is OrderStatus.PROCESSING
        if order.order_id == "whole":
            engines[0].submit_many(make_order(f"part-{i}") for i in range(3))

    engines.append(start_engine(split, processors=1))
    engines[0].submit(make_order("whole")).wait(timeout=60)

    assert engines[0].drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 4


def test_a_handler_may_stop_its_engine(start_engine: StartEngine, database: Path) -> None:
    stopped = threading.Event()
    engines: list[OrderEngine] = []

    def stop(_: Order) -> None:
        engines[0].stop()
        stopped.set()

    engines.append(start_engine(stop, stop_seconds=0))
    engines[0].submit(make_order())

    assert stopped.wait(60)
    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_several_engines_live_in_one_process_and_know_nothing_of_each_other(tmp_path: Path) -> None:
    handled: dict[str, list[str]] = {name: [] for name in "abc"}

    def handler(name: str) -> Callable[[Order], None]:
        return lambda order: handled[name].append(order.order_id)

    engines = {name: OrderEngine(tmp_path / f"{name}.db", handler=handler(name)) for name in handled}
    for engine in engines.values():
        engine.start()
    for name, engine in engines.items():
        engine.submit_many(make_order(f"{name}-{i}") for i in range(20))
    engines["a"].stop()
    for name in "bc":
        assert engines[name].drain(timeout=60).total_orders_processed == 20
        assert sorted(handled[name]) == sorted(f"{name}-{i}" for i in range(20))
        engines[name].stop()


def test_an_engine_without_trouble_says_so(start_engine: StartEngine) -> None:
    engine = start_engine()

    assert (engine.unready_reasons(), engine.dead_actors()) == ((), ())


@pytest.mark.sqlite
def test_a_start_that_fails_leaves_nothing_behind(database: Path) -> None:
    database.write_text("no database at all, but long enough to be looked at\n" * 20)
    engine = OrderEngine(database, handler=lambda _: None)
    with pytest.raises(Exception, match="not a database"):
        engine.start()
    assert engine.unready_reasons() == ("the engine is not started",)

    database.unlink()

    with engine:
        assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED


def test_a_read_that_the_database_does_not_answer_is_an_error_of_ours(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine()

    def fail(*_: object) -> None:
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(queries, "find", fail)

    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        engine.status("o-1")
