from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ordermill.engine.testing import make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord, Transition
from ordermill.store.rows import ORDER_COLUMNS, TRANSITION_COLUMNS, items_text, order_of, transition_of

MORE: dict[str, Any] = {
    "priority": 9,
    "not_before": datetime(1970, 1, 1, microsecond=6, tzinfo=UTC),
    "complete_by": datetime(1970, 1, 1, microsecond=8, tzinfo=UTC),
    "key": "k",
    "queue": "q",
    "metadata": {"a": 1},
}


def test_an_order_is_what_its_row_says() -> None:
    order = make_order("o-1", user_id="u-1", item_ids=("a", "b"), total_amount=Decimal("19.99"), **MORE)
    row = (
        "o-1",
        "u-1",
        items_text(("a", "b")),
        1999,
        9,
        6,
        8,
        "key:k",
        "q",
        '{"a":1}',
        7,
        "Pending",
        1,
        2,
        3,
        4,
        5,
        "no answer",
    )

    assert order_of(row) == OrderRecord(order, 7, OrderStatus.PENDING, 1, 2, 3, 4, 5, "no answer")
    assert len(row) == len(ORDER_COLUMNS)


def test_a_transition_is_what_its_row_says() -> None:
    for source, status in (None, None), ("Pending", OrderStatus.PENDING):
        row = (source, "Failed", 9, 1, "a reason", "r-1", "someone")

        assert transition_of(row) == Transition(status, OrderStatus.FAILED, 9, 1, "a reason", "r-1", "someone")
        assert len(row) == len(TRANSITION_COLUMNS)
