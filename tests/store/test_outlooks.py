"""Where an order stands in the queue, and how well its end was foretold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.attempts import LatestAttempts
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.key_policy import KeyPolicy
from ordermill.store.domain.limit import parse_limits
from ordermill.store.domain.outlook import Accuracy, Attempt, Estimate
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.outlooks import evidence, note_and_judge
from ordermill.store.places import Entrance, place
from ordermill.store.sqlite.connection import Writer
from ordermill.store.sqlite.database import open_writer

HOUR_US = 3_600_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Writer]:
    writer = open_writer(tmp_path / "orders.db", Durability.NORMAL)
    yield writer
    writer.close()


def found(database: Writer, order_id: str) -> OrderRecord:
    record = queries.find(database, order_id)
    assert record is not None
    return record


def positions(database: Writer, *order_ids: str) -> list[int]:
    """How many orders go before each."""
    places = [place(database, found(database, order_id), HOUR_US) for order_id in order_ids]
    return [(of.ahead_in_line or 0) + of.ahead_by_priority for of in places]


def test_the_positions_are_the_sequence_of_the_claims(database: Writer) -> None:
    ledger = Ledger(database, 100)
    order_ids = [f"o-{number}" for number in range(40)]
    for number, order_id in enumerate(order_ids):
        order = make_order(order_id, user_id=f"u-{number}", priority=(number * 7) % 10)
        ledger.record([order], (), 1_000 + number * HOUR_US // 3 + number)  # no two count alike

    told = dict(zip(order_ids, positions(database, *order_ids), strict=True))

    taken = ledger.record((), (), 50 * HOUR_US, ready_us=50 * HOUR_US, claim=Claim(40, 50 * HOUR_US, aging_us=HOUR_US))
    assert [told[step.after.order_id] for step in taken.moved] == list(range(40))


@pytest.mark.parametrize("taken", [0, 7])
def test_a_new_order_will_stand_where_it_is_said_to(database: Writer, taken: int) -> None:
    random = Random(taken)
    ledger = Ledger(database, 100)
    for number in range(60):
        order = make_order(f"o-{number}", user_id=f"u-{random.choice((1, 1, 1, 2, number))}", priority=number % 3)
        ledger.record([order], (), 1_000 + number)
    if taken:
        ledger.record((), (), 2_000, ready_us=2_000, claim=Claim(taken, 2_000, aging_us=HOUR_US))
    for number in range(30):
        new = make_order(
            f"new-{number}",
            user_id=f"u-{random.choice((1, 2, 100 + number))}",
            priority=random.randrange(4),
            complete_by=datetime(2099, 1, 1, tzinfo=UTC),
        )
        (told,) = Entrance(HOUR_US).places(database, [new], 3_000 + number)
        ledger.record([new], (), 3_000 + number)

        assert told == place(database, found(database, new.order_id), HOUR_US)


def test_a_new_order_of_a_user_with_another_weight_will_stand_where_it_is_said_to(database: Writer) -> None:
    weights = {"u-1": 4.0, "u-2": 0.5}
    random = Random(5)
    ledger = Ledger(database, 100, weights=weights)
    for number in range(40):
        ledger.record([make_order(f"o-{number}", user_id=f"u-{random.randrange(4)}")], (), 1_000 + number)
    ledger.record((), (), 2_000, ready_us=2_000, claim=Claim(9, 2_000, aging_us=HOUR_US))
    for number in range(20):
        by = datetime(2099, 1, 1, tzinfo=UTC)
        new = make_order(f"new-{number}", user_id=f"u-{random.randrange(6)}", complete_by=by)
        (told,) = Entrance(HOUR_US, weights=weights).places(database, [new], 3_000 + number)
        ledger.record([new], (), 3_000 + number)

        assert told == place(database, found(database, new.order_id), HOUR_US)


def test_nothing_is_said_of_a_new_order_that_a_limit_keeps_waiting(database: Writer) -> None:
    ledger = Ledger(database, 100)
    ledger.record([make_order("a"), make_order("b", queue="narrow")], (), 1_000)
    ledger.record((), (), 2_000, ready_us=2_000, claim=Claim(2, 2_000, aging_us=HOUR_US))
    by = datetime(2099, 1, 1, tzinfo=UTC)
    new = [make_order("c", complete_by=by), make_order("d", queue="narrow", complete_by=by)]

    places = Entrance(HOUR_US, parse_limits("queue:narrow=1")).places(database, new, 3_000)

    assert [of and of.ahead_in_line for of in places] == [0, None]


def test_new_orders_stand_behind_those_that_come_with_them(database: Writer) -> None:
    by = datetime(2099, 1, 1, tzinfo=UTC)
    new = [make_order("plain", user_id="u-1"), *(make_order(f"o-{n}", user_id=f"u-{n}", complete_by=by) for n in "234")]

    places = Entrance(HOUR_US).places(database, new, 1_000)

    assert [of and of.ahead_in_line for of in places] == [None, 1, 2, 3]


def test_a_new_order_of_a_key_that_is_in_use_waits_for_the_others(database: Writer) -> None:
    Ledger(database, 100).record([make_order(name, key="k") for name in ("a", "b", "c")], (), 1_000)
    by = datetime(2099, 1, 1, tzinfo=UTC)
    new = [make_order("d", key="k", complete_by=by), make_order("e", key="other", complete_by=by)]

    places = Entrance(HOUR_US).places(database, new, 1_000)

    assert [of and of.ahead_in_line for of in places] == [
        None,
        4,
    ]  # those of the key, and the one with it


def test_an_order_that_is_held_says_how_many_of_its_key_go_first(database: Writer) -> None:
    Ledger(database, 100).record([make_order(name, key="k") for name in ("a", "b", "c")], (), 1_000)

    assert [place(database, found(database, name), HOUR_US).ahead_of_key for name in ("a", "b", "c")] == [None, 1, 2]
    assert place(database, found(database, "c"), HOUR_US).ahead_in_line is None


@pytest.mark.parametrize(("policy", "ahead"), [(KeyPolicy.HOLD, 1), (KeyPolicy.HALT, 1), (KeyPolicy.CONTINUE, None)])
def test_an_order_waits_for_one_of_its_key_that_is_tried_again_later_unless_it_may_pass(
    database: Writer, policy: KeyPolicy, ahead: int | None
) -> None:
    ledger = Ledger(database, 100, policy)
    ledger.record([make_order(name, key="k") for name in ("a", "b")], (), 1_000)
    (step,) = ledger.record((), (), 1_000, claim=Claim(1, 1_000)).moved
    later = move(step.after, lifecycle.RETURN, 1_000, ready_us=HOUR_US, error="boom")
    ledger.record((), [later], 1_000)

    assert place(database, found(database, "b"), HOUR_US, key_policy=policy).ahead_of_key == ahead


def test_what_was_told_is_judged_when_the_order_is_over(database: Writer) -> None:
    ledger = Ledger(database, 100)
    ledger.record([make_order(name) for name in ("kept", "late", "gone", "open")], (), 1_000)
    claimed = ledger.record((), (), 2_000, ready_us=2_000, claim=Claim(2, 2_000)).moved
    for step, ended_us in zip(claimed, (3_000, 9_000), strict=True):
        ledger.record((), [move(step.after, lifecycle.COMPLETE, ended_us)], ended_us)
    ledger.record((), [move(found(database, "gone"), lifecycle.CANCEL, 3_000)], 3_000)
    told = [Estimate(sequence, 1_000, 2_500, 4_000, 2_500, 4_000) for sequence in (1, 2, 3, 4)]

    assert note_and_judge(database, told, 3_500) == 1
    known = evidence(database, LatestAttempts(9), 3_500)

    assert [ended_us for _, ended_us in known.judged] == [3_000, 9_000]
    assert known.accuracy == Accuracy(0.5, 2)
    assert known.attempts == (Attempt(2_000, 1_000, 0), Attempt(2_000, 7_000, 0))
    assert (known.in_hand_since_us, known.overdue) == ((), 0)
    assert note_and_judge(database, (), 4_001) == 1
    known = evidence(database, LatestAttempts(9), 4_001)
    assert (known.overdue, known.accuracy) == (1, Accuracy(1 / 3, 3))  # whatever comes of it, it is late


def test_only_the_first_of_each_order_is_judged(database: Writer) -> None:
    Ledger(database, 100).record([make_order("a")], (), 1_000)

    note_and_judge(database, [Estimate(1, 1_000, 1, 2, 1, 2_000)], 1_500)
    note_and_judge(database, [Estimate(1, 1_000, 1, 2, 1, 9_000)], 1_500)

    note_and_judge(database, (), 2_001)
    assert evidence(database, LatestAttempts(9), 2_001).accuracy == Accuracy(0.0, 1)


def test_what_was_told_long_ago_is_forgotten(database: Writer) -> None:
    Ledger(database, 100).record([make_order("a"), make_order("b")], (), 1_000)
    note_and_judge(database, [Estimate(1, 1_000, 1, 2, 1, 2_000)], 2_001)

    week_us = 7 * 24 * HOUR_US
    note_and_judge(database, [Estimate(2, week_us + 5_000, 1, 2, 1, 2_000)], week_us + 5_000)

    assert evidence(database, LatestAttempts(9), week_us + 5_000).accuracy == Accuracy(0.0, 1)
