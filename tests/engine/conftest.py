"""Handlers and a database that a test can hold, and a clock that tells what it was asked for."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import Durability, Order, OrderEngine, OrderNotFound
from ordermill.engine.actors.messages import CheckFiles
from ordermill.engine.clock import Timer
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.record import Move, OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.database import open_readers, open_writer


def is_look(callback: Callable[[], None]) -> bool:
    """Whether it is the recorder's for its look at the files, which comes each second, whatever happens."""
    return any(isinstance(argument, CheckFiles) for argument in getattr(callback, "args", ()))


class WatchedClock(ManualClock):
    """A clock that stands still, and tells for which times it was asked to call, but for the recorder's looks."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        at_us = self.now_us() + round(seconds * 1e6)
        timer = super().call_after(seconds, callback)
        if not is_look(callback):
            self._asked.put(at_us)  # last: whoever learns of it may move the clock at once
        return timer

    def next_call(self, at_least: float = 0.0) -> int:
        """The time of the next call that somebody asks for, so many seconds ahead or more."""
        while (at_us := self._asked.get(timeout=5)) - self.now_us() < at_least * 1e6:
            pass
        return at_us

    def calls_to_come(self) -> int:
        """How many calls somebody waits for."""
        with self._lock:
            return sum(timer.callback is not None and not is_look(timer.callback) for _, _, timer in self._calls._heap)

    def advance_to(self, at_us: int) -> None:
        """Move on to a time."""
        self.advance((at_us - self.now_us()) / 1e6)


class Held:
    """A handler that holds every order until it is released."""

    def __init__(self) -> None:
        self._begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._released = threading.Event()

    def __call__(self, order: Order) -> None:
        self._begun.put(order.order_id)
        assert self._released.wait(20), "the test has not released the handler"

    def begun(self) -> str:
        """The id of the next order that the handler was called with."""
        return self._begun.get(timeout=5)

    def has_begun_more(self) -> bool:
        """Whether it was called with an order that the test does not know of."""
        return not self._begun.empty()

    def release(self) -> None:
        """Let all orders go, now and from now on."""
        self._released.set()


class HeldLedger:
    """Holds up the ledger at chosen transactions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._original = Ledger.record
        self._reached = threading.Event()
        self._released = threading.Event()
        self.transactions: list[tuple[int, int]] = []

    def hold(self, when: Callable[[Sequence[Order], Sequence[Move]], bool]) -> None:
        """Hold up each transaction of these orders and moves until the release."""

        def record(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
            self.transactions.append((len(orders), len(moves)))
            if when(orders, moves) and not self._released.is_set():
                self._reached.set()
                assert self._released.wait(20), "the test has not released the ledger"
            return self._original(ledger, orders, moves, *more)

        self._patch.setattr(Ledger, "record", record)

    def wait_until_held(self) -> None:
        """Wait until a transaction is held up."""
        assert self._reached.wait(5)

    def release(self) -> None:
        """Let everything go, now and from now on."""
        self._released.set()

    def fail_once(self, error: BaseException, when: Callable[[Sequence[Order], Sequence[Move]], bool]) -> None:
        """Have the first transaction of such orders and moves fail."""
        errors = [error]

        def record(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any) -> Recorded:
            if errors and when(orders, moves):
                raise errors.pop()
            return self._original(ledger, orders, moves, *more)

        self._patch.setattr(Ledger, "record", record)


@pytest.fixture
def clock() -> WatchedClock:
    """A clock that stands still until the test moves it."""
    return WatchedClock()


@pytest.fixture
def held(start_engine: Callable[..., OrderEngine]) -> Iterator[Held]:  # noqa: ARG001  # released before engines stop
    """A handler to hold, released in the end."""
    handler = Held()
    yield handler
    handler.release()


@pytest.fixture
def hold(start_engine: Callable[..., OrderEngine]) -> Iterator[Callable[[], Held]]:  # noqa: ARG001  # likewise
    """Makes handlers to hold, released in the end."""
    made: list[Held] = []

    def make() -> Held:
        made.append(Held())
        return made[-1]

    yield make
    for handler in made:
        handler.release()


@pytest.fixture
def ledger(
    start_engine: Callable[..., OrderEngine],  # noqa: ARG001  # released before engines stop
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[HeldLedger]:
    """A ledger to hold, released in the end."""
    ledger = HeldLedger(monkeypatch)
    yield ledger
    ledger.release()


@pytest.fixture
def event_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], threading.Event]:
    """Makes an event that is set when a method of a class has returned."""

    def watch(owner: type, name: str) -> threading.Event:
        happened = threading.Event()
        method = getattr(owner, name)

        def call(*arguments: object) -> Any:
            try:
                return method(*arguments)
            finally:
                happened.set()

        monkeypatch.setattr(owner, name, call)
        return happened

    return watch


@pytest.fixture
def let_record() -> Callable[[OrderEngine], None]:
    """Waits until the recorder has recorded what it was told before, and has told the others."""

    def wait(engine: OrderEngine) -> None:
        for _ in range(2):  # the first may be answered before the transaction that it came with, the second is not
            with pytest.raises(OrderNotFound):
                engine.cancel("none")

    return wait


@pytest.fixture
def leave_in_hand(database: Path) -> Callable[..., list[OrderRecord]]:
    """Leaves the database as an engine does that died with these orders in hand."""

    def leave(*order_ids: str, failures: int = 0) -> list[OrderRecord]:
        writer = open_writer(database, Durability.NORMAL)
        ledger = Ledger(writer)
        at = START_US
        recorded = ledger.record([make_order(order_id) for order_id in order_ids], [], at)
        records = [record for _, record in recorded.acceptances]

        def step(edge: lifecycle.Edge, **more: Any) -> None:
            moves = [move(record, edge, at, **more) for record in records]
            assert ledger.record([], moves, at).refused == []
            records[:] = [step.after for step in moves]

        for _ in range(failures):
            step(lifecycle.ASSIGN)
            step(lifecycle.RETURN, error="boom")
        step(lifecycle.ASSIGN)
        writer.close()
        return records

    return leave


@pytest.fixture
def assert_sound(database: Path) -> Callable[[], None]:
    """Fails where the audit of the test's database finds anything, or a total differs from its recount."""

    def check() -> None:
        readers = open_readers(database, 1)
        with readers.connection_context():
            assert audit(readers).faults == []
            assert queries.totals(readers) == queries.recount(readers)
        readers.close_all()

    return check


HANDLERS = """
import os, signal, time
from ordermill.engine import Order, Reject

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
        self.lock = __import__("threading").Lock()

def handle(order: Order) -> object:
    match order.item_ids[0]:
        case "die": os.kill(os.getpid(), signal.SIGKILL)
        case "exit": os._exit(3)
        case "system-exit": raise SystemExit(3)
        case "reject": raise Reject("nothing to pay")
        case "odd": raise Odd(1, 2)
        case "lock": return __import__("threading").Lock()
        case "pid": raise Reject(str(os.getpid()))
        case "nap": time.sleep(1)
        case "hang":
            while True:
                time.sleep(60)
"""


@pytest.fixture
def handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler of a module that other processes can import."""
    (tmp_path / "handlers_of_the_test.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("handlers_of_the_test", None)
    return __import__("handlers_of_the_test").handle


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits for something that nobody tells of."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    return wait
