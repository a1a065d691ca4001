"""What clients get about webhooks: its shapes, and how they are made."""

from __future__ import annotations

import msgspec

from ...engine import Delivery, DeliveryState, NewSecret, Webhook
from ...store.domain.record import rfc3339
from .fields import Count, Cursor, Timestamp


class WebhookPayload(msgspec.Struct):
    """Where events are sent."""

    webhook_id: str
    url: str
    events: tuple[str, ...]
    """Those that it is told of."""
    description: str | None
    created_at: Timestamp
    disabled_at: Timestamp | None
    """Since when nothing is sent; null while all is."""
    disabled_reason: str | None


class WebhookSecretPayload(WebhookPayload):
    """A webhook with its secret, which is told this once."""

    secret: str
    """What its receiver verifies signatures with."""


class WebhooksPayload(msgspec.Struct):
    """Every webhook, oldest first."""

    webhooks: list[WebhookPayload]


class AttemptPayload(msgspec.Struct):
    """The latest attempt to send an event."""

    at: Timestamp
    status: int | None
    """Of the answer; null where there was none."""
    error: str | None
    """What went wrong, where something did."""
    answer: str | None
    """The beginning of the answer's body."""
    latency_seconds: float


class DeliveryPayload(msgspec.Struct):
    """An event on its way to a webhook."""

    delivery_id: Count
    event_id: str
    """The same for every attempt, and for what is sent again."""
    type: str
    order_id: str | None
    state: DeliveryState
    attempts: Count
    created_at: Timestamp
    due_at: Timestamp | None
    """When it is sent next; null where it waits for an earlier event of its order, or is over."""
    ended_at: Timestamp | None
    latest: AttemptPayload | None


class DeliveriesPayload(msgspec.Struct):
    """Some deliveries, newest first."""

    deliveries: list[DeliveryPayload]
    next_cursor: Cursor | None
    """Send it as `cursor` for the next page; null on the last."""


class SentPayload(msgspec.Struct):
    """How many events are sent."""

    deliveries: Count


def webhook_payload(webhook: Webhook) -> WebhookPayload:
    """A webhook as clients see it."""
    return WebhookPayload(*_fields(webhook))


def secret_payload(made: NewSecret) -> WebhookSecretPayload:
    """A webhook as its maker sees it."""
    return WebhookSecretPayload(*_fields(made.webhook), made.secret)


def delivery_payload(delivery: Delivery) -> DeliveryPayload:
    """A delivery as clients see it."""
    latest = delivery.latest
    return DeliveryPayload(
        delivery.id,
        delivery.event_id,
        delivery.type,
        delivery.order_id,
        delivery.state,
        delivery.attempts,
        rfc3339(delivery.created_us),
        _time(delivery.due_us),
        _time(delivery.ended_us),
        None
        if latest is None
        else AttemptPayload(rfc3339(latest.at_us), latest.status, latest.error, latest.answer, latest.latency_us / 1e6),
    )


def _fields(webhook: Webhook) -> tuple[str, str, tuple[str, ...], str | None, str, str | None, str | None]:
    return (
        webhook.webhook_id,
        webhook.url,
        webhook.events,
        webhook.description,
        rfc3339(webhook.created_us),
        _time(webhook.disabled_us),
        webhook.disabled_reason,
    )


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)
