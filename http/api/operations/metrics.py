"""Reading the metrics."""

from __future__ import annotations

from http import HTTPStatus

from ....engine import MetricsSnapshot, OrderStatus
from ...framework.request import NOTHING
from ...framework.route import Content, Operation, Result, Tag
from ..metrics import SCRAPER_TYPES
from .common import STOPPING, in_json

_METRICS = MetricsSnapshot(
    total_orders_processed=2,
    average_processing_time_seconds=0.053034,
    orders_by_status=dict.fromkeys(OrderStatus, 0) | {OrderStatus.COMPLETED: 2},
    processing_seconds_total=0.106068,
    processing_seconds_count=2,
    simulated=False,
    backlog=0,
    processors=8,
    paused=False,
    abandoned_handlers=0,
    incidents=0,
    uptime_seconds=60.806889,
)
_SCRAPED = """# HELP ordermill_orders_processed_total Orders that are Completed.
# TYPE ordermill_orders_processed_total counter
ordermill_orders_processed_total 2.0
"""

READ = Operation(
    "readMetrics",
    Tag.OBSERVERS,
    NOTHING,
    results=(
        Result(
            HTTPStatus.OK,
            "The metrics; in a format of Prometheus where `Accept` prefers one.",
            in_json(MetricsSnapshot, _METRICS) | dict.fromkeys(SCRAPER_TYPES, Content(str, _SCRAPED)),
        ),
    ),
    problems=(STOPPING,),
)
