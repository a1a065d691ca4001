"""The table of routes: the API's, and its description's."""

from __future__ import annotations

from collections.abc import Callable

from ..engine import Engine
from .api.event_feed import EventFeed
from .api.events import EventCalls
from .api.health import HealthCalls
from .api.home import HomeCalls
from .api.metrics import MetricsCalls
from .api.operations import events, health, metrics, orders, rehearsals, steering, webhooks
from .api.orders import OrderCalls
from .api.problems import PROBLEM_KINDS
from .api.rehearsals import RehearsalCalls
from .api.responses import encode
from .api.steering import SteeringCalls
from .api.webhooks import WebhookCalls
from .framework.route import AnyRoute, Route
from .framework.router import words_beside
from .framework.static_resource import StaticResource
from .openapi.describe import describe
from .security.access import OPERATING, OVERVIEW, PUBLIC, READING, STEERING, SUBMITTING
from .security.protection import Protection
from .wire.headers import NO_PAGE


def routes(
    engine: Engine,
    feed: EventFeed,
    max_waiting: int,
    protection: Protection,
    warnings: Callable[[], tuple[str, ...]] = tuple,
) -> tuple[AnyRoute, ...]:
    """Every call of the API.

    Args:
        engine: answers them.
        feed: of the engine's events.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
        warnings: asked what an operator should mend, besides the keys.
    """
    order_calls = OrderCalls(engine, max_waiting, protection.user_rate)
    metrics_calls = MetricsCalls(engine)
    event_calls = EventCalls(feed)
    webhook_calls = WebhookCalls(engine)
    steering_calls = SteeringCalls(engine)
    rehearsal_calls = RehearsalCalls(engine)
    health_calls = HealthCalls(engine, warnings, protection.authenticator.trouble)
    api = (
        Route("POST", "/orders", order_calls.submit, SUBMITTING, orders.SUBMIT),
        Route("GET", "/orders", order_calls.list, READING, orders.LIST, may_block=True),
        Route("POST", "/orders/bulk", order_calls.submit_bulk, SUBMITTING, orders.SUBMIT_BULK, may_block=True),
        Route("GET", "/orders/{order_id}", order_calls.read, READING, orders.READ),
        Route("GET", "/orders/{order_id}/status", order_calls.read_status, READING, orders.READ_STATUS),
        Route(
            "GET", "/orders/{order_id}/history", order_calls.read_history, READING, orders.READ_HISTORY, may_block=True
        ),
        Route("GET", "/orders/{order_id}/outlook", order_calls.read_outlook, READING, orders.READ_OUTLOOK),
        Route("POST", "/orders/{order_id}/cancel", order_calls.cancel, SUBMITTING, orders.CANCEL_ORDER),
        Route("POST", "/orders/{order_id}/retry", order_calls.retry, OPERATING, orders.RETRY),
        Route("POST", "/orders/{order_id}/settle", order_calls.settle, OPERATING, orders.SETTLE),
        Route("POST", "/orders/{order_id}/reschedule", order_calls.reschedule, OPERATING, orders.RESCHEDULE),
        Route("GET", "/failures", order_calls.list_failures, OVERVIEW, orders.LIST_FAILURES, may_block=True),
        Route("GET", "/events", event_calls.follow, READING, events.FOLLOW),
        Route("POST", "/orders/actions", steering_calls.start_action, STEERING, steering.START_ACTION, may_block=True),
        Route("GET", "/orders/actions", steering_calls.list_actions, OVERVIEW, steering.LIST_ACTIONS, may_block=True),
        Route("GET", "/orders/actions/{action_id}", steering_calls.read_action, OVERVIEW, steering.READ_ACTION),
        Route("POST", "/orders/actions/{action_id}/stop", steering_calls.stop_action, STEERING, steering.STOP_ACTION),
        Route("GET", "/control", steering_calls.read, OVERVIEW, steering.READ_CONTROL),
        Route("POST", "/control/pause", steering_calls.pause, STEERING, steering.PAUSE),
        Route("POST", "/control/resume", steering_calls.resume, STEERING, steering.RESUME),
        Route("PUT", "/control/processors", steering_calls.set_processors, STEERING, steering.SET_PROCESSORS),
        Route("GET", "/queues", steering_calls.list_queues, OVERVIEW, steering.LIST_QUEUES),
        Route("PUT", "/queues/{queue}", steering_calls.set_queue, STEERING, steering.SET_QUEUE),
        Route("POST", "/rehearsals", rehearsal_calls.rehearse, OVERVIEW, rehearsals.REHEARSE),
        Route("GET", "/audit", steering_calls.audit, OVERVIEW, steering.READ_AUDIT, may_block=True),
        Route("POST", "/webhooks", webhook_calls.create, STEERING, webhooks.CREATE),
        Route("GET", "/webhooks", webhook_calls.list, OVERVIEW, webhooks.LIST, may_block=True),
        Route("GET", "/webhooks/{webhook_id}", webhook_calls.read, OVERVIEW, webhooks.READ, may_block=True),
        Route("PATCH", "/webhooks/{webhook_id}", webhook_calls.update, STEERING, webhooks.UPDATE),
        Route("DELETE", "/webhooks/{webhook_id}", webhook_calls.delete, STEERING, webhooks.DELETE),
        Route("POST", "/webhooks/{webhook_id}/rotate", webhook_calls.rotate, STEERING, webhooks.ROTATE),
        Route("POST", "/webhooks/{webhook_id}/test", webhook_calls.test, STEERING, webhooks.TEST),
        Route("POST", "/webhooks/{webhook_id}/replay", webhook_calls.replay, STEERING, webhooks.REPLAY),
        Route(
            "GET",
            "/webhooks/{webhook_id}/deliveries",
            webhook_calls.deliveries,
            OVERVIEW,
            webhooks.DELIVERIES,
            may_block=True,
        ),
        Route("GET", "/metrics", metrics_calls.read, OVERVIEW, metrics.READ),
        Route("GET", "/metrics/history", metrics_calls.read_history, OVERVIEW, metrics.READ_HISTORY),
        Route("GET", "/healthz", health_calls.live, PUBLIC, health.LIVE),
        Route("GET", "/readyz", health_calls.ready, PUBLIC, health.READY),
    )
    order_calls.reserve(words_beside("order_id", api))
    needs_keys = protection.authenticator.needs_keys
    description = StaticResource(lambda: encode(describe(api, PROBLEM_KINDS, needs_keys=needs_keys)), NO_PAGE)
    return (
        *api,
        Route("GET", "/", HomeCalls().read, PUBLIC),
        Route("GET", "/openapi.json", description.read, PUBLIC, may_block=True),
    )
