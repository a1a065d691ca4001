"""The running totals by their names, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from .lifecycle import OrderStatus

TIMED_ORDERS = "timed_orders"
"""The name in `totals` of the number of Processing → Completed transitions."""
PROCESSING_MICROSECONDS = "processing_microseconds"
"""The name in `totals` of the sum of their durations."""
PRUNED_COMPLETED = "pruned_completed"
"""The name in `totals` of the number of Completed orders that were removed."""
PRUNED_TIMED_ORDERS = "pruned_timed_orders"
"""The name in `totals` of how many of TIMED_ORDERS belong to removed orders."""
PRUNED_PROCESSING_MICROSECONDS = "pruned_processing_microseconds"
"""The name in `totals` of how much of PROCESSING_MICROSECONDS belongs to removed orders."""

LATE_ORDERS = "late_orders"
"""The name in `totals` of the number of orders that were not completed in time."""
REMOVED_EVENTS_THROUGH = "removed_events_through"
"""The name in `totals` of the highest id of a transition that was removed with its order."""


class OrderMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What the totals say. At rest each equals a recount of the tables, exactly."""

    total_orders_processed: int
    """Orders that are Completed, or were when they were removed for their age."""
    average_processing_time_seconds: float
    """The mean time from Processing to Completed of the last attempt, in seconds; 0 before the first."""
    orders_by_status: dict[OrderStatus, int]
    """How many orders are in each status; every status is there."""
    processing_seconds_total: float
    """The sum of the times that the average is made of, in seconds."""
    processing_seconds_count: int
    """How many times it is made of; an order that an operator settled as Completed has none."""
    late_orders: int = 0
    """Orders that were not completed by the time that they were to be, whatever became of them."""

    @classmethod
    def of(cls, totals: Mapping[str, int], **more: Any) -> Self:
        """The metrics that follow from the totals.

        Args:
            totals: by their names in the database.
            more: further fields, where a subclass has some.
        """
        count, microseconds = totals[TIMED_ORDERS], totals[PROCESSING_MICROSECONDS]
        return cls(
            total_orders_processed=totals[OrderStatus.COMPLETED] + totals[PRUNED_COMPLETED],
            average_processing_time_seconds=microseconds / count / 1e6 if count else 0.0,
            orders_by_status={status: totals[status] for status in OrderStatus},
            processing_seconds_total=microseconds / 1e6,
            processing_seconds_count=count,
            late_orders=totals[LATE_ORDERS],
            **more,
        )
