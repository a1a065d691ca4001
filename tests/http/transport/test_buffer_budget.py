"""What connections may hold in memory."""

from __future__ import annotations

from ordermill.http.transport.buffer_budget import OWN_BYTES, BufferBudget, Reservation


def test_each_holds_a_little_without_asking() -> None:
    budget = BufferBudget(0)

    assert Reservation(budget).hold(OWN_BYTES)
    assert Reservation(budget).hold(OWN_BYTES)
    assert not Reservation(budget).hold(OWN_BYTES + 1)


def test_what_is_beyond_that_is_shared() -> None:
    budget = BufferBudget(100)
    first, second = Reservation(budget), Reservation(budget)

    assert first.hold(OWN_BYTES - 1)
    assert first.hold(OWN_BYTES + 60)
    assert second.hold(OWN_BYTES)
    assert not second.hold(OWN_BYTES + 41)
    assert second.hold(OWN_BYTES + 40)
    assert not first.hold(OWN_BYTES + 61)


def test_what_is_given_back_is_there_for_others() -> None:
    budget = BufferBudget(100)
    first, second = Reservation(budget), Reservation(budget)
    assert first.hold(OWN_BYTES + 100)

    for _ in range(3):
        assert not second.hold(OWN_BYTES + 1)
        assert first.hold(0)
        assert first.hold(0)
        assert second.hold(OWN_BYTES + 100)
        first, second = second, first


def test_a_refusal_changes_nothing() -> None:
    budget = BufferBudget(100)
    holder = Reservation(budget)
    assert holder.hold(OWN_BYTES + 90)

    assert not holder.hold(OWN_BYTES + 101)
    assert not Reservation(budget).hold(OWN_BYTES + 11)
    assert Reservation(budget).hold(OWN_BYTES + 10)
