"""The metrics calls: JSON for people and programs, the Prometheus formats for scrapers, points for charts."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from ...engine import Engine, MetricsSnapshot, OrderStatus, StoreUnavailable
from ...engine.snapshot import Exposition
from ...engine.telemetry.durations import BOUNDS, Histogram
from ...store.domain.queue_settings import MAX_COUNTED, QueueCounts
from ..framework.deferred import Deferred
from ..framework.request import PlainRequest, Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from ..wire.header_lists import Element, by_weight
from ..wire.headers import JSON
from .parameters import ChartQuery
from .responses import encode

SCRAPER_TYPES = ("text/plain", "application/openmetrics-text")

MAX_COUNTED_QUEUES = 50
"""Queues that the metrics tell apart."""
_COUNTED_SECONDS = 5.0
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){2}")


class MetricsPayload(MetricsSnapshot, frozen=True, kw_only=True):
    """The metrics of one moment, of the orders and of the engine."""

    oldest_seconds: dict[OrderStatus, float | None] | None
    """For each status, how long ago the order was accepted that is the oldest in it; null where there is none, and for
    all where the database does not answer."""
    webhook_lag_seconds: dict[str, float] | None
    """For each webhook that is sent to, by its id, how long its first event has been due; 0 where none is overdue, and
    null for all where the database does not answer."""


class MetricsCalls:
    """How the engine is doing.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counting = threading.Lock()
        self._counts: Sequence[QueueCounts] = ()
        self._counted_until = -math.inf

    def read(self, request: PlainRequest) -> Deferred[Response]:
        """The metrics, as JSON unless the client prefers a Prometheus format."""
        wanted = by_weight(request.fields.get("Accept", ""))
        if _prefers_scraping(wanted):
            exposition = self._engine.begin_exposition()
            return Deferred(exposition, lambda: self._expose(exposition.get(), wanted), may_block=True)
        snapshot = self._engine.begin_metrics()
        return Deferred(snapshot, lambda: Response(encode(_payload(snapshot.get(), self._waiting()))))

    def read_history(self, request: Request[ChartQuery, RequestHeaders, None]) -> Deferred[Response]:
        """How many orders were accepted, completed and failed when, for charts."""
        chart = self._engine.begin_chart(request.query.window)
        return Deferred(chart, lambda: Response(encode(chart.get())))

    def _expose(self, exposition: Exposition, wanted: list[Element]) -> Response:
        return _expose(exposition, self._waiting(), self._queue_counts(), wanted)

    def _queue_counts(self) -> Sequence[QueueCounts]:
        # Whoever scrapes often has the same for some seconds: counting is work.
        with self._counting:
            now = time.monotonic()
            if now >= self._counted_until:
                try:
                    self._counts = self._engine.queue_counts(limit=MAX_COUNTED_QUEUES)
                except StoreUnavailable:  # the other metrics tell more than ever then
                    return ()
                self._counted_until = now + _COUNTED_SECONDS
            return self._counts

    def _waiting(self) -> _Waiting | None:
        now = datetime.now(UTC)
        try:
            oldest, due = self._engine.oldest(), self._engine.webhooks_due()
        except StoreUnavailable:  # the other metrics tell more than ever then
            return None
        return _Waiting(
            {status: None if at is None else _since(at, now) for status, at in oldest.items()},
            {webhook_id: 0.0 if at is None else _since(at, now) for webhook_id, at in due.items()},
        )


class _Waiting(NamedTuple):
    """What the database tells of who waits, in seconds."""

    ages: dict[OrderStatus, float | None]
    lags: dict[str, float]


def _since(then: datetime, now: datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _payload(snapshot: MetricsSnapshot, waiting: _Waiting | None) -> MetricsPayload:
    ages, lags = (None, None) if waiting is None else waiting
    return MetricsPayload(**msgspec.structs.asdict(snapshot), oldest_seconds=ages, webhook_lag_seconds=lags)


def _expose(
    exposition: Exposition, waiting: _Waiting | None, queues: Sequence[QueueCounts], wanted: list[Element]
) -> Response:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposition(exposition, waiting or _Waiting({}, {}), queues))
    encoder, content_type = choose_encoder(_in_plain_form(wanted))
    return Response(encoder(registry), content_type=content_type)


class _Exposition(Collector):
    def __init__(self, exposition: Exposition, waiting: _Waiting, queues: Sequence[QueueCounts]) -> None:
        self._exposition = exposition
        self._waiting = waiting
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        yield from self._orders()
        yield from self._of_queues()
        yield from self._work()
        yield from self._engine()

    def _orders(self) -> Iterator[Metric]:
        snapshot, done = self._exposition.snapshot, self._exposition.done
        orders = GaugeMetricFamily("ordermill_orders", "Orders in each status.", labels=["status"])
        for status, count in snapshot.orders_by_status.items():
            orders.add_metric([status.value], count)
        yield orders
        oldest = GaugeMetricFamily(
            "ordermill_oldest_order_age_seconds",
            "Time since the acceptance of the oldest order in each status that has any.",
            labels=["status"],
        )
        for status, age in self._waiting.ages.items():
            if age is not None:
                oldest.add_metric([status.value], age)
        yield oldest
        yield GaugeMetricFamily("ordermill_backlog", "Unfinished orders: Pending and Processing.", snapshot.backlog)
        yield CounterMetricFamily(
            "ordermill_orders_accepted", "Orders that were accepted since the start.", done.accepted
        )
        yield CounterMetricFamily(
            "ordermill_orders_completed", "Orders that have become Completed since the start.", done.completed
        )
        yield CounterMetricFamily(
            "ordermill_orders_failed", "Orders that have become Failed since the start.", done.failed
        )
        yield CounterMetricFamily(
            "ordermill_orders_processed", "Orders that are Completed.", snapshot.total_orders_processed
        )
        yield SummaryMetricFamily(
            "ordermill_processing_seconds",
            "Time from Processing to Completed of the last attempt, of all orders that the database has had.",
            count_value=snapshot.processing_seconds_count,
            sum_value=snapshot.processing_seconds_total,
        )

    def _of_queues(self) -> Iterator[Metric]:
        pending = GaugeMetricFamily(
            "ordermill_queue_pending",
            f"Orders of each queue that stand in line, up to {MAX_COUNTED:,}; of up to {MAX_COUNTED_QUEUES} queues.",
            labels=["queue"],
        )
        processing = GaugeMetricFamily(
            "ordermill_queue_processing", "Orders of each queue that are Processing, likewise.", labels=["queue"]
        )
        paused = GaugeMetricFamily(
            "ordermill_queue_paused", "1 where no order of a queue is started, likewise.", labels=["queue"]
        )
        for counts in self._queues:
            pending.add_metric([counts.queue], counts.pending)
            processing.add_metric([counts.queue], counts.processing)
            paused.add_metric([counts.queue], counts.is_paused)
        yield from (pending, processing, paused)

    def _work(self) -> Iterator[Metric]:
        attempts, histograms = self._exposition.snapshot.attempts, self._exposition.histograms
        yield CounterMetricFamily("ordermill_attempts", "Attempts that were begun since the start.", attempts.begun)
        failed = CounterMetricFamily(
            "ordermill_failed_attempts",
            "Attempts that have failed since the start, by the class of the error.",
            labels=["error"],
        )
        for error, count in attempts.failed_by_error.items():
            failed.add_metric([error], count)
        yield failed
        yield CounterMetricFamily(
            "ordermill_retries",
            "How often orders were put back to be tried again, after an error or by an operator, since the start.",
            attempts.retries,
        )
        yield _seconds("order_queueing", "Time from when orders could be processed to Processing.", histograms.queueing)
        yield _seconds("order_processing", "Time from Processing to Completed.", histograms.processing)
        yield _seconds("order_end_to_end", "Time from acceptance to Completed.", histograms.end_to_end)
        yield _seconds("commit", "Time that transactions took.", histograms.commits)
        yield _histogram(
            "ordermill_commit_steps", "Steps of orders that transactions recorded.", histograms.commit_steps, 1
        )

    def _engine(self) -> Iterator[Metric]:
        snapshot = self._exposition.snapshot
        yield GaugeMetricFamily("ordermill_processors", "Processor actors.", snapshot.processors)
        yield GaugeMetricFamily(
            "ordermill_processors_busy", "Processors that have an order in hand.", snapshot.processors_busy
        )
        mailboxes = GaugeMetricFamily(
            "ordermill_mailbox_messages", "Messages that wait for an actor.", labels=["actor"]
        )
        for actor, messages in snapshot.mailboxes.items():
            mailboxes.add_metric([actor], messages)
        yield mailboxes
        lags = GaugeMetricFamily(
            "ordermill_webhook_lag_seconds",
            "For how long the event that is due first has been due, by webhook.",
            labels=["webhook_id"],
        )
        for webhook_id, lag in self._waiting.lags.items():
            lags.add_metric([webhook_id], lag)
        yield lags
        if snapshot.wal_bytes is not None:
            yield GaugeMetricFamily("ordermill_wal_bytes", "Size of the write-ahead log.", snapshot.wal_bytes)
        yield GaugeMetricFamily(
            "ordermill_simulated", "1 where work is only simulated, since no handler was given.", snapshot.simulated
        )
        yield GaugeMetricFamily(
            "ordermill_paused", "1 where no order is started, since somebody has paused the engine.", snapshot.paused
        )
        yield GaugeMetricFamily(
            "ordermill_abandoned_handlers",
            "Handlers that have overrun their time and run on.",
            snapshot.abandoned_handlers,
        )
        if snapshot.outlooks is not None:
            yield GaugeMetricFamily(
                "ordermill_outlooks_kept_ratio",
                "Share of expected spans of orders, of the last seven days, within which the order was over.",
                snapshot.outlooks.kept,
            )
            yield GaugeMetricFamily(
                "ordermill_outlooks_judged",
                "Expected spans of orders, of the last seven days, of which is known whether they were right.",
                snapshot.outlooks.of,
            )
        yield CounterMetricFamily(
            "ordermill_orders_late",
            "Orders that were not completed by the time that they were to be.",
            snapshot.late_orders,
        )
        yield CounterMetricFamily(
            "ordermill_incidents", "Unexpected errors in actors since the start.", snapshot.incidents
        )
        yield GaugeMetricFamily("ordermill_uptime_seconds", "Time since the start.", snapshot.uptime_seconds)


def _seconds(what: str, documentation: str, histogram: Histogram) -> HistogramMetricFamily:
    return _histogram(f"ordermill_{what}_seconds", documentation, histogram, 1_000)


def _histogram(name: str, documentation: str, histogram: Histogram, parts: int) -> HistogramMetricFamily:
    """A histogram as Prometheus has it.

    Args:
        name: of the metric.
        documentation: what it tells.
        histogram: what was measured.
        parts: how many of its units are one of the metric's.
    """
    buckets = [(str(bound / parts), count) for bound, count in zip(BOUNDS, histogram.cumulative, strict=True)]
    return HistogramMetricFamily(
        name, documentation, buckets=[*buckets, ("+Inf", histogram.count)], sum_value=histogram.total / parts
    )


def _prefers_scraping(wanted: list[Element]) -> bool:
    for element in wanted:
        media_type = element.value.lower()
        if media_type in SCRAPER_TYPES:
            return True
        if media_type in (JSON, "*/*", "application/*"):
            return False
    return False


def _in_plain_form(wanted: list[Element]) -> str:
    # Prometheus' own reader takes neither quotes nor versions that are no numbers.
    types = []
    for media_type, parameters in wanted:
        version = parameters.get("version", "")
        known = f";version={version}" if _VERSION.fullmatch(version) else ""
        types.append(f"{media_type.lower()}{known};escaping={parameters.get('escaping', '')}")
    return ",".join(types)
