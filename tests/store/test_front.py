"""The front of a line knows its first orders without a gap, whatever gets into the line and leaves it."""

from __future__ import annotations

import pytest

from ordermill.engine.testing import make_order
from ordermill.store.domain.record import new_record
from ordermill.store.front import Front, InLine, Walk


def front_of(*places: tuple[int, int], is_whole: bool = False) -> Front:
    front = Front()
    front.extend([order_at(*place) for place in places], is_whole=is_whole)
    return front


def order_at(rank: int, sequence: int) -> InLine:
    return InLine(rank, sequence, 0, new_record(make_order(), sequence, 0, 0))


def places(front: Front) -> list[tuple[int, int]]:
    return [order.spot for order in front.orders]


@pytest.mark.parametrize("is_whole", [False, True])
def test_from_where_an_order_gets_in_nothing_is_known(is_whole: bool) -> None:
    front = front_of((1, 7), (2, 3), (2, 8), (5, 1), is_whole=is_whole)

    front.note(2, 4)

    assert places(front) == [(1, 7), (2, 3)]
    assert not front.is_whole


@pytest.mark.parametrize("known", [[(1, 7)], []])
def test_what_gets_in_behind_all_that_is_known_matters_only_where_that_was_all(known: list[tuple[int, int]]) -> None:
    front, whole = front_of(*known), front_of(*known, is_whole=True)

    front.note(1, 8)
    whole.note(1, 8)

    assert places(front) == places(whole) == known
    assert not whole.is_whole


def test_a_walk_takes_orders_in_their_sequence_and_leaves_those_that_it_passes_over() -> None:
    front = front_of((1, 7), (2, 3))
    walk = Walk(0, 0, front, 0, 10, is_limited=False)

    assert walk.come_to_next({7, 8}) is front.orders.popleft()
    assert walk.come_to_next({7, 8}) is None
    front.extend([order_at(2, 8), order_at(5, 1), order_at(6, 2)], is_whole=True)
    assert walk.come_to_next({7, 8}) is front.orders.popleft()
    walk.end()

    assert places(front) == [(1, 7), (2, 8), (6, 2)]
    assert front.is_whole


def test_a_front_is_known_as_far_as_it_was_when_all_of_it_is_taken() -> None:
    front = front_of((1, 7), (2, 3))

    front.orders.clear()
    assert front.known_to == (2, 3)

    front.note(2, 1)
    assert front.known_to == (2, 0)


def test_who_was_set_aside_is_back_in_its_place_once() -> None:
    front = front_of((1, 7), (2, 3), (5, 1))
    aside = front.orders[1]
    del front.orders[1]

    for _ in range(2):
        front.put_back(aside)

    assert places(front) == [(1, 7), (2, 3), (5, 1)]


def test_who_was_set_aside_is_read_again_where_the_line_is_not_known_any_more() -> None:
    front = front_of((1, 7), (2, 3), (5, 1))
    aside = front.orders.pop()

    front.note(2, 4)
    front.put_back(aside)

    assert places(front) == [(1, 7), (2, 3)]
