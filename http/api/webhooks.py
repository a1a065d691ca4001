"""The calls about webhooks."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec import UNSET

from ...engine import Engine, Reply, WebhookEvent
from ...store.domain.webhook import (
    CreateWebhook,
    DeleteWebhook,
    ReplayDeliveries,
    RotateSecret,
    SendTestEvent,
    UpdateWebhook,
    WebhookChange,
)
from ..framework.body import B
from ..framework.deferred import Deferred
from ..framework.parameters import NoParameters
from ..framework.request import PlainRequest, Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from .requests import decode_cursor
from .responses import cut_page, encode
from .webhook_requests import CreateWebhookRequest, DeliveryQuery, ReplayRequest, UpdateWebhookRequest
from .webhook_responses import (
    DeliveriesPayload,
    SentPayload,
    WebhooksPayload,
    delivery_payload,
    secret_payload,
    webhook_payload,
)

Act: TypeAlias = Request[NoParameters, RequestHeaders, B]


class WebhookCalls:
    """Making, changing and watching webhooks.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, request: Act[CreateWebhookRequest]) -> Deferred[Response]:
        """Have events sent to a further address."""
        wanted = request.body
        events = tuple(WebhookEvent) if wanted.events is UNSET else tuple(wanted.events)
        made = self._begin(request, CreateWebhook(wanted.url, events, wanted.description or None))

        def show() -> Response:
            payload = secret_payload(made.get())
            headers = (("Location", f"/webhooks/{payload.webhook_id}"),)
            return Response(encode(payload), HTTPStatus.CREATED, headers)

        return Deferred(made, show)

    def list(self, _: PlainRequest) -> Response:
        """Every webhook, oldest first."""
        return Response(encode(WebhooksPayload([webhook_payload(webhook) for webhook in self._engine.webhooks()])))

    def read(self, request: PlainRequest) -> Response:
        """A webhook, without its secret."""
        return Response(encode(webhook_payload(self._engine.webhook(request.path["webhook_id"]))))

    def update(self, request: Act[UpdateWebhookRequest]) -> Deferred[Response]:
        """Change a webhook, disable it, or enable it again."""
        wanted = request.body
        change = UpdateWebhook(
            request.path["webhook_id"],
            wanted.url or None,
            None if wanted.events is UNSET else tuple(wanted.events),
            None if wanted.description is UNSET else wanted.description,
            None if wanted.enabled is UNSET else wanted.enabled,
        )
        return self._answer(request, change, webhook_payload)

    def delete(self, request: PlainRequest) -> Deferred[Response]:
        """Send nothing more to a webhook, and forget what was sent."""
        return self._answer(request, DeleteWebhook(request.path["webhook_id"]), webhook_payload)

    def rotate(self, request: PlainRequest) -> Deferred[Response]:
        """Sign with a new secret, and for a day with the old one as well."""
        return self._answer(request, RotateSecret(request.path["webhook_id"]), secret_payload)

    def test(self, request: PlainRequest) -> Deferred[Response]:
        """Send an event of the type `webhook.test`."""
        return self._answer(request, SendTestEvent(request.path["webhook_id"]), SentPayload)

    def replay(self, request: Act[ReplayRequest]) -> Deferred[Response]:
        """Send again what was delivered or given up: one delivery, or all of a time."""
        wanted = request.body
        change = ReplayDeliveries(
            request.path["webhook_id"],
            wanted.delivery_id or None,
            None if wanted.since is UNSET else round(wanted.since.timestamp() * 1e6),
            None if wanted.until is UNSET else round(wanted.until.timestamp() * 1e6),
            bool(wanted.failed_only),
        )
        return self._answer(request, change, SentPayload)

    def deliveries(self, request: Request[DeliveryQuery, RequestHeaders, None]) -> Response:
        """What is sent and was sent to a webhook within a week, newest first, a page at a time."""
        query = request.query
        found = self._engine.webhook_deliveries(
            request.path["webhook_id"],
            state=query.state or None,
            before=decode_cursor(query.cursor) if query.cursor else None,
            limit=query.limit + 1,
        )
        page, cursor = cut_page(found, query.limit)
        return Response(encode(DeliveriesPayload([delivery_payload(delivery) for delivery in page], cursor)))

    def _begin(self, request: Request[Any, Any, Any], change: WebhookChange) -> Reply[Any]:
        return self._engine.begin_change_webhooks(change, request.cause)

    def _answer(
        self, request: Request[Any, Any, Any], change: WebhookChange, shown: Callable[[Any], object]
    ) -> Deferred[Response]:
        reply = self._begin(request, change)
        return Deferred(reply, lambda: Response(encode(shown(reply.get()))))
