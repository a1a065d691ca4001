"""A stop ends an engine in order, once, whoever asks for it, how often and in which moment."""

from __future__ import annotations

import logging
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pykka import ActorRegistry

from ordermill.engine import DatabaseRefused, Effect, EngineStopped, Order, OrderEngine, OrderStatus
from ordermill.engine.life import Life
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

    StartEngine = Callable[..., OrderEngine]


@contextmanager
def stopping_on(number: signal.Signals, engine: OrderEngine) -> Iterator[None]:
    """Has a signal stop the engine, as programs with a handler of their own do."""
    before = signal.signal(number, lambda *_: engine.stop())
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is locked is not waited for by SQLite."""
    monkeypatch.setattr("ordermill.store.sqlite.database._BUSY_TIMEOUT_SECONDS", 0.05)


def lock_writes(database: Path) -> sqlite3.Connection:
    """Keep everybody else from writing, until that connection is closed."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def interrupt_stop(engine: OrderEngine, event_after: Callable[[type, str], threading.Event]) -> None:
    """Stop the engine and press Ctrl-C meanwhile."""
    has_begun = event_after(Life, "begin_stop")

    def press() -> None:
        assert has_begun.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with ThreadPoolExecutor(1) as threads:
        pressing = threads.submit(press)
        with pytest.raises(KeyboardInterrupt):
            engine.stop()
        pressing.result(timeout=60)


def test_a_stop_that_was_interrupted_goes_on_and_can_be_waited_for_again(
    start_engine: StartEngine, held: Held, database: Path, event_after: Callable[[type, str], threading.Event]
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order())
    held.begun()

    interrupt_stop(engine, event_after)

    assert engine.unready_reasons() == ("the engine is stopping",)
    with pytest.raises(EngineStopped):
        engine.submit(make_order("o-2"))
    with pytest.raises(DatabaseRefused, match="running over"):
        OrderEngine(database).start()
    held.release()
    engine.stop()
    with OrderEngine(database, handler=lambda _: None) as successor:
        record = successor.order("o-1")
    assert (record.status, record.attempts, record.failures) == (OrderStatus.COMPLETED, 1, 0)


def test_a_start_waits_for_the_stop_that_is_under_way(
    start_engine: StartEngine, held: Held, event_after: Callable[[type, str], threading.Event]
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order())
    held.begun()
    interrupt_stop(engine, event_after)

    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(engine.start)
        assert not starting.done()
        held.release()
        starting.result(timeout=60)

    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert sum(engine.recovered) == 0


def test_stopping_all_actors_of_the_program_stops_an_engine_in_order(
    start_engine: StartEngine, held: Held, database: Path
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many([make_order("o-1"), make_order("o-2")])
    first = held.begun()

    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(ActorRegistry.stop_all)
        while not engine.unready_reasons():
            pass
        with pytest.raises(EngineStopped):
            engine.submit(make_order("o-3"))
        held.release()
        stopping.result(timeout=60)

    assert engine.unready_reasons() == ("the engine is stopped",)
    engine.stop()
    with OrderEngine(database, handler=lambda _: None) as successor:
        assert sum(successor.recovered) == 0
        assert successor.order(first).attempts == 1
        assert successor.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 2


def test_a_signal_may_stop_the_engine_while_its_thread_is_about_to_send(start_engine: StartEngine) -> None:
    engine = start_engine()
    with stopping_on(signal.SIGUSR1, engine):
        with engine._life.gate:  # as `send` holds it
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(EngineStopped):
            engine.submit(make_order())


@pytest.mark.usefixtures("impatient")
def test_results_that_a_locked_database_does_not_take_are_tried_until_it_does(
    start_engine: StartEngine, held: Held, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(held, processors=2, stop_seconds=30, max_attempts=1)
    engine.submit_many(make_order(f"o-{number}") for number in range(4))
    in_hand = {held.begun(), held.begun()}
    with ThreadPoolExecutor(1) as threads:
        with closing(lock_writes(database)):
            held.release()
            stopping = threads.submit(engine.stop)
            while "database" not in caplog.text:  # it has been tried
                pass
            assert not stopping.done()
        stopping.result(timeout=60)

    with OrderEngine(database, handler=lambda _: None, max_attempts=1) as successor:
        assert sum(successor.recovered) == 0
        assert {order_id for order_id in in_hand if successor.order(order_id).attempts == 1} == in_hand
        assert successor.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 4


@pytest.mark.usefixtures("impatient")
def test_a_stop_says_how_many_results_the_database_did_not_take_in_time(
    start_engine: StartEngine, held: Held, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(held, processors=2, stop_seconds=0.2)
    engine.submit_many(make_order(f"o-{number}") for number in range(2))
    held.begun(), held.begun()
    with closing(lock_writes(database)):
        held.release()
        engine.stop()

    last = caplog.records[-1]
    assert last.levelno == logging.ERROR
    assert "2 results are not recorded" in last.getMessage()
    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.recovered.returned == 2


def test_a_stop_names_the_orders_whose_handlers_did_not_return(
    start_engine: StartEngine, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(held, processors=1, stop_seconds=0)
    engine.submit(make_order("slow-1"))
    held.begun()

    engine.stop()

    assert "handlers did not return in time: slow-1 go back to Pending" in caplog.text
    held.release()


def test_only_one_actor_of_an_engine_is_known_to_others(start_engine: StartEngine) -> None:
    start_engine(processors=3)

    assert len(ActorRegistry.get_all()) == 1


def test_a_stop_goes_on_to_the_end_where_a_step_of_it_fails(
    start_engine: StartEngine, database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a step of the stop fails")

    engine = start_engine()
    monkeypatch.setattr("ordermill.engine.startup._finish_work", fail)

    engine.stop()

    assert "a step of the stop fails" in caplog.text
    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED


def test_a_start_that_is_interrupted_does_not_wait_for_a_probe_that_hangs(
    database: Path, leave_in_hand: Callable[..., object]
) -> None:
    leave_in_hand("o-1")
    is_over = threading.Event()

    def hang(_: Order) -> Effect:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        assert is_over.wait(60)
        return Effect.DONE

    def handle(_: Order) -> None:
        pass

    handle.probe = hang  # type: ignore[attr-defined]  # as engines look for it
    engine = OrderEngine(database, handler=handle)
    with stopping_on(signal.SIGUSR1, engine), pytest.raises(EngineStopped, match="while it was starting"):
        engine.start()

    is_over.set()
    with OrderEngine(database, handler=lambda _: None) as successor:
        assert successor.recovered.returned == 1
        assert successor.wait("o-1", timeout=60) is OrderStatus.COMPLETED
