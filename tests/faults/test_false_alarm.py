"""A transaction that is stored, and says that it failed: nobody is told, and still nobody is stuck or counted twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, StoreUnavailable
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain.outcome import Recorded
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.database import open_readers


@pytest.mark.parametrize("false_alarm", range(1, 7))
def test_whichever_transaction_it_is(
    start_engine: Callable[..., OrderEngine], database: Path, monkeypatch: pytest.MonkeyPatch, false_alarm: int
) -> None:
    record = Ledger.record
    transactions = 0
    handled: list[str] = []

    def record_and_deny(self: Ledger, orders: Sequence[Order], moves: Sequence[Any], *more: Any) -> Recorded:
        nonlocal transactions
        recorded = record(self, orders, moves, *more)
        transactions += 1
        if transactions == false_alarm:
            raise StoreUnavailable(OSError("disk I/O error"))
        return recorded

    monkeypatch.setattr(Ledger, "record", record_and_deny)
    engine = start_engine(lambda order: handled.append(order.order_id), processors=2)
    for number in range(3):
        order = make_order(f"o-{number}")
        try:
            engine.submit(order)
        except StoreUnavailable:
            engine.submit(order)
        assert engine.wait(order.order_id, timeout=60) is OrderStatus.COMPLETED
    metrics = engine.drain(timeout=60)

    assert transactions >= 6  # each order is accepted and claimed in one, and completed in another
    assert handled == ["o-0", "o-1", "o-2"]
    assert metrics.total_orders_processed == 3
    assert metrics.incidents == 0
    assert engine.unready_reasons() == ()
    readers = open_readers(database, max_connections=1)
    with readers.connection_context():
        assert audit(readers) == (3, [])
        assert queries.totals(readers) == queries.recount(readers)
    readers.close_all()
