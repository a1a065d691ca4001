"""Places to wait are shared among callers."""

from __future__ import annotations

from ordermill.http.api.waiting_places import WaitingPlaces


def take_all(places: WaitingPlaces, caller: str | None) -> int:
    """How many places a caller gets."""
    count = 0
    while places.take(caller):
        count += 1
    return count


def test_who_is_alone_gets_half_and_whoever_comes_later_a_share() -> None:
    places = WaitingPlaces(1_000)

    assert take_all(places, "a") == 500
    assert take_all(places, "b") == 250
    assert take_all(places, "c") == 125
    assert all(places.take(str(number)) for number in range(125))
    assert not places.take("d")


def test_what_is_given_back_is_there_for_all() -> None:
    places = WaitingPlaces(2)
    assert take_all(places, "a") == 1
    assert take_all(places, "b") == 1

    places.give_back("a")

    assert not places.take("b")
    assert places.take("c")


def test_callers_who_need_no_key_share_all() -> None:
    places = WaitingPlaces(3)

    assert take_all(places, None) == 3
    places.give_back(None)
    assert take_all(places, None) == 1


def test_there_may_be_no_places() -> None:
    assert not WaitingPlaces(0).take("a")
