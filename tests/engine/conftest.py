"""Handlers and a database that a test can hold."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import Durability, Order, OrderEngine, OrderNotFound
from ordermill.engine.actors.recorder import RecorderActor
from ordermill.engine.testing import START_US, Held, WatchedClock, make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.record import Move, OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.reader import Reader


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

        def wait(orders: Sequence[Order], moves: Sequence[Move]) -> None:
            self.transactions.append((len(orders), len(moves)))
            if when(orders, moves) and not self._released.is_set():
                self._reached.set()
                assert self._released.wait(60), "the test has not released the ledger"

        self._before_each(wait)

    def wait_until_held(self) -> None:
        """Wait until a transaction is held up."""
        assert self._reached.wait(60)

    def release(self) -> None:
        """Let everything go, now and from now on."""
        self._released.set()

    def fail_once(self, error: BaseException, when: Callable[[Sequence[Order], Sequence[Move]], bool]) -> None:
        """Have the first transaction of such orders and moves fail."""
        errors = [error]

        def fail(orders: Sequence[Order], moves: Sequence[Move]) -> None:
            if errors and when(orders, moves):
                raise errors.pop()

        self._before_each(fail)

    def fail(self, error: BaseException, when: Callable[[Sequence[Order], Sequence[Move]], bool]) -> None:
        """Have each transaction of such orders and moves fail until the release."""

        def fail(orders: Sequence[Order], moves: Sequence[Move]) -> None:
            if when(orders, moves) and not self._released.is_set():
                raise error

        self._before_each(fail)

    def _before_each(self, act: Callable[[Sequence[Order], Sequence[Move]], None]) -> None:
        def record(
            ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: Any, **named: Any
        ) -> Recorded:
            act(orders, moves)
            return self._original(ledger, orders, moves, *more, **named)

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
def only_claims(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Has orders claimed in transactions of their own, and tells them: called with the arguments of `Ledger.record`."""
    plan_claim = RecorderActor._plan_claim

    def plan_apart(recorder: RecorderActor) -> Claim | None:
        is_apart = not recorder._unsettled or not (recorder._unsettled[0].orders or recorder._unsettled[0].moves)
        return plan_claim(recorder) if is_apart else None

    def only_claims(ledger: Ledger, orders: Sequence[Order], moves: Sequence[Move], *more: object) -> bool:
        is_claim = any(isinstance(argument, Claim) for argument in more)
        return is_claim and not orders and not moves and queries.first_in_line(ledger._database) is not None

    monkeypatch.setattr(RecorderActor, "_plan_claim", plan_apart)
    return only_claims


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
        writer = connect(database).open_writer(Durability.NORMAL)
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
        with Reader(connect(database), 1) as reader:
            assert reader.read(audit).faults == []
            assert reader.read(lambda readers: queries.totals(readers) == queries.recount(readers))

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
