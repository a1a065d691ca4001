"""MetricsSnapshot: how an engine is doing at one moment."""

from __future__ import annotations

from ..store.domain.metrics import OrderMetrics


class MetricsSnapshot(OrderMetrics, frozen=True, kw_only=True):
    """The metrics of one moment, of the orders and of the engine."""

    simulated: bool
    """Whether work is only simulated, since no handler was given."""
    backlog: int
    """Unfinished orders: Pending and Processing."""
    processors: int
    """Processor actors."""
    abandoned_handlers: int
    """Handlers that have overrun their time and run on; their orders have moved on without them."""
    incidents: int
    """Unexpected errors in actors since the start, each of them logged."""
    uptime_seconds: float
    """Time since the start, in seconds."""
