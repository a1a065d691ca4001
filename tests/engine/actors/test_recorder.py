"""Group commit, and what becomes of everybody's messages when the database does not take them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pykka import Future, ThreadingFuture

from ordermill.engine import (
    Order,
    OrderEngine,
    OrderRecord,
    OrderStatus,
    Reject,
    Reply,
    StoreUnavailable,
    TransitionRefused,
)
from ordermill.engine.actors import base
from ordermill.engine.actors.pool import PoolActor
from ordermill.engine.actors.recorder import RecorderActor
from ordermill.engine.requests import CancelOrder, RetryOrder, SettleOrder, SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.outcome import Acceptance, Recorded
from ordermill.store.domain.record import Move
from ordermill.store.ledger import Ledger
from ordermill.store.queue import OrderQueue

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]
DISK_FULL = "The database failed (disk full): nothing was changed, try again."


def has_orders(orders: object, _: object) -> bool:
    return bool(orders)


def becomes(status: OrderStatus) -> Callable[[object, Any], bool]:
    return lambda _, moves: any(step.after.status is status for step in moves)


def recorder_of(engine: OrderEngine) -> Any:
    assert engine._life.running is not None
    return engine._life.running.context.recorder


def test_whatever_waits_goes_into_one_transaction(start_engine: StartEngine, held: Held, ledger: HeldLedger) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()
    ledger.hold(has_orders)
    replies: list[Future[list[Acceptance]]] = [ThreadingFuture() for _ in range(100)]
    recorder_of(engine).tell(SubmitOrders([make_order("second")], ThreadingFuture()))
    ledger.wait_until_held()
    for number, reply in enumerate(replies):
        recorder_of(engine).tell(SubmitOrders([make_order(f"o-{number}")], reply))
    ledger.release()

    answers = [reply.get(timeout=60) for reply in replies]

    assert [record.order_id for ((_, record),) in answers] == [f"o-{number}" for number in range(100)]
    assert ledger.transactions == [(1, 0), (100, 0)]


def test_what_has_come_from_a_server_is_read_by_the_recorder_and_goes_into_its_next_transaction(
    start_engine: StartEngine, held: Held, ledger: HeldLedger
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()
    replies: list[Reply[list[Acceptance]]] = [Reply() for _ in range(3)]
    threads: list[str] = []

    def read() -> bool:
        threads.append(threading.current_thread().name)
        order_id = near.recv(1).decode()
        engine.hand_in(SubmitOrders((make_order(order_id),), replies[int(order_id)]))
        return True

    near, far = socket.socketpair()
    with near, far:
        engine.attend(near, read)
        ledger.hold(has_orders)
        far.send(b"0")
        ledger.wait_until_held()
        far.send(b"1")
        recorder_of(engine).tell(SubmitOrders([make_order("2")], replies[2]))
        ledger.release()

        assert [reply.get(timeout=60)[0].record.order_id for reply in replies] == ["0", "1", "2"]
        assert ledger.transactions == [(1, 0), (2, 0)]
        assert {name.partition("-")[0] for name in threads} == {"RecorderActor"}
        engine.stop()


def put_off(engine: OrderEngine) -> list[str]:
    """The results that wait for new orders, by the orders' ids."""
    batch = recorder_of(engine)._actor_weakref()._batch
    return [step.after.order_id for message in [*batch] for step in [*getattr(message, "moves", ())]]


def test_a_result_shares_the_commit_of_the_next_order(
    start_engine: StartEngine,
    held: Held,
    ledger: HeldLedger,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 60)
    ledger.hold(lambda *_: False)
    engine = start_engine(held, processors=4)
    engine.submit(make_order("o-1"))
    held.begun()
    held.release()
    wait_until(lambda: put_off(engine) == ["o-1"])

    engine.submit(make_order("o-2"))

    assert ledger.transactions[-1] == (1, 1)
    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_a_result_that_somebody_waits_for_is_recorded_at_once(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 3600)
    engine = start_engine(held, processors=4)
    engine.submit(make_order("o-1"))
    held.begun()
    waiting = engine.begin_wait("o-1", 60)
    held.release()

    waiting.get(timeout=60)
    assert engine.status("o-1") is OrderStatus.COMPLETED


