"""The metrics that follow from the totals."""

from __future__ import annotations

from collections import Counter

from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.metrics import PROCESSING_MICROSECONDS, TIMED_ORDERS, OrderMetrics


def test_without_orders_every_metric_is_zero() -> None:
    metrics = OrderMetrics.of(Counter())

    assert metrics.total_orders_processed == 0
    assert metrics.average_processing_time_seconds == 0.0
    assert metrics.orders_by_status == dict.fromkeys(OrderStatus, 0)
    assert (metrics.processing_seconds_total, metrics.processing_seconds_count) == (0.0, 0)


def test_the_average_is_over_orders_that_were_timed() -> None:
    totals = Counter({OrderStatus.COMPLETED: 3, TIMED_ORDERS: 2, PROCESSING_MICROSECONDS: 500_000})

    metrics = OrderMetrics.of(totals)

    assert metrics.total_orders_processed == 3
    assert metrics.average_processing_time_seconds == 0.25
    assert (metrics.processing_seconds_total, metrics.processing_seconds_count) == (0.5, 2)


def test_each_status_has_its_count() -> None:
    totals = Counter({status.value: number for number, status in enumerate(OrderStatus)})

    assert OrderMetrics.of(totals).orders_by_status == dict(totals)
