"""The waiting room wakes those who wait for an order, and nobody else."""

from __future__ import annotations

from ordermill.engine.testing import START_US, make_order
from ordermill.engine.waiting import WaitingRoom
from ordermill.store.lifecycle import OrderStatus
from ordermill.store.record import OrderRecord


def done(order_id: str) -> OrderRecord:
    return OrderRecord(make_order(order_id), 1, OrderStatus.COMPLETED, 1, 0, START_US, START_US, None)


def test_all_who_wait_for_an_order_are_woken() -> None:
    room = WaitingRoom()
    with room.place("a") as first, room.place("a") as second:
        room.wake([done("b"), done("a")])

        assert first(0)
        assert second(0)


def test_who_waits_for_another_order_is_not_woken() -> None:
    room = WaitingRoom()
    with room.place("a") as woken:
        room.wake([done("b")])

        assert not woken(0)


def test_who_comes_later_is_not_woken_by_what_was_before() -> None:
    room = WaitingRoom()
    room.wake([done("a")])

    with room.place("a") as woken:
        assert not woken(0)


def test_a_place_is_given_back() -> None:
    room = WaitingRoom()
    with room.place("a"), room.place("a"):
        pass

    assert room._waiting == {}


def test_a_place_is_given_back_after_an_error() -> None:
    room = WaitingRoom()
    try:
        with room.place("a"):
            raise TimeoutError
    except TimeoutError:
        pass

    assert room._waiting == {}


def test_a_closed_room_wakes_everybody_now_and_from_now_on() -> None:
    room = WaitingRoom()
    with room.place("a") as before:
        assert not room.is_closed
        room.close()
        with room.place("b") as after:
            assert room.is_closed
            assert before(0)
            assert after(0)
