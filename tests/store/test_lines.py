"""The lines in memory: whatever waits, they give the next order as the queue in the database does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ordermill.engine.testing import make_order
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.key_policy import KeyPolicy
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger
from ordermill.store.lines import Lines
from ordermill.store.queues import Queues, priority_of
from ordermill.store.rehearsals import backlog
from ordermill.store.sqlite.database import open_writer

HOUR_US = 3_600_000_000
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["u-1", "u-2", "u-3"]),
        st.sampled_from([0, 4, 4, 4, 9]),
        st.sampled_from(["default", "mail"]),
        st.integers(0, 3),  # how many are claimed afterwards
        st.booleans(),  # whether the first of these comes back, having failed
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(before=ORDERS, after=ORDERS)
@example(  # users of different shares whose orders are claimed in one go
    before=[],
    after=[
        *[("u-1", 0, "default", 0, False)] * 6,
        *[("u-1", 4, "default", 0, False)] * 4,
        ("u-1", 0, "default", 1, False),
        ("u-3", 4, "mail", 1, False),
        ("u-2", 4, "mail", 2, False),
        ("u-3", 4, "mail", 2, False),
        ("u-1", 4, "mail", 1, False),
    ],
)
def test_the_next_order_is_the_same_as_in_the_database(
    before: list[tuple[str, int, str, int, bool]], after: list[tuple[str, int, str, int, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder) / "orders.db", Durability.NORMAL)
        try:
            weights = {"u-2": 3.0}
            ledger = Ledger(writer, 100, weights=weights)
            now_us = HOUR_US
            for number, (user, priority, queue, taken, fails) in enumerate(before):
                now_us += 37_000_000  # no two count alike
                order = make_order(f"b-{number}", user_id=user, priority=priority, queue=queue)
                ledger.record([order], (), now_us)
                if not taken:
                    continue
                claimed = ledger.record((), (), now_us, ready_us=now_us, claim=Claim(taken, now_us)).moved
                if fails and claimed:
                    back = move(claimed[0].after, lifecycle.RETURN, now_us, ready_us=now_us, error="boom")
                    ledger.record((), [back], now_us)
            ledger.record((), (), now_us, ready_us=now_us, claim=Claim(1, now_us))  # who is ready is in line
            ledger = Ledger(writer, 100, weights=weights)  # how far the lines had come, neither is told
            found = backlog(writer, KeyPolicy.HOLD)
            standing, slots = found.standing(HOUR_US, None)
            lines = Lines(standing, weights)
            sequences = list(found.sequences)
            assert [slots[slot] for slot in range(len(slots))] == list(found.in_line)
            joined: list[int] = []
            waiting = sorted((ready_us, sequences[slot], slot) for ready_us, slot in found.waiting)
            for _, sequence, slot in waiting:
                line = found.lines[slot]
                since_us = found.since_us[slot] - HOUR_US * priority_of(line)
                lines.join(len(slots) + len(joined), sequence, line, found.users[slot], since_us)
                joined.append(sequence)

            def claim(room: int) -> list[int]:
                if not room:
                    return []
                moved = ledger.record(
                    (), (), now_us, ready_us=now_us, claim=Claim(room, now_us, aging_us=HOUR_US)
                ).moved
                return [step.after.sequence for step in moved]

            def take(count: int) -> list[int]:
                taken = [lines.take() for _ in range(count) if lines]
                return [sequences[slots[one]] if one < len(slots) else joined[one - len(slots)] for one in taken]

            for number, (user, priority, queue, taken, _) in enumerate(after):
                now_us += 37_000_000
                order = make_order(f"a-{number}", user_id=user, priority=priority, queue=queue)
                ((_, record),) = ledger.record([order], (), now_us).acceptances
                line = Queues(writer).line_of(order)
                since_us = now_us - HOUR_US * priority
                lines.join(len(slots) + len(joined), record.sequence, line, user, since_us)
                joined.append(record.sequence)
                assert take(taken) == claim(taken)
            assert take(999) == claim(999)
            assert not lines
        finally:
            writer.close()
