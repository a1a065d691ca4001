"""What is claimed is begun by whoever is idle first; what is not begun can be taken back. Never both."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from ordermill.engine.actors.claims import Claims, Ended, Hand
from ordermill.engine.execution.begun import BegunFile, Progress, read
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord


def records(number: int) -> list[OrderRecord]:
    return [
        OrderRecord(make_order(f"o-{i}"), i, OrderStatus.PROCESSING, 1, 0, START_US, START_US, None)
        for i in range(1, number + 1)
    ]


class Watch:
    """A clock that the test sets, and what it was told."""

    def __init__(self) -> None:
        self.now_us = 0
        self.lows = 0

    def read(self) -> int:
        return self.now_us

    def note_low(self) -> None:
        self.lows += 1


@pytest.fixture
def watch() -> Watch:
    """A clock that stands still."""
    return Watch()


@pytest.fixture
def claims(watch: Watch) -> Claims:
    """Claims without notes of what has begun."""
    return Claims(watch.read, None, watch.note_low)


def test_orders_are_begun_in_their_sequence_by_whoever_asks(claims: Claims, watch: Watch) -> None:
    given = records(3)
    one, other = Hand(), Hand()
    claims.put(given)

    assert (claims.take(one), one.record, one.began_us) == (given[0], given[0], 0)
    watch.now_us = 5
    assert (claims.take(other), other.record, other.began_us) == (given[1], given[1], 5)
    assert claims.take(one) is given[2]
    assert claims.take(one) is None
    assert one.record is None
    assert other.record is given[1]


def test_what_is_not_begun_is_taken_back_in_its_sequence(claims: Claims) -> None:
    given = records(4)
    hand = Hand()
    claims.put(given)
    claims.take(hand)

    assert claims.take_back() == given[1:]
    assert claims.take_back() == []
    assert hand.record is given[0]
    assert claims.take(hand) is None


def test_what_has_waited_long_is_taken_back_and_what_came_after_it_too(claims: Claims, watch: Watch) -> None:
    given = records(4)
    claims.put(given[:2])
    watch.now_us = 10
    claims.put(given[2:])

    assert claims.unattended_us([]) == 0
    assert claims.take_back_late(-1, []) == []
    assert claims.take_back_late(9, []) == given
    assert claims.unattended_us([]) is None


def test_what_is_about_to_be_begun_is_left_however_long_that_takes(claims: Claims, watch: Watch) -> None:
    given = records(4)
    working, between = Hand(), Hand()
    claims.put(given[:2])
    claims.take(working)
    watch.now_us = 10
    claims.put(given[2:])

    assert claims.unattended_us([working, between]) == 10
    assert claims.take_back_late(9, [working, between]) == []
    assert claims.take_back_late(10, [working, between]) == given[2:]
    assert claims.unattended_us([working, between]) is None
    assert claims.take(between) is given[1]


def test_nothing_has_begun_where_nothing_is_in_hand(claims: Claims) -> None:
    hand = Hand()
    claims.put(records(1))
    claims.take(hand)
    claims.take(hand)

    assert (hand.record, hand.began_us) == (None, None)


def test_one_order_is_released_unless_it_is_begun(claims: Claims) -> None:
    given = records(3)
    hand = Hand()
    claims.put(given)
    claims.take(hand)

    assert claims.release(given[0].sequence) is None
    assert claims.release(given[1].sequence) is given[1]
    assert claims.release(given[1].sequence) is None
    assert claims.has(given[0].sequence, [hand])
    assert claims.has(given[2].sequence, [hand])
    assert not claims.has(given[1].sequence, [hand])
    assert claims.take(hand) is given[2]


def test_an_abandoned_hand_gets_nothing_more(claims: Claims) -> None:
    given = records(2)
    hand = Hand()
    claims.put(given)
    claims.take(hand)

    assert not claims.abandon(hand, given[1])
    assert claims.abandon(hand, given[0])
    assert claims.take(hand) is None
    assert claims.take(Hand()) is given[1]


def test_it_is_told_once_when_hardly_anything_is_left(claims: Claims, watch: Watch) -> None:
    claims.low_water = 2
    hand = Hand()
    claims.put(records(4))
    claims.take(hand)
    claims.take(hand)
    assert watch.lows == 0

    claims.take(hand)
    claims.take(hand)

    assert watch.lows == 1
    claims.put(records(1))
    claims.take(hand)
    assert watch.lows == 2


def test_the_time_of_handlers_is_counted_once(claims: Claims, watch: Watch) -> None:
    hand, lost = Hand(), Hand()
    claims.put(records(3))
    claims.take(hand)
    claims.take(lost)
    claims.abandon(lost, None)
    watch.now_us = 2_000_000
    claims.take(lost)
    claims.take(hand)
    assert claims.ended() == Ended(1, 2.0)

    watch.now_us = 5_000_000
    claims.take(hand)

    assert claims.ended() == Ended(1, 3.0)
    assert claims.ended() == Ended(0, 0.0)


@pytest.mark.sqlite
def test_what_is_begun_is_noted_before_and_when_it_has_ended(watch: Watch, database: Path) -> None:
    database.touch()
    given = records(3)
    claims = Claims(watch.read, BegunFile(database, 1, 10), watch.note_low)
    claims.put(given)
    first, second = Hand(), Hand()

    claims.take(first)
    claims.take(first)
    claims.alone = given[2].sequence
    claims.take(second)

    assert read(database, 1).attempts == {
        given[0].attempt: Progress.ENDED,
        given[1].attempt: Progress.RUNS,
        given[2].attempt: Progress.RUNS_ALONE,
    }


def test_no_order_is_begun_twice_or_begun_and_taken_back() -> None:
    for _ in range(20):
        given = records(500)
        numbers = count()
        claims = Claims(lambda numbers=numbers: next(numbers), None, lambda: None)  # type: ignore[misc]
        claims.put(given)
        all_three = threading.Barrier(3)

        def begin_all(claims: Claims = claims, all_three: threading.Barrier = all_three) -> list[OrderRecord]:
            all_three.wait(timeout=60)
            hand, begun = Hand(), []
            while (record := claims.take(hand)) is not None:
                begun.append(record)
            return begun

        with ThreadPoolExecutor(2) as threads:
            futures = [threads.submit(begin_all) for _ in range(2)]
            all_three.wait(timeout=60)
            taken = claims.take_back()
            begun = [record for future in futures for record in future.result(timeout=60)]

        assert sorted(record.sequence for record in begun + taken) == list(range(1, 501))
