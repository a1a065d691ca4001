"""What connections may hold in memory."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from ordermill.http.transport.buffer_budget import (
    OWN_BYTES,
    BodyBudget,
    BodyReservation,
    BufferBudget,
    Reservation,
    SharedBudget,
)


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


def test_the_one_whose_turn_it_is_gets_at_what_is_kept_and_the_next_one_after_it() -> None:
    woken: list[int] = []
    budget = BodyBudget(100, kept=60)
    first, second, third = (BodyReservation(budget, partial(woken.append, name)) for name in range(3))
    assert first.hold(OWN_BYTES + 20)
    assert second.hold(OWN_BYTES + 20)

    assert second.hold(OWN_BYTES + 60)  # nobody waits before it
    assert not first.hold(OWN_BYTES + 41)
    assert not third.hold(OWN_BYTES + 21)
    assert (first.is_waiting, second.is_waiting, third.is_waiting) == (True, False, True)

    second.let_go()
    assert woken == [0, 2]
    assert third.hold(OWN_BYTES + 20)  # of what is for all
    assert first.hold(OWN_BYTES + 60)
    first.let_go()
    third.let_go()
    assert (budget.free, first.is_waiting) == (100, False)


def test_who_wants_no_more_waits_no_longer() -> None:
    woken: list[int] = []
    budget = BodyBudget(10, kept=10)
    first, second = (BodyReservation(budget, partial(woken.append, name)) for name in range(2))
    assert first.hold(OWN_BYTES + 10)
    assert not second.hold(OWN_BYTES + 10)

    second.let_go()

    assert (second.is_waiting, budget.free) == (False, 0)
    woken.clear()
    first.let_go()
    assert woken == []


def reserve(budget: BodyBudget, caller: str) -> BodyReservation:
    """What a body of that caller holds."""
    reservation = BodyReservation(budget, lambda: None)
    reservation.caller = caller
    return reservation


def test_a_caller_holds_no_more_of_bodies_than_it_leaves_to_the_others_beside_the_one_whose_turn_it_is() -> None:
    budget = BodyBudget(100, kept=60)
    slow, slow_too, other = reserve(budget, "slow"), reserve(budget, "slow"), reserve(budget, "other")

    assert slow.hold(OWN_BYTES + 20)
    assert slow.hold(OWN_BYTES + 60)  # it is its turn
    assert not slow_too.hold(OWN_BYTES + 1)
    assert other.hold(OWN_BYTES + 20)
    assert not other.hold(OWN_BYTES + 21)

    for reservation in (slow, slow_too, other):
        reservation.let_go()
    assert (budget.free, budget._lines, budget._held_for) == (100, {}, {})


def test_callers_take_turns_however_many_bodies_each_of_them_sends() -> None:
    budget = BodyBudget(60, kept=60)
    slow = [reserve(budget, "slow") for _ in range(3)]
    others = [reserve(budget, caller) for caller in ("another", "third")]

    assert [body.hold(OWN_BYTES + 60) for body in (*slow, *others)] == [True, False, False, False, False]

    turns = [slow[0], others[0], others[1], slow[1], slow[2]]
    for number, (ending, following) in enumerate(pairwise(turns), 1):
        ending.let_go()
        assert [body for body in turns[number:] if body.hold(OWN_BYTES + 60)] == [following]
    turns[-1].let_go()
    assert (budget.free, budget._lines, budget._held_for) == (60, {}, {})


def test_no_caller_holds_more_than_it_leaves_to_the_others() -> None:
    budget = SharedBudget(100)
    first, second, third, others = (letter * 25 for letter in (b"a", b"b", b"c", b"d"))

    assert budget.take(first, "one")
    assert budget.take(second, "one")
    assert not budget.take(third, "one")
    assert budget.take(others, "two")
    assert budget.take(third, None)
    assert budget.free == 0
    budget.give_back(third)
    assert budget.take(others, "one")  # it is held already
    budget.give_back(others)
    for content in (first, second):
        budget.give_back(content)
    assert budget.take(third, "one")
    budget.give_back(third)
    budget.give_back(others)
    assert (budget.free, budget._held, budget._held_for) == (100, {}, {})
