"""All that decides what is next, in any mix, against a simple model: keys, queues, limits, pauses, times, crashes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Act, Action
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.limit import NO_LIMIT, Limit, parse_limits
from ordermill.store.domain.queue_settings import QueueSettings
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.ledger import Ledger
from ordermill.store.queues import write_queue
from ordermill.store.sqlite.database import open_writer

pytestmark = pytest.mark.slow

SECOND = 1_000_000
AGING_US = 10 * SECOND
LIMITS = "queue:b=2 20/s, user=2, user:u-1=1, metadata.shop=15/s"
QUEUES = ("default", "a", "b")
CONFIGURED = parse_limits(LIMITS)


@contextmanager
def new_database() -> Iterator[SqliteDatabase]:
    with tempfile.TemporaryDirectory() as folder:
        database = open_writer(Path(folder) / "orders.db", Durability.NORMAL)
        try:
            yield database
        finally:
            database.close()


class Dispatch(RuleBasedStateMachine):
    """Does whatever may be done to a queue, and looks at each claim with the eyes of a model that knows no index."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = new_database()
        self.database = self._opened.__enter__()
        self.now_us = SECOND
        self.number = 0
        self.orders: dict[str, OrderRecord] = {}
        self.queues = {name: QueueSettings(name) for name in QUEUES}
        self.begun: dict[str, list[int]] = {}  # by limit: when orders under it were begun

    def teardown(self) -> None:
        stored = {record.order_id: record for record in queries.page(self.database, limit=1_000)}
        assert {order_id: (record.status, record.attempts, record.order) for order_id, record in stored.items()} == {
            order_id: (record.status, record.attempts, record.order) for order_id, record in self.orders.items()
        }
        assert audit(self.database).faults == []
        self._opened.__exit__(None, None, None)

    @initialize(kept=st.sampled_from([0, 3, 100]))
    def start(self, kept: int) -> None:
        self.kept = kept
        self.ledger = Ledger(self.database, kept, limits=CONFIGURED)

    def take_note(self, recorded: Any) -> None:
        for step in recorded.moved:
            self.orders[step.after.order_id] = step.after

    def having(self, status: OrderStatus) -> list[OrderRecord]:
        return [record for record in self.orders.values() if record.status is status]

    def limit_of(self, name: str) -> Limit:
        if name.startswith("queue:"):
            settings = self.queues[name.removeprefix("queue:")]
            return settings.limit(CONFIGURED.get(name, NO_LIMIT))
        return CONFIGURED.get(name) or CONFIGURED.get(name.partition(":")[0], NO_LIMIT)

    def names_of(self, record: OrderRecord) -> list[str]:
        order = record.order
        names = [f"queue:{order.queue}", f"user:{order.user_id}"]
        if order.metadata is not None:
            names.append(f"metadata.shop:{order.metadata['shop']}")
        return [name for name in names if self.limit_of(name) != NO_LIMIT]

    def may_begin_at_the_rate(self, name: str, slack_us: int) -> bool:
        limit = self.limit_of(name)
        if limit.rate is None:
            return True
        # The generic cell rate algorithm, with all that was ever begun.
        interval_us, burst = SECOND / limit.rate, max(1, round(limit.rate / 10))
        next_us = 0.0
        for at_us in self.begun.get(name, []):
            next_us = max(next_us, at_us) + interval_us
        return next_us - (burst - 1) * interval_us <= self.now_us - slack_us

    def obstacles(self, record: OrderRecord, slack_us: int = -1) -> list[str]:
        """What keeps a Pending order from being begun, besides its turn.

        Args:
            record: the order.
            slack_us: by how much a rate may be late, since its times are whole microseconds; or early, if less than 0.
        """
        found = []
        if (record.ready_us or 0) > self.now_us:
            found.append("time")
        if self.queues[record.order.queue].is_paused:
            found.append("pause")
        if record.order.key is not None and any(
            other.order.key == record.order.key and other.sequence < record.sequence and not other.status.is_terminal
            for other in self.orders.values()
        ):
            found.append("key")
        in_hand = Counter(name for other in self.having(OrderStatus.PROCESSING) for name in self.names_of(other))
        for name in self.names_of(record):
            limit = self.limit_of(name)
            if limit.concurrency is not None and in_hand[name] >= limit.concurrency:
                found.append(f"{name} at once")
            if not self.may_begin_at_the_rate(name, slack_us):
                found.append(f"{name} a second")
        return found

    @rule(
        count=st.integers(1, 4),
        user=st.integers(1, 3),
        queue=st.sampled_from(QUEUES),
        priority=st.sampled_from([0, 4, 9]),
        key=st.sampled_from([None, None, "k-1", "k-2"]),
        shop=st.sampled_from([None, None, "s-1", 2]),
        wait_us=st.sampled_from([None, None, 0, SECOND // 5, 3 * SECOND]),
    )
    def accept(
        self, count: int, user: int, queue: str, priority: int, key: str | None, shop: Any, wait_us: int | None
    ) -> None:
        orders = []
        for _ in range(count):
            self.number += 1
            orders.append(
                make_order(
                    f"o-{self.number}",
                    user_id=f"u-{user}",
                    queue=queue,
                    priority=priority,
                    key=key,
                    metadata=None if shop is None else {"shop": shop},
                    not_before=None if wait_us is None else utc(self.now_us + wait_us),
                )
            )
        for _, record in self.ledger.record(orders, [], self.now_us).acceptances:
            self.orders[record.order_id] = record

    @rule(room=st.integers(1, 5))
    def claim(self, room: int) -> None:
        for _ in range(100):
            claimed = self.take(room)
            room -= len(claimed)
            if not room:
                return
            if self.ledger.next_ready_us is None or self.ledger.next_ready_us > self.now_us:
                break
        else:
            raise AssertionError("a claim is worth another one for ever")
        # Nothing that could be begun is left: what is limited is in the way of no other.
        left = {record.order_id: self.obstacles(record, 100) for record in self.having(OrderStatus.PENDING)}
        assert all(left.values()), left

    def take(self, room: int) -> list[OrderRecord]:
        recorded = self.ledger.record([], [], self.now_us, claim=Claim(room, self.now_us, aging_us=AGING_US))
        claimed = [step.after for step in recorded.moved]
        for record in claimed:
            before = self.orders[record.order_id]
            assert before.status is OrderStatus.PENDING
            assert self.obstacles(before) == [], record.order_id
            self.orders[record.order_id] = record
            for name in self.names_of(record):
                self.begun.setdefault(name, []).append(self.now_us)
        return claimed

    def end(self, data: Any, how: Callable[[OrderRecord], Any]) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PROCESSING)))
        self.take_note(self.ledger.record([], [how(record)], self.now_us))

    @precondition(lambda self: self.having(OrderStatus.PROCESSING))
    @rule(data=st.data())
    def complete(self, data: Any) -> None:
        self.end(data, lambda record: move(record, lifecycle.COMPLETE, self.now_us))

    @precondition(lambda self: self.having(OrderStatus.PROCESSING))
    @rule(data=st.data(), wait_us=st.sampled_from([0, SECOND // 3]))
    def fail(self, data: Any, wait_us: int) -> None:
        ready_us = self.now_us + wait_us
        self.end(data, lambda record: move(record, lifecycle.RETURN, self.now_us, ready_us=ready_us, error="boom"))

    @precondition(lambda self: self.having(OrderStatus.PROCESSING))
    @rule(data=st.data())
    def fail_for_good(self, data: Any) -> None:
        self.end(data, lambda record: move(record, lifecycle.FAIL, self.now_us, error="boom"))

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        self.take_note(self.ledger.record([], [move(record, lifecycle.CANCEL, self.now_us)], self.now_us))

    @precondition(lambda self: self.having(OrderStatus.PENDING))
    @rule(data=st.data(), queue=st.sampled_from(QUEUES), priority=st.sampled_from([0, 4, 9]))
    def move_to_another_line(self, data: Any, queue: str, priority: int) -> None:
        record = data.draw(st.sampled_from(self.having(OrderStatus.PENDING)))
        step = reschedule(record, Schedule(priority, queue=queue), self.now_us, self.now_us)
        self.take_note(self.ledger.record([], [step], self.now_us))

    @rule()
    def crash(self) -> None:
        """The engine dies, and another one takes back what was in hand."""
        self.ledger = Ledger(self.database, self.kept, limits=CONFIGURED)
        for record in self.having(OrderStatus.PROCESSING):
            step = move(record, lifecycle.RETURN, self.now_us, "not begun", ready_us=self.now_us)
            self.take_note(self.ledger.record([], [step], self.now_us))

    @rule(queue=st.sampled_from(QUEUES), is_paused=st.booleans(), concurrency=st.sampled_from([None, None, 1, 3]))
    def set_queue(self, queue: str, is_paused: bool, concurrency: int | None) -> None:
        self.queues[queue] = QueueSettings(queue, is_paused, concurrency)
        write_queue(self.database, self.queues[queue], Act(Action.SET_QUEUE, queue, None), self.now_us)
        self.ledger.obey_queues()

    @rule(seconds=st.sampled_from([0.01, 0.07, 0.2, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND)


DispatchTest = Dispatch.TestCase
DispatchTest.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


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
    with new_database() as database:
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