def test_a_result_that_was_put_off_is_recorded_once_somebody_waits_for_it(
    start_engine: StartEngine, held: Held, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 3600)
    engine = start_engine(held, processors=4)
    engine.submit(make_order("o-1"))
    held.begun()
    held.release()
    wait_until(lambda: put_off(engine) == ["o-1"])

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_a_result_for_whose_processor_an_order_waits_is_recorded_at_once(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_PUT_OFF_SECONDS", 3600)
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("o-1"), make_order("o-2")])
    first = held.begun()
    held.release()

    assert {first, held.begun()} == {"o-1", "o-2"}


def test_of_two_commands_in_one_transaction_the_first_wins(
    start_engine: StartEngine, ledger: HeldLedger, assert_sound: Callable[[], None]
) -> None:
    def reject(_: Order) -> None:
        raise Reject("no")

    engine = start_engine(reject)
    engine.submit(make_order()).wait(timeout=60)
    ledger.hold(has_orders)
    recorder_of(engine).tell(SubmitOrders([make_order("other")], ThreadingFuture()))
    ledger.wait_until_held()
    replies: list[Future[OrderRecord]] = [ThreadingFuture(), ThreadingFuture()]
    for reply in replies:
        recorder_of(engine).tell(RetryOrder("o-1", reply))
    ledger.release()

    assert replies[0].get(timeout=60).status is OrderStatus.PENDING
    with pytest.raises(TransitionRefused):
        replies[1].get(timeout=60)
    engine.drain(timeout=60)
    assert engine.order("o-1").attempts == 2
    engine.stop()
    assert_sound()


