"""All that decides what is next, in any mix, against a simple model: keys, queues, limits, pauses, times, crashes, and
several engines."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ordermill.engine.testing import make_order
from ordermill.store import engines, queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Act, Action
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import StoreUnavailable
from ordermill.store.domain.lifecycle import Edge, OrderStatus
from ordermill.store.domain.limit import NO_LIMIT, NO_LIMITS, Limit, Limits, parse_limits
from ordermill.store.domain.order import Order
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.queue_settings import QueueSettings
from ordermill.store.domain.record import Move, OrderRecord, move, utc
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.ledger import Ledger
from ordermill.store.queues import write_queue
from ordermill.store.statements import run

SECOND = 1_000_000
AGING_US = 10 * SECOND
LIMITS = "queue:b=2 20/s, user=2, user:u-1=1, metadata.shop=15/s"
QUEUES = ("default", "a", "b")
CONFIGURED = parse_limits(LIMITS)
ENGINE = st.integers(0, 5)
"""Which of up to three engines does something."""
ENDS = (lifecycle.COMPLETE, lifecycle.COMPLETE, lifecycle.RETURN, lifecycle.FAIL)


NewDatabase = Callable[[], AbstractContextManager[Path | str]]


@contextmanager
def new_file() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder) / "orders.db"


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Makes databases of the kind that the test is about."""
    new: NewDatabase = request.getfixturevalue("new_postgres") if request.param == "postgres" else new_file
    return new


SQLITE_AND_POSTGRES = pytest.mark.parametrize("new_database", ["sqlite", "postgres"], indirect=True)


class EngineAtWork:
    """What an engine has of the database: a connection, a run, and a ledger with what that remembers."""

    def __init__(self, address: Path | str, kept: int, limits: Limits) -> None:
        self.database = connect(address).open_writer(Durability.NORMAL)
        self.kept, self.limits = kept, limits
        self.join()

    def join(self) -> None:
        """Begin a run, whose lease is over whenever another engine looks."""
        self.number = engines.join(self.database, 1, None, 8, 1)
        self.unseen: dict[str, list[QueueSettings]] = {}  # by queue: what others have set since this one looked
        if self.database.is_shared:
            self.database.act_as(self.number, 60)
            self.database.wait_at_most(60)
            ((self.session,),) = run(self.database, "SELECT pg_backend_pid()").fetchall()
        self.ledger = Ledger(self.database, self.kept, limits=self.limits)

    def look_around(self) -> None:
        """See what the others have done."""
        self.ledger.look_around()
        self.unseen = {}


