"""Whichever call of the database fails, nothing acknowledged is lost, nobody hangs, and the engine serves on.

Set ORDERMILL_TEST_FAULT_POINTS to the number of calls that each sweep fails one by one; 0 stands for every call.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pykka import Future, ThreadingFuture

from ordermill.engine import Order, OrderEngine, OrdermillError, OrderRecord, OrderStatus, Outcome, StoreUnavailable
from ordermill.engine.requests import CancelOrder
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.sqlite import database as store

POINTS = int(os.environ.get("ORDERMILL_TEST_FAULT_POINTS", "10"))
PATIENCE_SECONDS = 60.0
ALL = range(1, 10**9)
ERRORS = ("database is locked", "database or disk is full", "disk I/O error")

T = TypeVar("T")


class Faults:
    """Fails calls of every connection: the calls are counted, and those of some numbers do not happen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = range(0)
        self._error = ""
        self._is_counting = False
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_called = threading.Event()
        self.calls = 0

    @contextmanager
    def fail(self, numbers: range, error: str) -> Iterator[None]:
        """Count from 1, and fail the calls of these numbers, within the block."""
        self.start(numbers, error)
        try:
            yield
        finally:
            self.heal()

    def start(self, numbers: range, error: str) -> None:
        """Count from 1, and fail the calls of these numbers."""
        with self._lock:
            self.calls, self._numbers, self._error, self._is_counting = 0, numbers, error, True

    def heal(self) -> None:
        """Fail nothing any more."""
        with self._lock:
            self._is_counting = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold up every call within the block."""
        self._is_called.clear()
        self._may_go_on.clear()
        try:
            yield
        finally:
            self._may_go_on.set()

    def wait_for_call(self) -> None:
        """Wait until a call is held up."""
        assert self._is_called.wait(PATIENCE_SECONDS)

    def before_call(self) -> None:
        """Whatever a connection is asked to do goes through here first."""
        self._is_called.set()
        self._may_go_on.wait(PATIENCE_SECONDS)
        with self._lock:
            self.calls += self._is_counting
            if self._is_counting and self.calls in self._numbers:
                raise sqlite3.OperationalError(self._error)


class FaultyConnection(sqlite3.Connection):
    """A connection whose calls may fail; its own `execute` and the like go through a cursor too."""

    faults: Faults

    def cursor(self, factory: Any = None) -> Any:
        """A cursor whose calls may fail."""
        assert factory is None
        return super().cursor(FaultyCursor)

    def commit(self) -> None:
        """Commit, unless that fails."""
        self.faults.before_call()
        super().commit()

    def rollback(self) -> None:
        """Roll back, unless that fails."""
        self.faults.before_call()
        super().rollback()


class FaultyCursor(sqlite3.Cursor):
    """A cursor whose calls may fail: BEGIN, COMMIT and ROLLBACK are among them."""

    connection: FaultyConnection

    def execute(self, *arguments: Any) -> Any:
        """Execute, unless that fails."""
        self.connection.faults.before_call()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        """Execute for each, unless that fails."""
        self.connection.faults.before_call()
        return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        """Execute a script, unless that fails."""
        self.connection.faults.before_call()
        return super().executescript(*arguments)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """What fails the calls of every connection that is opened during the test."""
    faults = Faults()
    connect = sqlite3.connect

    def connect_faulty(*arguments: Any, **options: Any) -> FaultyConnection:
        faults.before_call()
        connection = connect(*arguments, **options, factory=FaultyConnection)
        connection.faults = faults
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_faulty)
    monkeypatch.setattr(logging.getLogger("ordermill"), "level", logging.CRITICAL)  # each fault is logged
    return faults


@dataclass
class Shop:
    """A client with a fixed list of wishes, and its engine's handler."""

    acknowledged: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    handled: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    is_open: threading.Event = field(default_factory=threading.Event)

    def handle(self, order: Order) -> None:
        """Process an order, once the shop is open, so that others can be cancelled; one of them fails at first."""
        assert self.is_open.wait(PATIENCE_SECONDS)
        self.tried[order.order_id] += 1
        if order.order_id == "flaky" and self.tried["flaky"] == 1:
            raise ValueError("try again")
        self.handled[order.order_id] += 1

    def submit(self, engine: OrderEngine, *order_ids: str) -> None:
        """Send orders, and note the answer."""
        orders = [make_order(order_id) for order_id in order_ids]
        try:
            receipts = promptly(lambda: engine.submit_many(orders))
        except OrdermillError as error:
            self.refused[type(error).__name__] += 1
        else:
            assert all(receipt.outcome is not Outcome.CONFLICT for receipt in receipts)
            self.acknowledged.update(order_ids)

    def cancel(self, engine: OrderEngine, order_id: str) -> None:
        """Cancel an order, and note the answer."""
        try:
            promptly(lambda: engine.cancel(order_id))
        except OrdermillError as error:
            self.refused[type(error).__name__] += 1
        else:
            self.cancelled.add(order_id)

    def work(self, engine: OrderEngine) -> None:
        """All wishes."""
        self.submit(engine, "one")
        self.submit(engine, *(f"many-{number}" for number in range(5)))
        self.submit(engine, "flaky")
        self.submit(engine, "one")
        self.cancel(engine, "many-4")
        self.is_open.set()
        self.submit(engine, "two", "one", "three")

    @property
    def due(self) -> dict[str, OrderStatus]:
        """Where each acknowledged order has to end."""
        return dict.fromkeys(self.acknowledged, OrderStatus.COMPLETED) | dict.fromkeys(
            self.cancelled, OrderStatus.CANCELLED
        )


