"""From a time to the number of an order, whatever the machine's clock did."""

from __future__ import annotations

import random

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store.arrival import Arrivals
from ordermill.store.audit import audit
from ordermill.store.ledger import Ledger
from ordermill.store.statements import run


def fill(writer: SqliteDatabase, times: list[int]) -> None:
    """An order at each of these times, in this sequence."""
    ledger = Ledger(writer)
    for number, at_us in enumerate(times, 1):
        ledger.record([make_order(f"o-{number}")], [], at_us)


def steps(writer: SqliteDatabase) -> list[int]:
    return [sequence for (sequence,) in run(writer, "SELECT sequence FROM clock_steps ORDER BY sequence").fetchall()]


def test_a_clock_that_only_advances_leaves_no_note(writer: SqliteDatabase) -> None:
    fill(writer, [1, 1, 2, 5, 5])

    assert steps(writer) == []
    assert Arrivals(writer, 6).is_exact


def test_where_the_clock_was_set_back_is_noted_over_a_restart_too(writer: SqliteDatabase) -> None:
    fill(writer, [5, 3])
    fill(writer, [2, 9])  # of ids that are stored already, and so two duplicates
    Ledger(writer).record([make_order("later")], [], 1)

    assert len(steps(writer)) == 2
    assert audit(writer).faults == []


@pytest.mark.parametrize("seed", range(20))
def test_the_bounds_hold_all_orders_of_a_time(writer: SqliteDatabase, seed: int) -> None:
    chance = random.Random(seed)
    times = [chance.randrange(1, 30) for _ in range(60)]
    if seed % 4:
        times.sort()
    if seed % 4 == 2:
        times = times[30:] + times[:30]
    fill(writer, times)
    for gone in range(1, 60, 7):
        run(writer, "DELETE FROM orders WHERE sequence = ?", (gone,))
    left = {number: at for number, at in enumerate(times, 1) if (number - 1) % 7}
    arrivals = Arrivals(writer, 61)

    for at_us in range(32):
        low, high = arrivals.first_since(at_us), arrivals.end_before(at_us)
        assert all(low <= number for number, at in left.items() if at >= at_us)
        assert all(number < high for number, at in left.items() if at < at_us)
        if arrivals.is_exact:
            assert {number for number in left if number >= low} == {n for n, at in left.items() if at >= at_us}
            assert {number for number in left if number < high} == {n for n, at in left.items() if at < at_us}


def test_an_empty_database_has_no_orders_of_any_time(writer: SqliteDatabase) -> None:
    arrivals = Arrivals(writer, 1)

    assert arrivals.first_since(5) > 1
    assert arrivals.end_before(5) <= 1


def test_a_step_back_that_is_not_noted_is_a_fault(writer: SqliteDatabase) -> None:
    fill(writer, [5, 3])
    run(writer, "DELETE FROM clock_steps")

    assert audit(writer).faults == [
        "order 'o-2': was accepted before the order that came before it, which is not noted"
    ]
