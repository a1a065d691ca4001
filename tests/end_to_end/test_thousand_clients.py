"""A thousand clients at once: every order is accepted, handled and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderStatus
from ordermill.store.domain.metrics import PROCESSING_MICROSECONDS, TIMED_ORDERS, OrderMetrics

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

CLIENTS = 1_000


@pytest.mark.slow
def test_a_thousand_connections_at_once_each_post_an_order(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder
) -> None:
    server = start_server("--simulate-seconds", "0")
    orders = [order(f"o-{number}", user_id=f"u-{number % 7}") for number in range(CLIENTS)]

    answers = server.exchange_at_once([("POST", "/orders", content) for content in orders])

    assert Counter(status for status, _ in answers) == {201: CLIENTS}
    for sent, (_, stored) in zip(orders, answers, strict=True):
        assert stored.items() >= sent.items()
    ids = [content["order_id"] for content in orders]
    statuses = {order_id: server.get(f"/orders/{order_id}?wait=30")["status"] for order_id in ids}
    assert Counter(statuses.values()) == {"Completed": CLIENTS}

    at_rest = server.get("/metrics")
    found = tables()
    assert found.statuses == statuses
    assert found.audit.faults == []
    check(at_rest, found)
    server.stop()

    restarted = start_server()
    again = restarted.get("/metrics")
    assert restarted.recovered == 0
    check(again, tables())
    # The other metrics begin anew with each process, or go on with the time.
    for name in OrderMetrics.__struct_fields__:
        assert again[name] == at_rest[name]
    assert again["oldest_seconds"][OrderStatus.COMPLETED] > at_rest["oldest_seconds"][OrderStatus.COMPLETED]


def check(metrics: dict[str, Any], found: Tables) -> None:
    """The metrics equal a recount, exactly."""
    counts = found.recount
    assert metrics["total_orders_processed"] == counts["Completed"] == CLIENTS
    assert metrics["orders_by_status"] == {status: counts[status] for status in OrderStatus}
    assert metrics["processing_seconds_count"] == counts[TIMED_ORDERS] == CLIENTS
    assert metrics["processing_seconds_total"] == counts[PROCESSING_MICROSECONDS] / 1e6
    assert metrics["average_processing_time_seconds"] == counts[PROCESSING_MICROSECONDS] / CLIENTS / 1e6
    assert (metrics["backlog"], metrics["abandoned_handlers"], metrics["incidents"]) == (0, 0, 0)
