"""Webhooks: where events are sent, and how that goes."""

from __future__ import annotations

from typing import NoReturn

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...store.domain.webhook import (
    CreateWebhook,
    DeleteWebhook,
    DeliveryState,
    NewSecret,
    ReplayDeliveries,
    RotateSecret,
    SendTestEvent,
    UpdateWebhook,
    WebhookChange,
    WebhookEvent,
)
from ..wire.errors import InvalidParameter, NoSuchResource
from .section import PAGE, Place, Section, go_to

_NOTICES = {
    "test": "A test event is on its way.",
    "replay": "What was given up is sent again.",
    "enable": "Events are sent there again.",
    "disable": "Nothing more is sent there.",
    "delete": "The webhook is deleted.",
}


class Webhooks(Section):
    """The webhooks, and what was sent to each."""

    path = "webhooks/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, done: str = "") -> bytes:
        """All of them."""
        visitor = self.overseer()
        return self.page(
            "webhooks.html",
            visitor,
            webhooks=self.engine.webhooks(),
            events=tuple(WebhookEvent),
            notice=_NOTICES.get(done),
        )

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def create(self, token: str = "", url: str = "", description: str = "", **ticked: str) -> bytes:
        """Send events to a further address."""
        chosen = tuple(event.value for event in WebhookEvent if event in ticked)
        return self._show_secret(token, CreateWebhook(url.strip(), chosen, description.strip() or None))

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def default(self, webhook_id: str, action: str = "", **given: str) -> bytes:
        """One webhook, or what is done with it."""
        if action == "rotate":
            return self._show_secret(given.get("token", ""), RotateSecret(webhook_id))
        if action:
            self._act(webhook_id, action, given.get("token", ""))
        visitor = self.overseer()
        place, state = Place.of(given.get("after", "")), given.get("state", "")
        if state and state not in tuple(DeliveryState):
            raise InvalidParameter("state", f"must be one of {', '.join(DeliveryState)}")
        found = self.engine.webhook_deliveries(
            webhook_id, state=DeliveryState(state) if state else None, before=place.before, limit=PAGE + 1
        )
        query = f"state={state}" if state else ""
        return self.page(
            "webhook.html",
            visitor,
            webhook=self.engine.webhook(webhook_id),
            deliveries=found[:PAGE],
            states=tuple(DeliveryState),
            state=state,
            notice=_NOTICES.get(given.get("done", "")),
            **place.pager(query, found),
        )

    def _act(self, webhook_id: str, action: str, token: str) -> NoReturn:
        changes: dict[str, WebhookChange] = {
            "test": SendTestEvent(webhook_id),
            "replay": ReplayDeliveries(webhook_id, None, None, None, is_failed_only=True),
            "enable": UpdateWebhook(webhook_id, None, None, None, is_enabled=True),
            "disable": UpdateWebhook(webhook_id, None, None, None, is_enabled=False),
            "delete": DeleteWebhook(webhook_id),
        }
        if action not in changes:
            raise NoSuchResource
        self.engine.begin_change_webhooks(changes[action], self.steering(token)).get()
        go_to("/webhooks/" if action == "delete" else f"/webhooks/{webhook_id}", done=action)

    def _show_secret(self, token: str, change: WebhookChange) -> bytes:
        cause = self.steering(token)
        made: NewSecret = self.engine.begin_change_webhooks(change, cause).get()
        return self.page("webhook_secret.html", self.overseer(), made=made)
