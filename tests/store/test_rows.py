from __future__ import annotations

import msgspec

from ordermill.engine.testing import make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import Cause, OrderRecord, Transition
from ordermill.store.rows import ORDER_COLUMNS, TRANSITION_COLUMNS, order_of, order_row, transition_of, transition_row

PENDING = OrderRecord(make_order("o-1"), 7, OrderStatus.PENDING, 1, 2, 3, 4, 5, "no answer")


def test_an_order_comes_back_from_its_row_as_it_was() -> None:
    assert order_of(order_row(PENDING)) == PENDING
    assert len(order_row(PENDING)) == len(ORDER_COLUMNS)


def test_a_transition_comes_back_from_its_row_as_it_was() -> None:
    failed = msgspec.structs.replace(PENDING, status=OrderStatus.FAILED, updated_us=9)

    for before in (None, PENDING):
        row = transition_row(before, failed, "a reason", Cause("r-1", "someone"))

        assert transition_of(row) == Transition(
            None if before is None else OrderStatus.PENDING, OrderStatus.FAILED, 9, 1, "a reason", "r-1", "someone"
        )
        assert len(row) == len(TRANSITION_COLUMNS)
