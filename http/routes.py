"""The table of routes: the API's, and its description's."""

from __future__ import annotations

from collections.abc import Callable

from ..engine import Engine
from .api import operations
from .api.health import HealthCalls
from .api.metrics import MetricsCalls
from .api.orders import OrderCalls
from .api.problems import PROBLEM_KINDS
from .api.responses import encode
from .framework.route import Route
from .framework.router import words_beside
from .framework.static_resource import StaticResource
from .openapi.describe import describe
from .security.access import OPERATING, OVERVIEW, PUBLIC, READING, SUBMITTING
from .security.protection import Protection
from .wire.headers import NO_PAGE


def routes(
    desk: Engine,
    max_waiting: int,
    protection: Protection,
    warnings: Callable[[], tuple[str, ...]] = tuple,
) -> tuple[Route, ...]:
    """Every call of the API.

    Args:
        desk: of the engine that answers them.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
        warnings: asked what an operator should mend, besides the keys.
    """
    orders = OrderCalls(desk, max_waiting, protection.user_rate)
    metrics = MetricsCalls(desk)
    health = HealthCalls(desk, lambda: (*protection.authenticator.trouble(), *warnings()))
    api = (
        Route("POST", "/orders", orders.submit, SUBMITTING, operations.SUBMIT),
        Route("GET", "/orders", orders.list, READING, operations.LIST, may_block=True),
        Route("POST", "/orders/bulk", orders.submit_bulk, SUBMITTING, operations.SUBMIT_BULK, may_block=True),
        Route("GET", "/orders/{order_id}", orders.read, READING, operations.READ),
        Route("GET", "/orders/{order_id}/status", orders.read_status, READING, operations.READ_STATUS),
        Route(
            "GET", "/orders/{order_id}/history", orders.read_history, READING, operations.READ_HISTORY, may_block=True
        ),
        Route("POST", "/orders/{order_id}/cancel", orders.cancel, SUBMITTING, operations.CANCEL_ORDER),
        Route("POST", "/orders/{order_id}/retry", orders.retry, OPERATING, operations.RETRY),
        Route("POST", "/orders/{order_id}/settle", orders.settle, OPERATING, operations.SETTLE),
        Route("GET", "/metrics", metrics.read, OVERVIEW, operations.METRICS),
        Route("GET", "/healthz", health.live, PUBLIC, operations.LIVE),
        Route("GET", "/readyz", health.ready, PUBLIC, operations.READY),
    )
    orders.reserve(words_beside("order_id", api))
    needs_keys = protection.authenticator.needs_keys
    description = StaticResource(lambda: encode(describe(api, PROBLEM_KINDS, needs_keys=needs_keys)), NO_PAGE)
    return (*api, Route("GET", "/openapi.json", description.read, PUBLIC, may_block=True))
