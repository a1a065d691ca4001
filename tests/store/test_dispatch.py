"""All that decides what is next, in any mix, against a simple model: keys, queues, limits, pauses, times, crashes, and
several engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
from ordermill.store.domain.limit import NO_LIMIT, Limit, parse_limits
from ordermill.store.domain.order import Order
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.queue_settings import QueueSettings
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.ledger import Ledger
from ordermill.store.queues import write_queue

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

    def __init__(self, address: Path | str, kept: int) -> None:
        self.database = connect(address).open_writer(Durability.NORMAL)
        self.kept = kept
        self.join()

    def join(self) -> None:
        """Begin a run, whose lease is over whenever another engine looks."""
        self.number = engines.join(self.database, 1, None, 8, 1)
        if self.database.is_shared:
            self.database.act_as(self.number, 60)
        self.ledger = Ledger(self.database, self.kept, limits=CONFIGURED)
        self.unseen: dict[str, list[QueueSettings]] = {}  # by queue: what others have set since this one looked

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
            self.opened.__exit__(None, None, None)

    @initialize(kept=st.sampled_from([0, 3, 100]))
    def start(self, kept: int) -> None:
        for _ in range(self.count):
            self.engines.append(EngineAtWork(self.address, kept))

    def engine(self, number: int) -> EngineAtWork:
        """One of those at work."""
        return self.engines[number % len(self.engines)]

    def take_note(self, recorded: Recorded) -> None:
        for _, record in recorded.acceptances:
            self.orders[record.order_id] = record
        for step in recorded.moved:
            self.orders[step.after.order_id] = step.after
            self.owners.pop(step.after.order_id, None)

    def having(self, status: OrderStatus) -> list[OrderRecord]:
        return [record for record in self.orders.values() if record.status is status]

    def in_hand(self) -> list[OrderRecord]:
        """What those at work have in hand."""
        return [self.orders[order_id] for order_id, owner in self.owners.items() if owner in self.engines]

    def limit_of(self, name: str, settings: QueueSettings) -> Limit:
        if name.startswith("queue:"):
            return settings.limit(CONFIGURED.get(name, NO_LIMIT))
        return CONFIGURED.get(name) or CONFIGURED.get(name.partition(":")[0], NO_LIMIT)

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
        self.take_note(self.engine(by).ledger.record(self.new_orders(data), [], self.now_us))

    @rule(room=st.integers(1, 5), by=ENGINE)
    def claim_what_is_known(self, room: int, by: int) -> None:
        """An engine need not know of all that could be begun, but begins nothing that must not be."""
        engine = self.engine(by)
        self.check_claimed(engine, engine.ledger.record([], [], self.now_us, claim=self.claim_for(room)))

    @rule(room=st.integers(1, 5), by=ENGINE)
    def claim(self, room: int, by: int) -> None:
        engine = self.engine(by)
        engine.look_around()
        for _ in range(100):
            recorded = engine.ledger.record([], [], self.now_us, claim=self.claim_for(room))
            self.check_claimed(engine, recorded)
            room -= len(recorded.moved)
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

    def claim_for(self, room: int) -> Claim:
        return Claim(room, self.now_us, aging_us=AGING_US)

    def check_claimed(self, engine: EngineAtWork, recorded: Recorded) -> None:
        self.is_at_odds = True
        for step in recorded.moved:
            record = step.after
            before = self.orders[record.order_id]
            assert before.status is OrderStatus.PENDING
            assert (record.order, record.attempts) == (before.order, before.attempts + 1)
            queue = before.order.queue
            known = [*engine.unseen.get(queue, []), self.queues[queue]]
            obstacles = [self.obstacles(before, settings) for settings in known]
            assert [] in obstacles, (record.order_id, obstacles)
            self.orders[record.order_id] = record
            self.owners[record.order_id] = engine
            for name in self.names_of(record):
                self.begun.setdefault(name, []).append(self.now_us)
        self.is_at_odds = False

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
        self.take_note(owner.ledger.record([], [step], self.now_us))

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data(), by=ENGINE)
    def cancel(self, data: Any, by: int) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        step = move(record, lifecycle.CANCEL, self.now_us)
        self.take_note(self.engine(by).ledger.record([], [step], self.now_us))

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data(), queue=st.sampled_from(QUEUES), priority=st.sampled_from([0, 4, 9]), by=ENGINE)
    def move_to_another_line(self, data: Any, queue: str, priority: int, by: int) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        step = reschedule(record, Schedule(priority, queue=queue), self.now_us, self.now_us)
        self.take_note(self.engine(by).ledger.record([], [step], self.now_us))

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
        for orders, claim in (([make_order("late")], None), ([], self.claim_for(1))):
            with pytest.raises(StoreUnavailable):
                engine.ledger.record(orders, [], self.now_us, claim=claim)
        engine.join()
        self.engines.append(engine)

    def settle(self, by: EngineAtWork, dead: list[EngineAtWork]) -> None:
        left = queries.left_behind(by.database, 1_000)
        assert sorted(record.order_id for record in left) == sorted(
            order_id for order_id, owner in self.owners.items() if owner in dead
        )
        moves = [move(record, lifecycle.RETURN, self.now_us, "not begun", ready_us=self.now_us) for record in left]
        self.take_note(by.ledger.record([], moves, self.now_us))

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
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from(QUEUES), st.integers(0, 9), st.integers(0, 4 * AGING_US)), min_size=1, max_size=25
    ),
    room=st.integers(1, 4),
)
def test_priority_and_waiting_count_alike_in_all_queues_and_equals_go_in_the_sequence_of_their_arrival(
    arrivals: list[tuple[str, int, int]], room: int
) -> None:
    now_us, since = SECOND, {}
    with new_file() as path, closing(connect(path).open_writer(Durability.NORMAL)) as database:
        ledger = Ledger(database, 3)
        for number, (queue, priority, wait_us) in enumerate(arrivals):
            now_us += wait_us
            order = make_order(f"o-{number}", queue=queue, priority=priority)
            ledger.record([order], [], now_us)
            since[number] = (now_us, priority)
        taken: list[int] = []
        while claimed := ledger.record([], [], now_us, claim=Claim(room, now_us, aging_us=AGING_US)).moved:
            taken += [int(step.after.order_id.removeprefix("o-")) for step in claimed]

    assert taken == sorted(since, key=lambda number: (since[number][0] - AGING_US * since[number][1], number))
    for place, number in enumerate(taken):  # nothing is overtaken by what came later than all steps of aging after it
        assert all(since[other][0] <= since[number][0] + 9 * AGING_US for other in taken[:place] if other > number)