class Dispatch(RuleBasedStateMachine):
    """Does whatever may be done to a queue, and looks at each claim with the eyes of a model that knows no index.

    Args:
        new_database: makes a database.
        engines: how many work over it. Each sees what others have done when it looks around, or when it has to.
    """

    def __init__(self, new_database: NewDatabase, engines: int) -> None:
        super().__init__()
        self.opened = new_database()
        self.address = self.opened.__enter__()
        self.count = engines
        self.engines: list[EngineAtWork] = []
        self.silent: list[EngineAtWork] = []  # those that are not heard of, and not taken for dead yet
        self.lost: list[EngineAtWork] = []  # those that were taken for dead
        self.now_us = SECOND
        self.number = 0
        self.orders: dict[str, OrderRecord] = {}
        self.owners: dict[str, EngineAtWork] = {}  # of what is Processing
        self.queues = {name: QueueSettings(name) for name in QUEUES}
        self.watcher: Any = None  # a connection that looks on
        self.is_at_odds = False  # with what an engine has done
        self.begun: dict[str, list[int]] = {}  # by limit: when orders under it were begun

    def teardown(self) -> None:
        try:
            if not self.is_at_odds:  # which says more
                database = self.engines[0].database
                stored = {record.order_id: record for record in queries.page(database, limit=1_000)}
                assert {name: (record.status, record.attempts, record.order) for name, record in stored.items()} == {
                    name: (record.status, record.attempts, record.order) for name, record in self.orders.items()
                }
                assert audit(database).faults == []
        finally:
            for engine in (*self.engines, *self.silent, *self.lost):
                engine.database.close()
            if self.watcher is not None:
                self.watcher.close_all()
            self.opened.__exit__(None, None, None)

    @initialize(kept=st.sampled_from([0, 3, 100]), has_limits=st.sampled_from([True, True, False]))
    def start(self, kept: int, has_limits: bool) -> None:
        self.limits = CONFIGURED if has_limits else NO_LIMITS
        for _ in range(self.count):
            self.engines.append(EngineAtWork(self.address, kept, self.limits))

    def engine(self, number: int) -> EngineAtWork:
        """One of those at work."""
        return self.engines[number % len(self.engines)]

    def record(self, by: EngineAtWork, orders: Sequence[Order] = (), moves: Sequence[Move] = (), room: int = 0) -> int:
        """Have an engine record something and take orders; what that must not do, it has not done.

        Returns:
            How many orders it has taken.
        """
        return self.take_note(by, self.have_recorded(by, orders, moves, room))

    def have_recorded(
        self, by: EngineAtWork, orders: Sequence[Order] = (), moves: Sequence[Move] = (), room: int = 0
    ) -> Recorded:
        claim = Claim(room, self.now_us, aging_us=AGING_US) if room else None
        return by.ledger.record(orders, moves, self.now_us, claim=claim)

    def take_note(self, by: EngineAtWork, recorded: Recorded) -> int:
        self.is_at_odds = True
        for _, record in recorded.acceptances:
            self.orders[record.order_id] = record
        claimed = 0
        for step in recorded.moved:
            if step.edge is lifecycle.ASSIGN:
                self.check_claimed(by, step.after)
                claimed += 1
            else:
                self.orders[step.after.order_id] = step.after
                self.owners.pop(step.after.order_id, None)
        self.is_at_odds = False
        return claimed

    def check_claimed(self, by: EngineAtWork, record: OrderRecord) -> None:
        before = self.orders[record.order_id]
        assert before.status is OrderStatus.PENDING
        assert (record.order, record.attempts) == (before.order, before.attempts + 1)
        queue = before.order.queue
        known = [*by.unseen.get(queue, []), self.queues[queue]]
        obstacles = [self.obstacles(before, settings) for settings in known]
        assert [] in obstacles, (record.order_id, obstacles)
        self.orders[record.order_id] = record
        self.owners[record.order_id] = by
        for name in self.names_of(record):
            self.begun.setdefault(name, []).append(self.now_us)

    def having(self, status: OrderStatus) -> list[OrderRecord]:
        return [record for record in self.orders.values() if record.status is status]

    def in_hand(self) -> list[OrderRecord]:
        """What those at work have in hand."""
        return [self.orders[order_id] for order_id, owner in self.owners.items() if owner in self.engines]

    def limit_of(self, name: str, settings: QueueSettings) -> Limit:
        if name.startswith("queue:"):
            return settings.limit(self.limits.get(name, NO_LIMIT))
        return self.limits.get(name) or self.limits.get(name.partition(":")[0], NO_LIMIT)

    def names_of(self, record: OrderRecord) -> list[str]:
        order = record.order
        names = [f"queue:{order.queue}", f"user:{order.user_id}"]
        return names if order.metadata is None else [*names, f"metadata.shop:{order.metadata['shop']}"]

    def may_begin_at_the_rate(self, name: str, limit: Limit, slack_us: int) -> bool:
        if limit.rate is None:
            return True
        # The generic cell rate algorithm, with all that was ever begun.
        interval_us, burst = SECOND / limit.rate, max(1, round(limit.rate / 10))
        next_us = 0.0
        for at_us in self.begun.get(name, []):
            next_us = max(next_us, at_us) + interval_us
        return next_us - (burst - 1) * interval_us <= self.now_us - slack_us

    def obstacles(self, record: OrderRecord, settings: QueueSettings, slack_us: int = -1) -> list[str]:
        """What keeps a Pending order from being begun, besides its turn.

        Args:
            record: the order.
            settings: what is set about its queue.
            slack_us: by how much a rate may be late, since its times are whole microseconds; or early, if less than 0.
        """
        found = []
        if (record.ready_us or 0) > self.now_us:
            found.append("time")
        if settings.is_paused:
            found.append("pause")
        if record.order.key is not None and any(
            other.order.key == record.order.key and other.sequence < record.sequence and not other.status.is_terminal
            for other in self.orders.values()
        ):
            found.append("key")
        in_hand = Counter(name for other in self.having(OrderStatus.PROCESSING) for name in self.names_of(other))
        for name in self.names_of(record):
            limit = self.limit_of(name, settings)
            if limit.concurrency is not None and in_hand[name] >= limit.concurrency:
                found.append(f"{name} at once")
            if not self.may_begin_at_the_rate(name, limit, slack_us):
                found.append(f"{name} a second")
        return found

    def new_orders(self, data: Any) -> list[Order]:
        user, queue = f"u-{data.draw(st.integers(1, 3))}", data.draw(st.sampled_from(QUEUES))
        priority, key = data.draw(st.sampled_from([0, 4, 9])), data.draw(st.sampled_from([None, None, "k-1", "k-2"]))
        shop = data.draw(st.sampled_from([None, None, "s-1", 2]))
        wait_us = data.draw(st.sampled_from([None, None, 0, SECOND // 5, 3 * SECOND]))
        orders = []
        for _ in range(data.draw(st.integers(1, 4))):
            self.number += 1
            orders.append(
                make_order(
                    f"o-{self.number}",
                    user_id=user,
                    queue=queue,
                    priority=priority,
                    key=key,
                    metadata=None if shop is None else {"shop": shop},
                    not_before=None if wait_us is None else utc(self.now_us + wait_us),
                )
            )
        return orders

    @rule(data=st.data(), by=ENGINE)
    def accept(self, data: Any, by: int) -> None:
        self.record(self.engine(by), self.new_orders(data))

    @rule(room=st.integers(1, 5), by=ENGINE)
    def claim_what_is_known(self, room: int, by: int) -> None:
        """An engine need not know of all that could be begun, but begins nothing that must not be."""
        self.record(self.engine(by), room=room)

    @rule(room=st.integers(1, 5), by=ENGINE)
    def claim(self, room: int, by: int) -> None:
        engine = self.engine(by)
        engine.look_around()
        for _ in range(100):
            room -= self.record(engine, room=room)
            if not room:
                return
            if engine.ledger.next_ready_us is None or engine.ledger.next_ready_us > self.now_us:
                break
        else:
            raise AssertionError("a claim is worth another one for ever")
        # Nothing that could be begun is left: what is limited is in the way of no other.
        left = {
            record.order_id: self.obstacles(record, self.queues[record.order.queue], 100)
            for record in self.having(OrderStatus.PENDING)
        }
        assert all(left.values()), left

    @precondition(lambda self: self.in_hand())
    @rule(data=st.data(), edge=st.sampled_from(ENDS))
    def end(self, data: Any, edge: Edge) -> None:
        """A handler is at its end, or was let go of before it had begun."""
        record = data.draw(st.sampled_from(self.in_hand()))
        owner = self.owners[record.order_id]
        ready_us, error = None, None
        if edge is lifecycle.RETURN:
            error = data.draw(st.sampled_from(["boom", None]))
            ready_us = self.now_us + (data.draw(st.sampled_from([0, SECOND // 3])) if error else 0)
        elif edge is lifecycle.FAIL:
            error = "boom"
        step = move(record, edge, self.now_us, ready_us=ready_us, error=error)
        self.record(owner, moves=[step])

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data(), by=ENGINE)
    def cancel(self, data: Any, by: int) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        step = move(record, lifecycle.CANCEL, self.now_us)
        self.record(self.engine(by), moves=[step])

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data(), queue=st.sampled_from(QUEUES), priority=st.sampled_from([0, 4, 9]), by=ENGINE)
    def move_to_another_line(self, data: Any, queue: str, priority: int, by: int) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        step = reschedule(record, Schedule(priority, queue=queue), self.now_us, self.now_us)
        self.record(self.engine(by), moves=[step])

    @rule(data=st.data(), by=ENGINE)
    def have_trouble(self, data: Any, by: int) -> None:
        """An engine dies, is cut off or stands still, is taken for dead, or comes back."""
        possible = [self.crash]
        possible += [self.fall_silent] * (len(self.engines) > 1)
        possible += [self.take_for_dead, self.be_heard_of] * bool(self.silent)
        possible += [self.come_back] * bool(self.lost)
        data.draw(st.sampled_from(possible))(self.engine(by))

    def crash(self, engine: EngineAtWork) -> None:
        """Another one, begun in its place, takes back what it had in hand."""
        before = engine.number
        engine.join()
        if engine.database.is_shared:
            assert engines.declare_lost(engine.database, before, is_known=True)
        self.settle(engine, [engine])

    def fall_silent(self, engine: EngineAtWork) -> None:
        self.engines.remove(engine)
        self.silent.append(engine)

    def be_heard_of(self, _: EngineAtWork) -> None:
        """A silent engine goes on before anybody has taken it for dead."""
        self.engines.append(self.silent.pop())

    def take_for_dead(self, engine: EngineAtWork) -> None:
        """What those have in hand whose lease is over is taken back, and nothing else."""
        for silent in self.silent:
            assert engines.declare_lost(engine.database, silent.number, is_known=False)
        self.settle(engine, self.silent)
        self.lost += self.silent
        self.silent.clear()

    def come_back(self, _: EngineAtWork) -> None:
        """A lost engine may record nothing any more, and joins anew."""
        engine = self.lost.pop()
        for orders, room in (([make_order("late")], 0), ([], 1)):
            with pytest.raises(StoreUnavailable):
                self.have_recorded(engine, orders, room=room)
        engine.join()
        self.engines.append(engine)

    def settle(self, by: EngineAtWork, dead: list[EngineAtWork]) -> None:
        left = queries.left_behind(by.database, 1_000)
        assert sorted(record.order_id for record in left) == sorted(
            order_id for order_id, owner in self.owners.items() if owner in dead
        )
        moves = [move(record, lifecycle.RETURN, self.now_us, "not begun", ready_us=self.now_us) for record in left]
        self.record(by, moves=moves)

    @precondition(lambda self: len(self.engines) > 1)
    @rule(data=st.data(), by=ENGINE)
    def act_at_once(self, data: Any, by: int) -> None:
        """One engine begins a transaction when that of another one has done all but end."""
        first, second = self.engine(by), self.engine(by + 1)
        acts = [self.draw_act(data, engine) for engine in (first, second)]
        held, may_end = threading.Event(), threading.Event()

        def commit_later(commit: Callable[[], None] = first.database.commit) -> None:
            held.set()
            assert may_end.wait(60)
            commit()

        with patch.object(first.database, "commit", commit_later), ThreadPoolExecutor(2) as threads:
            began = threads.submit(acts[0])
            assert held.wait(60)
            followed = threads.submit(acts[1])
            while not followed.done() and not self.waits_for(first, second):
                sleep(0.001)
            may_end.set()
        self.take_note(first, began.result())
        self.take_note(second, followed.result())

    def draw_act(self, data: Any, by: EngineAtWork) -> Callable[[], Recorded]:
        moves = [move(record, lifecycle.CANCEL, self.now_us) for record in self.having(OrderStatus.PENDING)]
        moves += [
            move(self.orders[order_id], lifecycle.COMPLETE, self.now_us)
            for order_id, owner in self.owners.items()
            if owner is by
        ]
        if moves and data.draw(st.booleans()):
            return partial(self.have_recorded, by, moves=[data.draw(st.sampled_from(moves))])
        if data.draw(st.booleans()):
            return partial(self.have_recorded, by, self.new_orders(data))
        return partial(self.have_recorded, by, room=data.draw(st.integers(1, 5)))

    def waits_for(self, first: EngineAtWork, second: EngineAtWork) -> bool:
        if self.watcher is None:
            self.watcher = connect(self.address).open_readers(1)
        with self.watcher.connection_context():
            waits = run(self.watcher, "SELECT ? = ANY(pg_blocking_pids(?))", (first.session, second.session))
            return bool(waits.fetchone()[0])

    @rule(
        queue=st.sampled_from(QUEUES),
        is_paused=st.sampled_from([False, False, True]),
        concurrency=st.sampled_from([None, None, 1, 3]),
        by=ENGINE,
    )
    def set_queue(self, queue: str, is_paused: bool, concurrency: int | None, by: int) -> None:
        setter = self.engine(by)
        for engine in (*self.engines, *self.silent, *self.lost):
            engine.unseen.setdefault(queue, []).append(self.queues[queue])
        self.queues[queue] = QueueSettings(queue, is_paused, concurrency)
        write_queue(setter.database, self.queues[queue], Act(Action.SET_QUEUE, queue, None), self.now_us)
        setter.ledger.obey_queues()
        setter.unseen = {}

    @rule(seconds=st.sampled_from([0.01, 0.07, 0.2, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND)


def run_machine(machine: Callable[[], Dispatch], examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis gives it no types
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@SQLITE_AND_POSTGRES
def test_a_few_mixes_of_all_that_decides_what_is_next(new_database: NewDatabase) -> None:
    run_machine(lambda: Dispatch(new_database, 1), 3, 30)


@pytest.mark.parametrize("new_database", ["postgres"], indirect=True)
def test_a_few_mixes_with_two_engines(new_database: NewDatabase) -> None:
    run_machine(lambda: Dispatch(new_database, 2), 3, 30)


@pytest.mark.slow
@SQLITE_AND_POSTGRES
def test_many_mixes_of_all_that_decides_what_is_next(new_database: NewDatabase) -> None:
    run_machine(lambda: Dispatch(new_database, 1), 40, 40)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("new_database", ["postgres"], indirect=True)
def test_many_mixes_with_several_engines(new_database: NewDatabase, count: int) -> None:
    run_machine(lambda: Dispatch(new_database, count), 25, 50)


@pytest.mark.slow
@pytest.mark.parametrize(("new_database", "count"), [("sqlite", 1), ("postgres", 3)], indirect=["new_database"])
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    arrivals=st.lists(
        st.tuples(ENGINE, st.sampled_from(QUEUES), st.integers(0, 9), st.integers(0, 4 * AGING_US)),
        min_size=1,
        max_size=25,
    ),
    room=st.integers(1, 4),
)
def test_priority_and_waiting_count_alike_in_all_queues_and_equals_go_in_the_sequence_of_their_arrival(
    new_database: NewDatabase, count: int, arrivals: list[tuple[int, str, int, int]], room: int
) -> None:
    now_us, since = SECOND, {}
    with new_database() as address, ExitStack() as opened:
        working = [EngineAtWork(address, 3, NO_LIMITS) for _ in range(count)]
        for engine in working:
            opened.callback(engine.database.close)
        for number, (by, queue, priority, wait_us) in enumerate(arrivals):
            now_us += wait_us
            engine = working[by % count]
            engine.look_around()
            engine.ledger.record([make_order(f"o-{number}", queue=queue, priority=priority)], [], now_us)
            since[number] = (now_us, priority)
        taken: list[int] = []
        for engine in cycle(working):
            engine.look_around()
            claimed = engine.ledger.record([], [], now_us, claim=Claim(room, now_us, aging_us=AGING_US)).moved
            taken += [int(step.after.order_id.removeprefix("o-")) for step in claimed]
            if not claimed:
                break

    assert taken == sorted(since, key=lambda number: (since[number][0] - AGING_US * since[number][1], number))
    for place, number in enumerate(taken):  # nothing is overtaken by what came later than all steps of aging after it
        assert all(since[other][0] <= since[number][0] + 9 * AGING_US for other in taken[:place] if other > number)
