"""Poison among good orders: the good ones are completed, and each poison one fails with its own error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect

POISON: tuple[BaseException, ...] = (
    ValueError("poison"),
    MemoryError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    RecursionError("too deep"),
    ValueError("a lone surrogate \ud800, a zero \0 and a long tail" + "!" * 10_000),
)


@pytest.mark.slow
def test_a_thousand_poison_orders_among_ten_thousand_good_ones(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    def handle(order: Order) -> None:
        kind, _, number = order.order_id.partition("-")
        if kind == "poison":
            raise POISON[int(number) % len(POISON)]

    engine = start_engine(handle, max_attempts=2, retry_seconds=0)
    for lot in range(100):
        numbers = range(lot * 10, lot * 10 + 10)
        orders = [make_order(f"poison-{number}") for number in numbers]
        orders += [make_order(f"good-{lot}-{number}") for number in range(100)]
        engine.submit_many(orders)
    metrics = engine.drain(timeout=60)

    assert metrics.orders_by_status[OrderStatus.COMPLETED] == 10_000
    assert metrics.orders_by_status[OrderStatus.FAILED] == 1_000
    assert metrics.incidents == 0
    assert engine.unready_reasons() == ()
    for number in range(1_000):
        assert type(POISON[number % len(POISON)]).__name__ in engine.history(f"poison-{number}")[-1].reason
    engine.stop()
    readers = connect(database).open_readers(max_connections=1)
    with readers.connection_context():
        assert audit(readers) == (11_000, [])
        assert queries.totals(readers) == queries.recount(readers)
    readers.close_all()
