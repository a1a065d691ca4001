"""What a client gets for an order that was handed in."""

from __future__ import annotations

import pytest

from ordermill.engine import OrderConflict, OrderStatus, Outcome, Receipt
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.domain.record import OrderRecord


def receipt_of(outcome: Outcome, waits: list[tuple[str, float | None]]) -> Receipt:
    record = OrderRecord(make_order(), 1, OrderStatus.PENDING, 0, 0, START_US, START_US, START_US)

    def wait(order_id: str, timeout: float | None) -> OrderStatus:
        waits.append((order_id, timeout))
        return OrderStatus.COMPLETED

    return Receipt(Acceptance(outcome, record), wait)


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.DUPLICATE])
def test_a_receipt_waits_for_its_order(outcome: Outcome) -> None:
    waits: list[tuple[str, float | None]] = []
    receipt = receipt_of(outcome, waits)

    assert receipt.wait(timeout=3) is OrderStatus.COMPLETED
    assert receipt.wait() is OrderStatus.COMPLETED
    assert waits == [("o-1", 3), ("o-1", None)]


def test_a_conflict_has_nothing_to_wait_for() -> None:
    waits: list[tuple[str, float | None]] = []

    with pytest.raises(OrderConflict):
        receipt_of(Outcome.CONFLICT, waits).wait(timeout=3)

    assert waits == []


def test_a_receipt_says_what_it_is_for() -> None:
    receipt = receipt_of(Outcome.ACCEPTED, [])

    assert repr(receipt) == "<Receipt o-1 accepted>"
    assert (receipt.order_id, receipt.record.order) == ("o-1", make_order())