def test_a_cancellation_and_an_assignment_in_one_transaction_do_not_both_happen(
    start_engine: StartEngine,
    held: Held,
    ledger: HeldLedger,
    event_after: Callable[[type, str], threading.Event],
    assert_sound: Callable[[], None],
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()
    receipt = engine.submit(make_order("second"))
    ledger.hold(has_orders)
    recorder_of(engine).tell(SubmitOrders([make_order("third")], ThreadingFuture()))
    ledger.wait_until_held()
    assigned = event_after(PoolActor, "receive")
    held.release()
    assert assigned.wait(60)
    reply: Future[OrderRecord] = ThreadingFuture()
    recorder_of(engine).tell(CancelOrder("second", reply))
    ledger.release()

    assert reply.get(timeout=60).status is receipt.wait(timeout=60) is OrderStatus.CANCELLED
    assert engine.drain(timeout=60).total_orders_processed == 2
    assert held.begun() == "third"
    engine.stop()
    assert_sound()


def test_an_order_may_be_hurried_and_cancelled_in_one_transaction(
    start_engine: StartEngine, held: Held, ledger: HeldLedger, assert_sound: Callable[[], None]
) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "bad":
            raise ConnectionError("no answer")
        held(order)

    engine = start_engine(handle, processors=1, retry_seconds=60)
    engine.submit(make_order("bad"))
    engine.submit(make_order("in-hand"))
    held.begun()
    ledger.hold(has_orders)
    recorder_of(engine).tell(SubmitOrders([make_order("other")], ThreadingFuture()))
    ledger.wait_until_held()
    retried: Future[OrderRecord] = ThreadingFuture()
    cancelled: Future[OrderRecord] = ThreadingFuture()
    recorder_of(engine).tell(RetryOrder("bad", retried))
    recorder_of(engine).tell(CancelOrder("bad", cancelled))
    ledger.release()

    assert retried.get(timeout=60).failures == 0
    assert cancelled.get(timeout=60).status is OrderStatus.CANCELLED
    held.release()
    engine.drain(timeout=60)
    engine.stop()
    assert_sound()


def test_an_order_that_was_stored_although_that_failed_is_handled_when_a_processor_is_free(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Ledger.record
    errors = [MemoryError()]

    def store_and_deny(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
        stored = record(ledger, orders, moves, *more)
        if errors and orders:
            raise errors.pop()
        return stored

    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()
    monkeypatch.setattr(Ledger, "record", store_and_deny)
    receipt = engine.submit(make_order("second"))
    held.release()

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert not errors


def test_claims_that_fail_while_nobody_is_in_line_are_tried_now_and_then(
    start_engine: StartEngine, clock: WatchedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def fail(*_: object) -> None:
        tried.append(clock.now_us())
        raise ZeroDivisionError("unexpected")

    engine = start_engine(clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        with pytest.raises(ZeroDivisionError):
            engine.submit(make_order())
        engine.submit_many([])
        assert len(tried) <= 3  # together, and each alone

    receipt = engine.submit(make_order())
    clock.advance(0.5)
    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED


def test_a_submission_that_the_store_does_not_take_is_not_acknowledged(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock
) -> None:
    engine = start_engine(clock=clock)
    ledger.fail_once(StoreUnavailable(OSError("disk full")), has_orders)

    with pytest.raises(StoreUnavailable, match="disk full"):
        engine.submit(make_order())

    assert engine.orders() == []
    assert engine.metrics().backlog == 0
    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED


def test_trouble_with_the_store_is_told_until_it_takes_a_write(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock
) -> None:
    engine = start_engine(clock=clock)
    ledger.fail(StoreUnavailable(OSError("disk full")), lambda *_: True)
    with pytest.raises(StoreUnavailable):
        engine.submit(make_order())
    assert engine.unready_reasons() == (DISK_FULL,)

    ledger.release()
    engine.submit(make_order())

    assert engine.unready_reasons() == ()


def test_trouble_with_the_store_clears_although_nobody_submits(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock, wait_until: WaitUntil
) -> None:
    engine = start_engine(clock=clock)
    ledger.fail(StoreUnavailable(OSError("disk full")), lambda *_: True)
    with pytest.raises(StoreUnavailable):
        engine.submit(make_order())
    again_at = clock.next_call()
    assert engine.unready_reasons() == (DISK_FULL,)

    ledger.release()
    clock.advance_to(again_at)

    wait_until(lambda: engine.unready_reasons() == ())


def test_the_result_of_a_handler_outlives_a_write_that_failed(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock, assert_sound: Callable[[], None]
) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), clock=clock)
    ledger.fail(StoreUnavailable(OSError("disk full")), becomes(OrderStatus.COMPLETED))
    receipt = engine.submit(make_order())
    again_at = clock.next_call()
    assert engine.status("o-1") is OrderStatus.PROCESSING
    assert engine.unready_reasons() == (DISK_FULL,)

    ledger.release()
    clock.advance_to(again_at)

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.unready_reasons() == ()
    assert handled == ["o-1"]
    assert engine.order("o-1").attempts == 1
    engine.stop()
    assert_sound()


def test_the_result_of_a_handler_is_recorded_by_a_stop_at_the_latest(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(clock=clock)
    ledger.fail_once(StoreUnavailable(OSError("disk full")), becomes(OrderStatus.COMPLETED))
    engine.submit(make_order())
    clock.next_call()

    engine.stop()

    assert_sound()
    successor = start_engine()
    assert successor.status("o-1") is OrderStatus.COMPLETED
    assert successor.recovered.returned == 0


def test_an_assignment_that_the_store_does_not_take_is_made_later(
    start_engine: StartEngine,
    clock: WatchedClock,
    only_claims: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = Ledger.record
    is_full = threading.Event()
    is_full.set()

    def fail(*arguments: Any) -> Recorded:
        # Not the first time only: each processor that gets ready has the recorder try again.
        if is_full.is_set() and only_claims(*arguments):
            raise StoreUnavailable(OSError("disk full"))
        return record(*arguments)

    monkeypatch.setattr(Ledger, "record", fail)
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), clock=clock)
    receipt = engine.submit(make_order())
    later = clock.next_call()
    assert (engine.status("o-1"), handled) == (OrderStatus.PENDING, [])

    is_full.clear()
    clock.advance_to(later)

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert handled == ["o-1"]


@pytest.mark.parametrize("command", [OrderEngine.cancel, OrderEngine.retry], ids=["cancel", "retry"])
def test_a_command_that_the_store_does_not_take_changes_nothing(
    start_engine: StartEngine,
    leave_in_hand: Callable[..., object],
    held: Held,
    ledger: HeldLedger,
    clock: WatchedClock,
    command: Callable[[OrderEngine, str], OrderRecord],
) -> None:
    leave_in_hand("review")
    engine = start_engine(held, processors=1, on_interrupted="review", clock=clock)
    engine.submit(make_order("first"))
    held.begun()
    engine.submit(make_order("waiting"))
    order_id = "waiting" if command is OrderEngine.cancel else "review"
    before = engine.order(order_id)
    ledger.fail_once(StoreUnavailable(OSError("disk full")), lambda *_: True)

    with pytest.raises(StoreUnavailable, match="disk full"):
        command(engine, order_id)

    assert engine.order(order_id) == before
    assert command(engine, order_id).status is not before.status


def test_an_unexpected_error_of_the_ledger_spoils_nothing(
    start_engine: StartEngine, ledger: HeldLedger, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine()
    ledger.fail_once(ZeroDivisionError("unexpected"), has_orders)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED

    assert engine.metrics().incidents == 1
    engine.stop()
    assert_sound()


def test_what_cannot_be_recorded_does_not_keep_the_rest_of_its_transaction_out(
    start_engine: StartEngine, held: Held, ledger: HeldLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order("first"))
    held.begun()
    ledger.hold(has_orders)
    replies: dict[str, Future[list[Acceptance]]] = {name: ThreadingFuture() for name in ("a", "bad", "b")}
    recorder_of(engine).tell(SubmitOrders([make_order("second")], ThreadingFuture()))
    ledger.wait_until_held()
    bad = make_order("bad")
    for name, reply in replies.items():
        recorder_of(engine).tell(SubmitOrders([bad if name == "bad" else make_order(name)], reply))
    monkeypatch.setattr(Order, "total_cents", property(lambda order: -1 if order is bad else 1999))
    ledger.release()

    assert [replies[name].get(timeout=60)[0].outcome for name in ("a", "b")] == ["accepted", "accepted"]
    with pytest.raises(Exception, match="total_cents"):
        replies["bad"].get(timeout=60)
    assert engine.metrics().incidents == 1


def test_an_unexpected_error_reaches_the_caller_and_the_recorder_serves_on(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(max_backlog=1)
    record_all = RecorderActor._record_all

    def fail_with_orders(recorder: RecorderActor) -> None:
        if recorder._unsettled[0].orders:
            raise ZeroDivisionError("unexpected")
        record_all(recorder)

    with monkeypatch.context() as patch:
        patch.setattr(RecorderActor, "_record_all", fail_with_orders)
        with pytest.raises(ZeroDivisionError):
            engine.submit(make_order())

    assert engine.metrics().incidents == 1
    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED


UNREADABLE_ID = json.loads('"\\ud800"')


@pytest.mark.parametrize("order_id", [UNREADABLE_ID, 10**30, None, ["o-1"]], ids=ascii)
def test_a_command_that_makes_no_sense_keeps_nothing_of_its_batch_out(
    start_engine: StartEngine, ledger: HeldLedger, held: Held, assert_sound: Callable[[], None], order_id: Any
) -> None:
    engine = start_engine(held, processors=2, user_backlog=100)
    engine.submit_many([make_order("a"), make_order("b")])
    assert {held.begun(), held.begun()} == {"a", "b"}
    engine.submit_many(make_order(f"waiting-{number}") for number in range(4))
    ledger.hold(has_orders)
    recorder_of(engine).tell(SubmitOrders([make_order("holding")], ThreadingFuture()))
    ledger.wait_until_held()
    held.release()  # results and assignments are in the same batch as the command
    submitted: Future[list[Acceptance]] = ThreadingFuture()
    commanded: list[Future[OrderRecord]] = [ThreadingFuture() for _ in range(3)]
    for command, reply in zip((CancelOrder, RetryOrder), commanded, strict=False):
        recorder_of(engine).tell(command(order_id, reply))
    recorder_of(engine).tell(SettleOrder(order_id, OrderStatus.FAILED, commanded[2]))
    recorder_of(engine).tell(SubmitOrders([make_order("innocent")], submitted))
    ledger.release()

    assert submitted.get(timeout=60)[0].outcome == "accepted"
    for reply in commanded:
        with pytest.raises(Exception, match=r"surrogates|int|binding|supported|does not exist|There is no order"):
            reply.get(timeout=60)
    assert engine.drain(timeout=60).total_orders_processed == 8
    engine.stop()
    assert_sound()


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize(
    "step", ["recorder.log_transitions", "announcements.users_released", "maintenance.Maintenance.bound_log"]
)
def test_an_error_after_a_commit_is_not_taken_for_a_failed_commit(
    start_engine: StartEngine,
    monkeypatch: pytest.MonkeyPatch,
    assert_sound: Callable[[], None],
    step: str,
    error: BaseException,
) -> None:
    recorded: list[str] = []
    record = Ledger.record

    def record_and_note(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
        stored = record(ledger, orders, moves, *more)
        recorded.extend([*(order.order_id for order in orders), *(move.after.order_id for move in moves)])
        return stored

    def fail_always(*_: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(Ledger, "record", record_and_note)
    monkeypatch.setattr(f"ordermill.engine.actors.{step}", fail_always)
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), user_backlog=2)
    for number in range(5):
        engine.submit(make_order(f"o-{number}")).wait(timeout=60)

    metrics = engine.drain(timeout=60)

    assert handled == [f"o-{number}" for number in range(5)]
    assert sorted(recorded) == sorted(handled * 2)  # accepted and claimed in one transaction
    assert (metrics.total_orders_processed, metrics.backlog) == (5, 0)
    assert metrics.incidents
    engine.stop()
    assert_sound()


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.COMPLETED])
@pytest.mark.parametrize("is_stored", [False, True], ids=["nothing stored", "stored all the same"])
def test_whatever_the_ledger_raises_once_nothing_is_lost_and_nothing_done_twice(
    start_engine: StartEngine,
    monkeypatch: pytest.MonkeyPatch,
    only_claims: Callable[..., bool],
    assert_sound: Callable[[], None],
    error: BaseException,
    status: OrderStatus,
    is_stored: bool,
) -> None:
    record = Ledger.record
    errors = [error]

    def is_due(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> bool:
        match status:
            case OrderStatus.PENDING:
                return bool(orders)
            case OrderStatus.PROCESSING:
                return only_claims(ledger, orders, moves, *more)
            case _:
                return any(step.after.status is status for step in moves)

    def fail_once(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
        if errors and is_due(ledger, orders, moves, *more):
            if is_stored:
                record(ledger, orders, moves, *more)
            raise errors.pop()
        return record(ledger, orders, moves, *more)

    monkeypatch.setattr(Ledger, "record", fail_once)
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), max_backlog=3, user_backlog=3)
    for number in range(5):
        engine.submit(make_order(f"o-{number}")).wait(timeout=60)

    metrics = engine.drain(timeout=60)

    assert handled == [f"o-{number}" for number in range(5)]
    assert (metrics.total_orders_processed, metrics.backlog, metrics.incidents) == (5, 0, 1)
    engine.submit_many(make_order(f"more-{number}") for number in range(3))
    engine.drain(timeout=60)
    engine.stop()
    assert_sound()


def test_an_assignment_that_is_refused_for_a_bug_is_made_later(
    start_engine: StartEngine, only_claims: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Ledger.record
    errors = [MemoryError() for _ in range(9)]  # with others, with fewer, alone: and again after a while

    def fail(*arguments: Any) -> Recorded:
        if errors and only_claims(*arguments):
            raise errors.pop()
        return record(*arguments)

    monkeypatch.setattr(Ledger, "record", fail)
    engine = start_engine()

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert not errors


def test_an_assignment_that_was_stored_and_fails_twice_afterwards_is_not_forgotten(
    start_engine: StartEngine, only_claims: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Ledger.record
    errors = [MemoryError(), MemoryError(), StoreUnavailable(OSError("fsync failed"))]  # the last comes first

    def fail(*arguments: Any) -> Recorded:
        if len(errors) == 3 and not only_claims(*arguments):
            return record(*arguments)
        if not errors:
            return record(*arguments)
        error = errors.pop()
        if isinstance(error, StoreUnavailable):
            record(*arguments)
        raise error

    monkeypatch.setattr(Ledger, "record", fail)
    engine = start_engine()

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert not errors


def test_an_assignment_that_can_never_be_recorded_holds_up_no_other_order(
    start_engine: StartEngine,
    clock: WatchedClock,
    let_record: Callable[[OrderEngine], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take = OrderQueue.claim
    is_mended = threading.Event()
    tried: list[int] = []

    def refuse_one(queue: OrderQueue, claim: Claim, at_us: int) -> list[Move]:
        claimed = take(queue, claim, at_us)
        if "bad" in {step.after.order_id for step in claimed} and not is_mended.is_set():
            if len(claimed) == 1:
                tried.append(clock.monotonic_us())
            raise ZeroDivisionError("unexpected")
        return claimed

    monkeypatch.setattr(OrderQueue, "claim", refuse_one)
    engine = start_engine(clock=clock, processors=1)
    began_us = clock.monotonic_us()
    bad = engine.submit(make_order("bad"))
    for number in range(5):
        assert engine.submit(make_order(f"good-{number}")).wait(timeout=60) is OrderStatus.COMPLETED
    for _ in range(30):
        clock.advance(0.1)
        let_record(engine)
        let_record(engine)
        assert engine.submit(make_order(f"good-at-{clock.monotonic_us()}")).wait(timeout=60) is OrderStatus.COMPLETED
    assert [round((at_us - began_us) / 1e6, 1) for at_us in dict.fromkeys(tried)] == [0.0, 0.5, 1.5]

    is_mended.set()
    clock.advance(4)

    assert bad.wait(timeout=60) is OrderStatus.COMPLETED


def test_a_bug_beside_the_transaction_loses_no_result_and_no_assignment(
    start_engine: StartEngine,
    only_claims: Callable[..., bool],  # noqa: ARG001  # a transaction that takes in is answered with the error
    monkeypatch: pytest.MonkeyPatch,
    assert_sound: Callable[[], None],
) -> None:
    record_all = RecorderActor._record_all
    failed: set[OrderStatus] = set()

    def fail_once_each(recorder: RecorderActor) -> None:
        batch = recorder._unsettled[0]
        due = {step.after.status for step in batch.moves}
        if batch.claim is not None and queries.first_in_line(recorder._database) is not None:
            due.add(OrderStatus.PROCESSING)
        if not due <= failed:
            failed.update(due)
            raise ZeroDivisionError("unexpected")
        record_all(recorder)

    monkeypatch.setattr(RecorderActor, "_record_all", fail_once_each)
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id))

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert failed == {OrderStatus.PROCESSING, OrderStatus.COMPLETED}
    assert handled == ["o-1"]
    engine.stop()
    assert_sound()


def test_a_database_that_fails_is_tried_with_one_timer_and_more_seldom_with_time(
    start_engine: StartEngine, clock: WatchedClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(clock=clock)
    tried = threading.Event()

    def fail_always(*_: object, **_named: object) -> None:
        tried.set()
        raise StoreUnavailable(OSError("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail_always)
        for number in range(50):
            with pytest.raises(StoreUnavailable):
                engine.submit(make_order(f"o-{number}"))
        waits = []
        for _ in range(8):
            at_us = clock.next_call()
            waits.append((at_us - clock.now_us()) / 1e6)
            assert clock.calls_to_come() == 1
            tried.clear()
            clock.advance_to(at_us)
            assert tried.wait(60)
        next_at = clock.next_call()

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert len([record for record in caplog.records if "takes no writes" in record.getMessage()]) == 1
    clock.advance_to(next_at)
    assert engine.submit(make_order("later")).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.unready_reasons() == ()


def test_an_acknowledged_order_is_in_the_metrics(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    for number in range(1, 20):
        engine.submit(make_order(f"o-{number}"))
        assert engine.metrics().backlog == number


@pytest.mark.sqlite  # looks at its files
def test_orders_are_on_disk_when_they_are_acknowledged(database: Path, held: Held) -> None:
    with OrderEngine(database, handler=held, durability="full", stop_seconds=0) as engine:
        engine.submit(make_order())
        held.begun()
        copy = database.with_name("copy.db")
        for suffix in ("", "-wal"):
            Path(f"{copy}{suffix}").write_bytes(Path(f"{database}{suffix}").read_bytes())

        with OrderEngine(copy, handler=lambda _: None) as survivor:
            assert survivor.recovered.returned == 1
            assert survivor.wait("o-1", timeout=60) is OrderStatus.COMPLETED
        held.release()
