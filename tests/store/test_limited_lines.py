"""The lines in memory under limits: whatever waits and whatever ends, they give the next order as the database does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordermill.engine.testing import make_order
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.key_policy import KeyPolicy
from ordermill.store.domain.limit import Limits, parse_limits
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.limited_lines import LimitedLines
from ordermill.store.limits import Limits as LimitsInDatabase
from ordermill.store.queues import Queues, priority_of
from ordermill.store.rehearsals import backlog
from ordermill.store.sqlite.database import open_writer
from ordermill.store.writer import Writer

HOUR_US = 3_600_000_000
STEP_US = 37_000  # no two orders count alike, and a rate lets some begin meanwhile
LIMITS = [
    "queue:mail=1",
    "queue:mail=2 9/s, queue:default=3",
    "user=1",
    "user=2 5/s, user:u-2=1",
    "metadata.provider=1 4/s, user=2",
    "queue:mail=2, metadata.provider=2 20/s, metadata.provider:a=1, user:u-1=1 3/s",
]
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["u-1", "u-2", "u-3"]),
        st.sampled_from([0, 4, 4, 4, 9]),
        st.sampled_from(["default", "mail"]),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 3),  # how many are claimed afterwards
        st.integers(0, 2),  # how many of those that are Processing are completed before
        st.integers(1, 9),  # how many steps of time it takes
    ),
    max_size=30,
)


@contextmanager
def a_writer() -> Iterator[Writer]:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder) / "orders.db", Durability.NORMAL)
        try:
            yield writer
        finally:
            writer.close()


class Real:
    """The queue in the database, one claim for each order."""

    def __init__(self, writer: Writer, limits: Limits) -> None:
        self._writer, self._limits = writer, limits
        self.now_us = HOUR_US
        self.processing: list[OrderRecord] = []
        self.restart()

    def restart(self) -> None:
        self._ledger = Ledger(self._writer, 100, limits=self._limits)

    def accept(self, order_id: str, user: str, priority: int, queue: str, provider: str | None) -> OrderRecord:
        metadata = None if provider is None else {"provider": provider}
        order = make_order(order_id, user_id=user, priority=priority, queue=queue, metadata=metadata)
        ((_, record),) = self._ledger.record([order], (), self.now_us).acceptances
        return record

    def claim(self) -> OrderRecord | None:
        while True:
            claim = Claim(1, self.now_us, aging_us=HOUR_US)
            moved = self._ledger.record((), (), self.now_us, ready_us=self.now_us, claim=claim).moved
            if moved:
                self.processing.append(moved[0].after)
                return moved[0].after
            again_us = self._ledger.next_ready_us
            if again_us is None or again_us > self.now_us:
                return None

    def complete(self) -> OrderRecord:
        record = self.processing.pop(0)
        self._ledger.record((), [move(record, lifecycle.COMPLETE, self.now_us)], self.now_us)
        return record


class InMemory:
    """The same in memory, from what the database holds at this moment."""

    def __init__(self, writer: Writer, limits: Limits, now_us: int) -> None:
        found = backlog(writer, KeyPolicy.HOLD, limits, now_us)
        assert found.limits is not None
        standing, slots = found.standing(HOUR_US, None)
        self._names = [found.limited_by[slot] if found.limited_by else () for slot in slots]
        self._sequences = [found.sequences[slot] for slot in slots]
        self._lines = LimitedLines(standing, {}, found.limits, self._names.__getitem__)
        for name, rank, slot in found.parked:
            line, user, sequence = found.lines[slot], found.users[slot], found.sequences[slot]
            since_us = found.since_us[slot] - HOUR_US * priority_of(line)
            self._lines.park(name, line, (rank, sequence, since_us, len(self._names), user))
            self._note(sequence, found.limited_by[slot] if found.limited_by else ())
        for _, slot in found.in_hand:
            self._lines.note_begun(found.lines[slot], found.limited_by[slot] if found.limited_by else ())

    def _note(self, sequence: int, names: Sequence[str]) -> None:
        self._names.append(names)
        self._sequences.append(sequence)

    def accept(self, record: OrderRecord, line: int, names: Sequence[str], now_us: int) -> None:
        slot = len(self._names)
        self._note(record.sequence, names)
        since_us = now_us - HOUR_US * record.order.priority
        self._lines.join(slot, record.sequence, line, record.order.user_id, since_us)

    def claim(self, now_us: int) -> int | None:
        slot = self._lines.take_at(now_us)
        return None if slot is None else self._sequences[slot]

    def complete(self, line: int, names: Sequence[str]) -> None:
        self._lines.note_ended(line, names)

    def __bool__(self) -> bool:
        return bool(self._lines)


@settings(max_examples=30, deadline=None)
@given(before=ORDERS, after=ORDERS, text=st.sampled_from(LIMITS))
def test_the_next_order_is_the_same_as_in_the_database(
    before: list[tuple[str, int, str, str | None, int, int, int]],
    after: list[tuple[str, int, str, str | None, int, int, int]],
    text: str,
) -> None:
    limits = parse_limits(text)
    with a_writer() as writer:
        real = Real(writer, limits)
        real.accept("first", "u-4", 4, "mail", None)  # a limit of a queue counts as soon as that is there
        for number, (user, priority, queue, provider, claims, completed, steps) in enumerate(before):
            real.now_us += STEP_US * steps
            for _ in range(min(completed, len(real.processing))):
                real.complete()
            real.accept(f"b-{number}", user, priority, queue, provider)
            for _ in range(claims):
                real.claim()
        real.restart()  # how far the lines had come, neither is told: it begins with the first order of each line
        for priority in (0, 4, 9):
            for queue in ("default", "mail"):
                real.accept(f"r-{priority}-{queue}", f"{priority}-{queue}", priority, queue, None)
        memory = InMemory(writer, limits, real.now_us)
        queues = Queues(writer)
        names = LimitsInDatabase(writer, queues, limits)

        def complete() -> None:
            order = real.complete().order
            memory.complete(queues.line_of(order), names.names_of(order))

        for number, (user, priority, queue, provider, claims, completed, steps) in enumerate(after):
            real.now_us += STEP_US * steps
            for _ in range(min(completed, len(real.processing))):
                complete()
            record = real.accept(f"a-{number}", user, priority, queue, provider)
            memory.accept(record, queues.line_of(record.order), names.names_of(record.order), real.now_us)
            for _ in range(claims):
                claimed = real.claim()
                assert memory.claim(real.now_us) == (None if claimed is None else claimed.sequence)
        while real.processing or memory:
            real.now_us += STEP_US
            if real.processing:
                complete()
            claimed = real.claim()
            assert memory.claim(real.now_us) == (None if claimed is None else claimed.sequence)
        assert real.claim() is None


@pytest.mark.parametrize("text", ["queue:default=5 2/s", "user=5 2/s"])
def test_it_tells_when_a_rate_lets_the_next_order_begin(text: str) -> None:
    limits = parse_limits(text)
    with a_writer() as writer:
        real = Real(writer, limits)
        for number in range(2):
            real.accept(f"o-{number}", "u-1", 4, "default", None)
        memory = InMemory(writer, limits, real.now_us)

        assert memory.claim(real.now_us) is not None
        assert memory.claim(real.now_us) is None
        opens_us = memory._lines.opens_us
        assert opens_us == real.now_us + 500_000
        assert memory.claim(opens_us - 1) is None
        assert memory.claim(opens_us) is not None
        assert not memory
