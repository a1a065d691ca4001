"""What is recorded is told to the other actors, in a sequence that nobody can be surprised by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, Reject
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]


def test_whoever_learns_that_an_order_is_over_finds_its_place_in_the_backlog_free(start_engine: StartEngine) -> None:
    engine = start_engine(max_backlog=1, processors=1)

    for number in range(50):
        assert engine.submit(make_order(f"o-{number}")).wait(timeout=60) is OrderStatus.COMPLETED
        assert engine.metrics().total_orders_processed == number + 1


def test_what_was_not_new_takes_no_place_in_the_backlog(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=2, user_backlog=2, processors=1)
    engine.submit(make_order("o-1"))

    for _ in range(5):
        engine.submit(make_order("o-1"))

    engine.submit(make_order("o-2"))
    assert engine.metrics().backlog == 2
    held.release()


@pytest.mark.parametrize("leave", ["cancelled", "failed"])
def test_an_order_that_a_person_brings_back_takes_its_place_in_the_backlog_again(
    start_engine: StartEngine, held: Held, leave: str
) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "failed" and engine.order("failed").attempts == 1:
            raise Reject("no")
        held(order)

    engine = start_engine(handle, processors=1)
    engine.submit(make_order("failed")).wait(timeout=60)
    engine.submit(make_order("o-1"))
    held.begun()
    engine.submit(make_order("cancelled"))
    assert engine.metrics().backlog == 2

    if leave == "cancelled":
        engine.cancel("cancelled")
    else:
        engine.retry("failed")

    assert engine.metrics().backlog == (1 if leave == "cancelled" else 3)
    held.release()
    engine.drain(timeout=60)
    assert engine.metrics().backlog == 0