def promptly(call: Callable[[], T]) -> T:
    """What a call returns or raises, which must happen soon."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "a call hangs"
    if errors:
        raise errors[0]
    return results[0]


def settle(engine: OrderEngine, clock: ManualClock) -> None:
    """Let time pass until nothing is Pending or Processing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        clock.advance(1)
        with suppress(TimeoutError):
            engine.drain(timeout=0.02)
            return
        assert time.monotonic() < deadline, f"orders are stuck: {engine.metrics().orders_by_status}"


def check(path: Path, due: dict[str, OrderStatus]) -> None:
    """The database is sound, and has exactly these orders, where they have to be."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert dict(connection.execute("SELECT order_id, status FROM orders")) == due
    readers = store.open_readers(path, max_connections=1)
    try:
        with readers.connection_context():
            assert audit(readers).faults == []
    finally:
        readers.close_all()


def run(path: Path, faults: Faults, numbers: range, error: str, *, lasts: bool = False) -> int:
    """Work with faults, see that the engine serves on, stop it, start it again.

    Returns:
        How many calls of the database there were.
    """
    shop, clock = Shop(), ManualClock()
    settings: dict[str, Any] = {"clock": clock, "processors": 2, "retry_seconds": 0.0}
    with OrderEngine(path, handler=shop.handle, **settings) as engine:
        with faults.fail(numbers, error):
            shop.work(engine)
            if not lasts:
                settle(engine, clock)
        if lasts:
            with faults.fail(ALL, error):
                with pytest.raises(StoreUnavailable):
                    promptly(lambda: engine.submit(make_order("refused")))
                assert error in " ".join(engine.unready_reasons())
        shop.submit(engine, "after")
        assert "after" in shop.acknowledged
        settle(engine, clock)
        assert engine.unready_reasons() == ()
        assert engine.status("after") is OrderStatus.COMPLETED
        assert shop.handled == Counter({order_id for order_id, status in shop.due.items() if status == "Completed"})
        # Not counted twice, not forgotten: the room for new orders is what it was.
        assert engine.metrics().backlog == 0
    check(path, shop.due)
    with OrderEngine(path, handler=shop.handle, **settings) as engine:
        assert sum(engine.recovered) == 0
        settle(engine, clock)
    check(path, shop.due)
    return faults.calls


def run_to_the_stop(path: Path, faults: Faults, numbers: range, error: str) -> None:
    """Work with faults that last until the engine has stopped, then start it again."""
    shop, clock = Shop(), ManualClock()
    settings: dict[str, Any] = {"clock": clock, "processors": 2, "retry_seconds": 0.0}
    engine = OrderEngine(path, handler=shop.handle, stop_seconds=0.2, **settings)  # nothing gets better by waiting
    engine.start()
    with faults.fail(numbers, error):
        shop.work(engine)
        promptly(engine.stop)
    with OrderEngine(path, handler=shop.handle, **settings) as engine:
        settle(engine, clock)
    check(path, shop.due)


def sample(calls: int, offset: int) -> range:
    """Which calls to fail: some of all, others with another offset."""
    step = max(1, calls // POINTS) if POINTS else 1
    return range(1 + offset % step, calls + 1, step)


@pytest.fixture
def calls(tmp_path: Path, faults: Faults) -> int:
    """How many calls of the database the work makes where nothing fails."""
    return run(tmp_path / "healthy.db", faults, range(0), "")


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_after_any_one_failed_call_the_engine_serves_on(tmp_path: Path, faults: Faults, calls: int, error: str) -> None:
    for number in sample(calls, ERRORS.index(error)):
        with explained(f"call {number} of about {calls} failed"):
            run(tmp_path / f"{number}.db", faults, range(number, number + 1), error)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_while_all_calls_fail_the_engine_says_so_and_serves_on_afterwards(
    tmp_path: Path, faults: Faults, calls: int, error: str
) -> None:
    for number in sample(calls, ERRORS.index(error)):
        with explained(f"from call {number} of about {calls} on all failed"):
            run(tmp_path / f"{number}.db", faults, ALL[number - 1 :], error, lasts=True)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_where_all_calls_fail_until_the_stop_the_next_start_finds_all_that_was_acknowledged(
    tmp_path: Path, faults: Faults, calls: int, error: str
) -> None:
    for number in sample(calls, ERRORS.index(error)):
        with explained(f"from call {number} of about {calls} on all failed, to the stop"):
            run_to_the_stop(tmp_path / f"{number}.db", faults, ALL[number - 1 :], error)


@pytest.mark.parametrize("error", ERRORS)
def test_a_start_whose_calls_fail_is_refused_and_the_next_one_succeeds(
    tmp_path: Path, faults: Faults, error: str
) -> None:
    number, calls = 0, 0
    while number <= calls:
        engine = OrderEngine(tmp_path / f"{number}.db", handler=lambda _: None)
        with explained(f"call {number} failed"):
            with faults.fail(range(number, number + 1), error), suppress(OrdermillError):
                engine.start()
                engine.stop()
            calls = max(calls, faults.calls)
            with engine:
                assert engine.submit(make_order()).wait(timeout=PATIENCE_SECONDS) is OrderStatus.COMPLETED
        check(engine.path, {"o-1": OrderStatus.COMPLETED})
        number += 1
    assert calls > 10


def test_of_two_cancellations_in_one_transaction_each_is_answered_whatever_call_fails(
    tmp_path: Path, faults: Faults
) -> None:
    number, calls = 0, 0
    while number <= calls:
        with explained(f"call {number} failed"):
            calls = max(calls, cancel_twice(tmp_path / f"{number}.db", faults, range(number, number + 1)))
        number += 1
    assert calls > 10


def cancel_twice(path: Path, faults: Faults, numbers: range) -> int:
    """Cancel an order twice in one transaction, so that the second one's answer has to be looked up.

    Returns:
        How many calls of the database there were.
    """
    clock, is_begun, is_open = ManualClock(), threading.Event(), threading.Event()

    def handle(_: Order) -> None:
        is_begun.set()
        assert is_open.wait(PATIENCE_SECONDS)

    with OrderEngine(path, handler=handle, clock=clock, processors=1) as engine:
        engine.submit(make_order("in-hand"))
        assert is_begun.wait(PATIENCE_SECONDS)
        engine.submit(make_order("behind"))
        assert engine._life.running is not None
        recorder: Any = engine._life.running.context.recorder
        replies: list[Future[OrderRecord]] = [ThreadingFuture() for _ in range(3)]
        with faults.held():  # the recorder is busy with the first, while the others come
            recorder.tell(CancelOrder("no-such-order", replies[0]))
            faults.wait_for_call()
            recorder.tell(CancelOrder("behind", replies[1]))
            recorder.tell(CancelOrder("behind", replies[2]))
            faults.start(numbers, "disk I/O error")
        outcomes = [answer(reply) for reply in replies[1:]]
        faults.heal()
        is_open.set()
        settle(engine, clock)
        assert outcomes.count("Cancelled") <= 1
        assert set(outcomes) <= {"Cancelled", "TransitionRefused", "StoreUnavailable"}
        expected = "Cancelled" if "Cancelled" in outcomes else "Completed"
        assert engine.metrics().incidents == 0
    check(path, {"in-hand": OrderStatus.COMPLETED, "behind": OrderStatus(expected)})
    return faults.calls


def test_a_removed_order_is_exported_once_whatever_call_fails(tmp_path: Path, faults: Faults) -> None:
    number, calls = 0, 0
    while number <= calls:
        with explained(f"call {number} failed"):
            calls = max(calls, remove_all(tmp_path / f"{number}.db", faults, range(number, number + 1)))
        number += 1
    assert calls > 10


def remove_all(path: Path, faults: Faults, numbers: range) -> int:
    """Remove all orders of a database in two lots, and again as long as some are left.

    Returns:
        How many calls of the database there were.
    """
    export = path.with_suffix(".ndjson")
    writer = store.open_writer(path, Durability.NORMAL)
    ledger = Ledger(writer)
    accepted = ledger.record([make_order(f"o-{number}") for number in range(5)], [], START_US).acceptances
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for _, record in accepted], START_US)
    with faults.fail(numbers, "disk I/O error"), suppress(StoreUnavailable):
        while prune(writer, START_US + 1, 3, export).orders:
            pass
    while prune(writer, START_US + 1, 3, export).orders:
        pass
    writer.close()

    check(path, {})
    assert sorted(json.loads(line)["order_id"] for line in export.read_text().splitlines()) == [
        f"o-{number}" for number in range(5)
    ]
    return faults.calls


def answer(reply: Future[OrderRecord]) -> str:
    """The status that a command has led to, or the name of its error."""
    try:
        return str(reply.get(timeout=PATIENCE_SECONDS).status)
    except OrdermillError as error:
        return type(error).__name__


@contextmanager
def explained(note: str) -> Iterator[None]:
    """Adds what was tried to any error."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise
