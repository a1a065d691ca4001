"""The metrics call: JSON for people and programs, the Prometheus formats for scrapers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ...engine import Engine, MetricsSnapshot
from ..framework.deferred import Deferred
from ..framework.request import PlainRequest
from ..framework.response import Response
from ..wire.header_lists import Element, by_weight
from ..wire.headers import JSON
from .responses import encode

SCRAPER_TYPES = ("text/plain", "application/openmetrics-text")

_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){2}")


class MetricsCalls:
    """How the engine is doing.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, request: PlainRequest) -> Deferred[Response]:
        """The metrics, as JSON unless the client prefers a Prometheus format."""
        snapshot = self._engine.begin_metrics()
        return Deferred(snapshot, lambda: _show(snapshot.get(), request.fields.get("Accept", "")))


def _show(snapshot: MetricsSnapshot, accept: str) -> Response:
    wanted = by_weight(accept)
    if not _prefers_scraping(wanted):
        return Response(encode(snapshot))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposition(snapshot))
    encoder, content_type = choose_encoder(_in_plain_form(wanted))
    return Response(encoder(registry), content_type=content_type)


class _Exposition(Collector):
    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        orders = GaugeMetricFamily("ordermill_orders", "Orders in each status.", labels=["status"])
        for status, count in snapshot.orders_by_status.items():
            orders.add_metric([status.value], count)
        yield orders
        yield CounterMetricFamily(
            "ordermill_orders_processed", "Orders that are Completed.", snapshot.total_orders_processed
        )
        yield SummaryMetricFamily(
            "ordermill_processing_seconds",
            "Time from Processing to Completed of the last attempt.",
            count_value=snapshot.processing_seconds_count,
            sum_value=snapshot.processing_seconds_total,
        )
        yield GaugeMetricFamily(
            "ordermill_simulated", "1 where work is only simulated, since no handler was given.", snapshot.simulated
        )
        yield GaugeMetricFamily("ordermill_backlog", "Unfinished orders: Pending and Processing.", snapshot.backlog)
        yield GaugeMetricFamily("ordermill_processors", "Processor actors.", snapshot.processors)
        yield GaugeMetricFamily(
            "ordermill_paused", "1 where no order is started, since somebody has paused the engine.", snapshot.paused
        )
        yield GaugeMetricFamily(
            "ordermill_abandoned_handlers",
            "Handlers that have overrun their time and run on.",
            snapshot.abandoned_handlers,
        )
        yield CounterMetricFamily(
            "ordermill_incidents", "Unexpected errors in actors since the start.", snapshot.incidents
        )
        yield GaugeMetricFamily("ordermill_uptime_seconds", "Time since the start.", snapshot.uptime_seconds)


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
