"""Reading the metrics."""

from __future__ import annotations

from http import HTTPStatus

from ....engine import Chart, OrderStatus, Window
from ....engine.telemetry.durations import Quantiles
from ....engine.telemetry.history import Point, Rates
from ....engine.telemetry.telemetry import Attempts, Commits, RecentRates, Timing, Timings
from ...framework.request import NOTHING
from ...framework.route import Content, Operation, Result, Tag
from ..metrics import SCRAPER_TYPES, MetricsPayload
from ..parameters import ChartQuery
from .common import STOPPING, asked, in_json, ok

_RATES = Rates(0.036, 0.036, 0.0)
_TIMING, _COMMITS = (
    Timing(both, both) for both in (Quantiles(2, 0.0532, 0.0532, 0.0532), Quantiles(6, 0.0011, 0.0019, 0.0019))
)
_METRICS = MetricsPayload(
    total_orders_processed=2,
    average_processing_time_seconds=0.053034,
    orders_by_status=dict.fromkeys(OrderStatus, 0) | {OrderStatus.COMPLETED: 2},
    processing_seconds_total=0.106068,
    processing_seconds_count=2,
    simulated=False,
    backlog=0,
    processors=8,
    processors_busy=0,
    paused=False,
    rates=RecentRates(_RATES, _RATES),
    timings=Timings(_TIMING, _TIMING, _TIMING),
    attempts=Attempts(3, 1, 1, {"ConnectionError": 1}),
    commits=Commits(6, 8, _COMMITS.last_10_minutes, _COMMITS.overall),
    mailboxes={"intake": 0, "recorder": 0, "pool": 0, "metrics": 0},
    wal_bytes=61_832,
    webhook_lag_seconds={"wh_6hGm2pXqZr4N": 0.0},
    oldest_seconds=dict.fromkeys(OrderStatus, None) | {OrderStatus.COMPLETED: 60.1},
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
            in_json(MetricsPayload, _METRICS) | dict.fromkeys(SCRAPER_TYPES, Content(str, _SCRAPED)),
        ),
    ),
    problems=(STOPPING,),
)
READ_HISTORY = Operation(
    "readMetricsHistory",
    Tag.OBSERVERS,
    asked(ChartQuery),
    results=(
        ok(
            "The points of a chart.",
            Chart,
            Chart(Window.DAY, [Point(1_763_877_600.0, 300.0, 2, 2, 0, 0.0532, 0.0532)]),
        ),
    ),
    problems=(STOPPING,),
    remark="They are kept in memory, and begin with the engine.",
)
