"""Probes: what becomes of an order whose handler was cut short: by a crash, a timeout, a stop, a worker that died."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Durability, Effect, InvalidConfiguration, Order, OrderEngine, OrderStatus
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

LATE = "TimeoutError: the handler did not return within 5 s"


class Charge:
    """A handler that remembers what it did, with a probe that answers what the test says."""

    def __init__(self, answer: Callable[[Order], Effect]) -> None:
        self.probe = answer
        self.handled: list[str] = []

    def __call__(self, order: Order) -> None:
        self.handled.append(order.order_id)


def leave_in_hand(database: Path, *order_ids: str) -> None:
    """Leave a database as an engine does that died with these orders in hand."""
    writer = connect(database).open_writer(Durability.FULL)
    ledger = Ledger(writer)
    accepted = ledger.record([make_order(order_id) for order_id in order_ids], (), START_US).acceptances
    ledger.record((), [move(record, lifecycle.ASSIGN, START_US + 1) for _, record in accepted], START_US + 1)
    writer.close()


def test_an_order_whose_effect_is_done_is_completed_without_running_the_handler(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.DONE)
    engine = start_engine(charge)

    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert (
        engine.history("o-1")[-1].reason
        == "the engine died while the order was in hand; the probe found its effect done"
    )
    assert engine.recovered.completed == 1
    assert charge.handled == []


def test_an_order_whose_effect_is_not_done_is_handled_again(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.NOT_DONE)
    engine = start_engine(charge)

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert engine.recovered.returned == 1
    assert charge.handled == ["o-1"]


def test_an_order_whose_effect_is_unknown_waits_for_an_operator(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.UNKNOWN)
    engine = start_engine(charge)

    assert engine.status("o-1") is OrderStatus.REVIEW
    assert engine.settle("o-1", OrderStatus.COMPLETED, "found in the bank's list").status is OrderStatus.COMPLETED
    assert charge.handled == []


def test_a_probe_that_fails_counts_as_unknown_and_each_order_is_asked_for_itself(
    start_engine: Callable[..., OrderEngine], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_in_hand(database, "o-1", "o-2", "o-3")
    asked: list[str] = []

    def probe(order: Order) -> Effect:
        asked.append(order.order_id)
        if order.order_id == "o-2":
            raise ConnectionError("the bank does not answer")
        return Effect.DONE

    engine = start_engine(Charge(probe))

    assert sorted(asked) == ["o-1", "o-2", "o-3"]
    assert engine.recovered == (0, 2, 0, 1)
    assert engine.status("o-2") is OrderStatus.REVIEW
    assert "the probe failed for order o-2" in caplog.text


def test_a_probe_that_exits_counts_as_unknown(start_engine: Callable[..., OrderEngine], database: Path) -> None:
    leave_in_hand(database, "o-1")

    engine = start_engine(probe=lambda _: sys.exit("no connection"))

    assert engine.status("o-1") is OrderStatus.REVIEW


def test_the_probe_of_the_engine_comes_before_the_handlers(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")

    engine = start_engine(Charge(lambda _: Effect.UNKNOWN), probe=lambda _: Effect.DONE)

    assert engine.status("o-1") is OrderStatus.COMPLETED


def test_a_start_that_waits_for_a_probe_can_be_interrupted(
    start_engine: Callable[..., OrderEngine], database: Path, hold: Callable[[], Held]
) -> None:
    leave_in_hand(database, "o-1")
    probe = hold()

    def press() -> None:
        probe.begun()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def ask(order: Order) -> Effect:
        probe(order)
        return Effect.DONE

    with ThreadPoolExecutor(1) as threads:
        pressing = threads.submit(press)
        with pytest.raises(KeyboardInterrupt):
            start_engine(probe=ask)
        pressing.result(timeout=60)
    probe.release()

    assert start_engine(probe=ask).recovered.completed == 1


def test_a_probe_has_to_be_callable(database: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="The probe must be callable with an order; 'done' is not"):
        OrderEngine(database, probe="done")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("settings", "status", "failures", "reason"),
    [
        ({"probe": lambda _: Effect.DONE}, OrderStatus.COMPLETED, 0, f"{LATE}; the probe found its effect done"),
        ({"probe": lambda _: Effect.NOT_DONE}, OrderStatus.FAILED, 1, f"{LATE}; failed attempt 1 of 1"),
        ({"probe": lambda _: Effect.UNKNOWN}, OrderStatus.REVIEW, 1, LATE),
        ({"on_interrupted": "retry"}, OrderStatus.FAILED, 1, f"{LATE}; failed attempt 1 of 1"),
        ({"on_interrupted": "review"}, OrderStatus.REVIEW, 1, LATE),
    ],
    ids=["done", "not done", "unknown", "retry", "review"],
)
def test_a_handler_that_overran_its_time_is_asked_about(
    start_engine: Callable[..., OrderEngine],
    held: Held,
    clock: ManualClock,
    settings: dict[str, Any],
    status: OrderStatus,
    failures: int,
    reason: str,
) -> None:
    engine = start_engine(held, clock=clock, handler_timeout=5, max_attempts=1, **settings)
    engine.submit(make_order())
    held.begun()

    clock.advance(5)

    engine.drain(timeout=60)
    assert (engine.status("o-1"), engine.order("o-1").failures) == (status, failures)
    assert engine.history("o-1")[-1].reason == reason


def test_a_slow_probe_holds_up_nobody_but_its_order(
    start_engine: Callable[..., OrderEngine], clock: ManualClock, hold: Callable[[], Held]
) -> None:
    probe, handler = hold(), hold()

    def ask(order: Order) -> Effect:
        probe(order)
        return Effect.DONE

    engine = start_engine(
        lambda order: handler(order) if order.order_id == "slow" else None,
        probe=ask,
        clock=clock,
        handler_timeout=5,
        processors=1,
    )
    engine.submit(make_order("slow"))
    handler.begun()
    clock.advance(5)
    assert probe.begun() == "slow"

    assert engine.submit(make_order("other")).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.status("slow") is OrderStatus.PROCESSING
    probe.release()
    assert engine.wait("slow", timeout=60) is OrderStatus.COMPLETED
    handler.release()


def test_the_handler_may_be_quicker_than_the_probe(
    start_engine: Callable[..., OrderEngine],
    clock: ManualClock,
    hold: Callable[[], Held],
    assert_sound: Callable[[], None],
) -> None:
    probe, handler = hold(), hold()

    def ask(order: Order) -> Effect:
        probe(order)
        return Effect.NOT_DONE

    engine = start_engine(handler, probe=ask, clock=clock, handler_timeout=5)
    engine.submit(make_order())
    handler.begun()
    clock.advance(5)
    probe.begun()

    handler.release()

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    probe.release()
    engine.stop()
    assert_sound()


def test_a_stop_asks_nothing_and_the_next_start_does(
    start_engine: Callable[..., OrderEngine], held: Held, assert_sound: Callable[[], None], database: Path
) -> None:
    asked: list[str] = []

    def probe(order: Order) -> Effect:
        asked.append(order.order_id)
        return Effect.NOT_DONE

    engine = start_engine(held, probe=probe, stop_seconds=0, processors=2)
    engine.submit_many([make_order("o-1"), make_order("o-2")])
    assert {held.begun(), held.begun()} == {"o-1", "o-2"}
    engine.stop()
    assert asked == []
    held.release()

    again = start_engine(lambda _: None, probe=probe)

    assert sorted(asked) == ["o-1", "o-2"]
    again.drain(timeout=60)
    assert [again.order(order_id).failures for order_id in asked] == [0, 0]
    assert again.history("o-1")[2].reason == "the engine stopped before the handler returned"
    again.stop()
    assert not list(database.parent.glob("*.begun*"))
    assert_sound()


def test_a_stop_that_did_not_wait_is_reviewed_where_the_settings_say_so(
    start_engine: Callable[..., OrderEngine], held: Held, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(held, on_interrupted="review", stop_seconds=0)
    engine.submit(make_order())
    held.begun()
    engine.stop()
    held.release()

    again = start_engine()

    assert again.recovered == (0, 0, 0, 0)
    assert again.status("o-1") is OrderStatus.REVIEW
    again.stop()
    assert_sound()


def test_a_probe_that_hangs_is_left_to_the_next_start_by_a_stop(
    start_engine: Callable[..., OrderEngine], clock: ManualClock, hold: Callable[[], Held]
) -> None:
    probe, handler = hold(), hold()

    def ask(order: Order) -> Effect:
        probe(order)
        return Effect.DONE

    engine = start_engine(handler, probe=ask, clock=clock, handler_timeout=5, stop_seconds=0)
    engine.submit(make_order())
    handler.begun()
    clock.advance(5)
    probe.begun()

    engine.stop()

    probe.release()
    handler.release()
    again = start_engine(probe=lambda _: Effect.DONE)
    assert again.recovered.completed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effect", "status"),
    [
        (Effect.DONE, OrderStatus.COMPLETED),
        (Effect.NOT_DONE, OrderStatus.FAILED),
        (Effect.UNKNOWN, OrderStatus.REVIEW),
    ],
)
def test_an_order_whose_worker_died_is_asked_about(
    start_engine: Callable[..., OrderEngine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    effect: Effect,
    status: OrderStatus,
) -> None:
    (tmp_path / "dies_of_the_test.py").write_text("import os\n\ndef die(order):\n    os._exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    die = __import__("dies_of_the_test").die
    engine = start_engine(die, probe=lambda _: effect, executor="processes", processors=1, max_attempts=1)

    engine.submit(make_order())

    engine.drain(timeout=30)
    assert engine.status("o-1") is status
    assert engine.history("o-1")[-1].reason.startswith("the worker process died")


def test_the_idempotency_key_is_the_same_for_every_attempt(start_engine: Callable[..., OrderEngine]) -> None:
    keys: list[str] = []

    def charge(order: Order) -> None:
        keys.append(order.idempotency_key)
        if len(keys) < 3:
            raise ConnectionError

    engine = start_engine(charge, retry_seconds=0)

    assert engine.submit(make_order("o-1")).wait(timeout=60) is OrderStatus.COMPLETED
    assert keys == ["ordermill-o-1"] * 3
