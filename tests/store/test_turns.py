"""Places in the queue: users take turns, whatever each of them has sent, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ordermill.store.turns import STEP, Turns

USERS = st.sampled_from("abc")


class Line:
    """Orders that wait, as the simplest queue would keep them: a list, sorted anew each time."""

    def __init__(self, weights: dict[str, float] | None = None) -> None:
        self.waiting: list[tuple[int, int, str]] = []
        self.taken: list[tuple[int, str]] = []
        self.turns = Turns(0, -1, lambda _: None, weights=weights or {})
        self._arrived = 0

    def arrive(self, *user_ids: str) -> None:
        """Orders of these users come in."""
        for user_id in user_ids:
            self._arrived += 1
            self.waiting.append((self.turns.give(user_id), self._arrived, user_id))

    def take(self, count: int = 1) -> list[str]:
        """The users of the next orders."""
        self.waiting.sort()
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if taken:
            self.turns.come_to(taken[-1][0], taken[-1][2])
        self.taken += [(arrived, user_id) for _, arrived, user_id in taken]
        return [user_id for _, _, user_id in taken]


def test_a_single_order_does_not_wait_for_the_thousands_of_another_user() -> None:
    line = Line()
    line.arrive(*["big"] * 3000)
    line.take(8)

    line.arrive("small")

    assert "small" in line.take(2)


def test_users_who_have_many_orders_take_turns() -> None:
    line = Line()
    line.arrive(*["a"] * 50)
    line.take(10)
    line.arrive(*["b"] * 50)

    assert Counter(line.take(40)) == {"a": 20, "b": 20}


def test_turns_go_by_the_weights_of_users() -> None:
    line = Line({"a": 3, "c": 0.5})
    line.arrive(*["a"] * 300, *["b"] * 300, *["c"] * 300)

    assert Counter(line.take(90)) == {"a": 60, "b": 20, "c": 10}


def test_weights_hold_for_orders_that_come_while_the_others_wait() -> None:
    line = Line({"a": 4})
    line.arrive(*["a"] * 4, *["b"] * 4)
    taken: Counter[str] = Counter()
    for _ in range(200):
        for user_id in line.take(1):
            taken[user_id] += 1
            line.arrive(user_id)

    assert taken == {"a": 160, "b": 40}


def test_who_was_alone_for_long_pays_nothing_for_it() -> None:
    line = Line()
    line.arrive(*["a"] * 1000)
    line.take(1000)
    line.arrive("b", "a", "b", "a")

    assert line.take(4) == ["b", "a", "b", "a"]


@given(st.lists(st.one_of(st.tuples(st.just("arrive"), USERS), st.tuples(st.just("take"), st.integers(1, 4)))))
def test_orders_of_one_user_keep_their_sequence_and_all_have_their_turn(events: list[tuple[str, str | int]]) -> None:
    line = Line()
    for what, detail in events:
        if what == "arrive":
            line.arrive(str(detail))
        else:
            line.take(int(detail))
    line.take(len(line.waiting))

    for user_id in "abc":
        own = [arrived for arrived, user in line.taken if user == user_id]
        assert own == sorted(own)
    assert len(line.taken) == sum(what == "arrive" for what, _ in events)


@given(st.lists(st.booleans(), max_size=60))
def test_orders_of_users_who_have_one_each_keep_the_sequence_of_their_arrival(takes: list[bool]) -> None:
    line = Line()
    for takes_one in takes:
        if takes_one:
            line.take()
        elif idle := [user_id for user_id in "abcdefgh" if user_id not in {user for *_, user in line.waiting}]:
            line.arrive(idle[0])
    line.take(100)

    assert line.taken == sorted(line.taken)


@given(st.lists(USERS, min_size=1, max_size=80), st.data())
def test_an_order_waits_for_no_more_of_another_users_than_for_its_own_and_one(
    sent: list[str], data: st.DataObject
) -> None:
    line = Line()
    line.arrive(*sent)
    place, arrived, user_id = data.draw(st.sampled_from(line.waiting))
    own = sum(user == user_id and before < arrived for _, before, user in line.waiting)
    line.arrive(*data.draw(st.lists(USERS, max_size=80)))

    others = Counter(user for before, number, user in line.waiting if (before, number) < (place, arrived))

    assert all(count <= own + 1 for user, count in others.items() if user != user_id)


def test_places_that_were_not_taken_put_off_nobody() -> None:
    line = Turns(0, -1, lambda _: None)
    places = [line.give("a") for _ in range(3)]

    line.give_back([("a", place) for place in places[1:]])

    assert line.give("a") == places[1]


def test_where_the_last_order_of_a_user_stands_is_looked_up_after_a_start() -> None:
    looked_up: list[str] = []

    def find(user_id: str) -> int | None:
        looked_up.append(user_id)
        return {"a": 7 * STEP}.get(user_id)

    line = Turns(2 * STEP, 7 * STEP, find)

    assert [line.give("a"), line.give("b"), line.give("a")] == [8 * STEP, 2 * STEP, 9 * STEP]
    assert looked_up == ["a", "b"]
    line.come_to(7 * STEP, "a")
    assert line.give("c") == 8 * STEP
    assert looked_up == ["a", "b"], "whatever was there at the start is taken by now"


def test_of_too_many_users_the_places_are_looked_up_again() -> None:
    stored: dict[str, int] = {}
    line = Turns(0, -1, stored.get, 10)

    for _ in range(3):
        for number in range(50):
            stored[str(number)] = line.give(str(number))

    assert set(stored.values()) == {2 * STEP}
    assert len(line._next) <= 10


def test_where_the_queue_has_come_past_all_that_was_given_nothing_is_looked_up() -> None:
    looked_up: list[str] = []
    line = Turns(0, -1, lambda user_id: looked_up.append(user_id))
    line.give("a")
    line.forget()

    assert line.give("b") == 0
    assert looked_up == ["b"], "it may be forgotten too"
    line.come_to(0, "a")
    assert line.give("a") == STEP
    assert looked_up == ["b"]


def test_only_users_whose_orders_wait_need_be_remembered() -> None:
    line = Turns(0, -1, lambda _: None)
    line.give("a")
    line.give("b")
    line.give("b")
    line.come_to(0, "b")

    line.forget_past()

    assert len(line) == 1
    assert [line.give("a"), line.give("b")] == [STEP, 2 * STEP]


def test_a_place_that_another_engine_gave_puts_off_the_next_order_of_its_user() -> None:
    turns = Turns(0, -1, lambda _: None)

    turns.note("a", 2 * STEP)
    turns.note("a", 0)

    assert [turns.give(user_id) for user_id in "aab"] == [3 * STEP, 4 * STEP, 0]
