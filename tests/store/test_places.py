"""Where new orders will stand, and how many go before a place, while orders come and go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from ordermill.engine.testing import make_order
from ordermill.store import line_counts, queries
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.record import Move, move
from ordermill.store.ledger import Ledger
from ordermill.store.line_counts import LASTS_US, LineCounts, Spot
from ordermill.store.places import Entrance, place
from ordermill.store.queues import bounds_of
from ordermill.store.sqlite.connection import Writer
from ordermill.store.sqlite.database import open_writer
from ordermill.store.statements import run

HOUR_US = 3_600_000_000
BY = datetime(2099, 1, 1, tzinfo=UTC)
USUAL = 0
END = Spot(bounds_of(USUAL)[1])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Writer]:
    writer = open_writer(tmp_path / "orders.db", Durability.NORMAL)
    yield writer
    writer.close()


def in_line(database: Writer) -> list[Spot]:
    """The usual line, as the table has it."""
    rows = run(database, "SELECT rank, sequence FROM orders WHERE status = 'Pending' ORDER BY rank, sequence")
    return [Spot(*row) for row in rows.fetchall()]


def told(counts: LineCounts, database: Writer, now_us: int) -> int:
    """How many orders it says there are in the usual line."""
    counts.look_around(database, now_us)
    return counts.before(database, USUAL, END)


class Days:
    """Orders come and are taken, of a few users with many orders and of many with few."""

    def __init__(self, database: Writer, seed: int) -> None:
        self.random = Random(seed)
        self.now_us = 1_000
        self.ledger = Ledger(database, 1_000_000)
        self._count = 0

    def have_come(self, count: int) -> None:
        orders = []
        for _ in range(count):
            self._count += 1
            user_id = self.random.choice((1, 1, 1, 2, self._count % 7, self._count))
            orders.append(make_order(f"o-{self._count}", user_id=f"u-{user_id}"))
        self.ledger.record(orders, (), self.now_us)

    def have_begun(self, count: int) -> list[Move]:
        claim = Claim(count, self.now_us, aging_us=HOUR_US)
        return self.ledger.record((), (), self.now_us, ready_us=self.now_us, claim=claim).moved

    def have_gone(self, count: int) -> None:
        taken = self.have_begun(count)
        self.ledger.record((), [move(step.after, lifecycle.COMPLETE, self.now_us) for step in taken], self.now_us)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_remembered_of_a_line_is_right_while_orders_come_and_are_taken(
    database: Writer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_counts, "_MOST_BETWEEN", 600)
    days, counts = Days(database, seed), LineCounts()
    days.have_come(4_000)
    assert told(counts, database, days.now_us) == 4_000  # now it is marked
    for _ in range(40):
        days.now_us += 100  # 4,000 us in all, while the marks are good for more than 20,000
        days.have_come(days.random.randrange(120))
        days.have_gone(days.random.randrange(120))
        line = in_line(database)
        asked = [END, *days.random.sample(line, 3), Spot(days.random.choice(line).rank + 1)]

        counts.look_around(database, days.now_us)

        found = [counts.before(database, USUAL, spot) for spot in asked]
        assert found == [sum(of < spot for of in line) for spot in asked]


def test_what_leaves_a_line_in_its_middle_is_seen_when_the_marks_are_too_old(database: Writer) -> None:
    days, counts = Days(database, 1), LineCounts()
    days.have_come(3_000)
    line = in_line(database)
    assert told(counts, database, days.now_us) == 3_000
    middle = queries.numbered(database, [spot.sequence for spot in line[1_100:1_110]])
    days.ledger.record((), [move(record, lifecycle.CANCEL, days.now_us) for record in middle], days.now_us)

    assert told(counts, database, days.now_us + 2_000 * LASTS_US) == 3_000
    assert told(counts, database, days.now_us + 3_000 * LASTS_US) == 2_990


def test_a_line_is_counted_anew_when_more_have_come_than_are_worth_adding(database: Writer) -> None:
    days, counts = Days(database, 2), LineCounts()
    days.have_come(2_000)
    assert told(counts, database, days.now_us) == 2_000

    days.have_come(1_500)

    assert told(counts, database, days.now_us) == 3_500


def test_nobody_is_told_a_place_behind_more_than_are_counted(database: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_counts, "MAX_COUNTED", 1_024)
    days, counts = Days(database, 3), LineCounts()
    days.have_come(2_500)

    assert told(counts, database, days.now_us) == 1_024
    assert counts.before(database, USUAL, in_line(database)[700]) == 700


@pytest.mark.parametrize("seed", range(3))
def test_new_orders_stand_where_they_are_said_to_however_often_one_has_asked(database: Writer, seed: int) -> None:
    days, entrance = Days(database, seed), Entrance(HOUR_US)
    days.have_come(1_500)
    for number in range(60):
        days.now_us += 1
        new = make_order(
            f"new-{number}",
            user_id=f"u-{days.random.randrange(9)}",
            priority=days.random.choice((4, 4, 9, 0)),
            complete_by=BY,
        )
        (of,) = entrance.places(database, [new], days.now_us)
        days.ledger.record([new], (), days.now_us)
        record = queries.find(database, new.order_id)
        assert record is not None
        right = place(database, record, HOUR_US)

        assert of is not None
        assert of.ahead_in_line == right.ahead_in_line
        # Others are not counted anew within as many microseconds as they are, so that at most one a turn is missed.
        assert abs(of.ahead_by_priority - right.ahead_by_priority) <= number
        if days.random.random() < 0.3:
            days.have_begun(1)


def test_a_batch_is_told_what_each_of_its_orders_would_be_told_alone(database: Writer) -> None:
    days = Days(database, 5)
    days.have_come(800)
    new = [make_order(f"new-{number}", user_id=f"u-{number}", complete_by=BY) for number in range(20)]

    together = Entrance(HOUR_US).places(database, new, days.now_us)
    alone = [Entrance(HOUR_US).places(database, [order], days.now_us)[0] for order in new]

    assert [of and (of.ahead_in_line or 0) - before for before, of in enumerate(together)] == [
        of and of.ahead_in_line for of in alone
    ]
