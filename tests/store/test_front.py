"""The front of a line knows its first orders without a gap, whatever gets into the line and leaves it."""

from __future__ import annotations

import pytest

from ordermill.engine.testing import make_order
from ordermill.store.domain.record import new_record
from ordermill.store.front import Front, InLine, Walk


def front_of(*places: tuple[int, int], is_whole: bool = False) -> Front:
    front = Front()
    front.orders.extend(InLine(*place, 0, new_record(make_order(), place[1], 0, 0)) for place in places)
    front.is_whole = is_whole
    return front


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
    walk.extend(front_of((2, 8), (5, 1), (6, 2)).orders, is_whole=True)
    assert walk.come_to_next({7, 8}) is front.orders.popleft()
    walk.end()

    assert places(front) == [(1, 7), (2, 8), (6, 2)]
    assert front.is_whole


def test_a_walk_knows_how_far_it_has_come_when_all_that_was_known_is_taken() -> None:
    front = front_of((1, 7), (2, 3))
    walk = Walk(0, 0, front, 0, 10, is_limited=False)

    front.orders.clear()

    assert walk.known_to == (2, 3)
    assert Walk(0, 0, front, 0, 10, is_limited=False).known_to is None
