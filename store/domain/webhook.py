"""Webhooks: where events are sent, what was sent there, and how it went. Times are microseconds since 1970, UTC."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

import msgspec

from . import lifecycle
from .errors import FieldFault
from .lifecycle import OrderStatus
from .record import Move
from .text import UNPRINTABLE


class WebhookEvent(StrEnum):
    """What a webhook may be told of."""

    ACCEPTED = "order.accepted"
    """An order is safely on disk."""
    COMPLETED = "order.completed"
    """Its handler returned, or an operator settled it so."""
    FAILED = "order.failed"
    """It was rejected, or is out of attempts, or an operator settled it so."""
    CANCELLED = "order.cancelled"
    """It was cancelled before work began."""
    REVIEW = "order.review"
    """It waits for an operator, since nobody can tell whether its effect happened."""
    RETRYING = "order.retrying"
    """An attempt has failed, or an operator wants another one: the order will be handled again."""
    LATE = "order.late"
    """It is not completed by the time that it was to be: told once, also where it is completed later."""


MAX_URL = 2_048
"""Characters of a URL at the most."""
MAX_DESCRIPTION = 200
"""Characters of a description at the most."""
URL_RULE = (
    f"must be the URL of a receiver, such as https://shop.example/hooks: http or https, up to {MAX_URL} characters of "
    "ASCII, without a user, a password and a fragment"
)
EVENTS_RULE = f"must be a list of some of {', '.join(WebhookEvent)}"
DESCRIPTION_RULE = f"must be a string of up to {MAX_DESCRIPTION} characters, none of them a control"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
URL = re.compile(rf"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:{_PORT})?([/?][!-\"$-~]*)?")
"""A URL that events may be sent to, but for its length."""
DESCRIPTION = re.compile(rf"[^{UNPRINTABLE}]{{0,{MAX_DESCRIPTION}}}")
"""A description, as JSON can hold it."""
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


def webhook_faults(url: object, events: object, description: object) -> list[FieldFault]:
    """What is wrong with the fields of a webhook; None is right for each."""
    faults = []
    if url is not None and not (isinstance(url, str) and len(url) <= MAX_URL and URL.fullmatch(url)):
        faults.append(FieldFault("/url", URL_RULE))
    if events is not None and not _are_events(events):
        faults.append(FieldFault("/events", EVENTS_RULE))
    if description is not None and not _is_description(description):
        faults.append(FieldFault("/description", DESCRIPTION_RULE))
    return faults


def _is_description(text: object) -> bool:
    is_plain = isinstance(text, str) and DESCRIPTION.fullmatch(text) is not None
    return is_plain and _HALF_CHARACTER.search(str(text)) is None


def _are_events(events: object) -> bool:
    known = set(WebhookEvent)
    return (
        isinstance(events, list | tuple)
        and bool(events)
        and all(isinstance(event, str) and event in known for event in events)
    )


TEST = "webhook.test"
"""The type of an event that only tries whether a webhook works."""

EVENT_OF_EDGE = {
    **{
        edge: event
        for edge in lifecycle.EDGES
        for target, event in (
            (OrderStatus.COMPLETED, WebhookEvent.COMPLETED),
            (OrderStatus.FAILED, WebhookEvent.FAILED),
            (OrderStatus.CANCELLED, WebhookEvent.CANCELLED),
            (OrderStatus.REVIEW, WebhookEvent.REVIEW),
        )
        if edge.target is target
    },
    **dict.fromkeys((lifecycle.RETURN, *lifecycle.RETRIES), WebhookEvent.RETRYING),
}
"""What a step along an edge is to those who are told; one along another edge concerns the engine only."""


def is_told(step: Move) -> bool:
    """Whether a step along one of these edges is told: not where an order is merely given back, to wait its turn."""
    return step.edge is not lifecycle.RETURN or step.after.failures > step.before.failures


class Webhook(msgspec.Struct, frozen=True):
    """Where events are sent."""

    number: int
    """Its number in the database."""
    webhook_id: str
    url: str
    events: tuple[str, ...]
    """Those that it is told of: names of `WebhookEvent`."""
    description: str | None
    created_us: int
    disabled_us: int | None
    """Since when nothing is sent; None while all is."""
    disabled_reason: str | None


class NewSecret(msgspec.Struct, frozen=True):
    """A webhook and its secret, which is told this once."""

    webhook: Webhook
    secret: str
    """What the receiver verifies signatures with: `whsec_…`."""


class Target(msgspec.Struct, frozen=True):
    """A webhook as the sender has it."""

    number: int
    webhook_id: str
    url: str
    secrets: tuple[str, ...]
    """What requests are signed with: the present one, and for a time the one before."""


class DueDelivery(msgspec.Struct, frozen=True):
    """An event that is to be sent now."""

    delivery: int
    """Its number in the database."""
    attempts: int
    """How often that was tried."""
    event_id: str
    type: str
    at_us: int
    """When it happened."""
    number: int
    """Its place in the order's history, 1 for the acceptance; 0 where it is about no order."""
    subject: str
    """The order as it was then, or what else the event is about, as JSON."""
    traceparent: str | None = None
    """Which trace the request was part of that brought the order; None where it was part of none."""


class DeliveryState(StrEnum):
    """How a delivery is going."""

    WAITING = "waiting"
    """It is to be sent, or waits for an earlier event of the same order, or for its next attempt."""
    DELIVERED = "delivered"
    """The receiver answered with 2xx."""
    FAILED = "failed"
    """It was given up."""


class Attempt(msgspec.Struct, frozen=True):
    """One attempt to send, and how it went."""

    at_us: int
    status: int | None
    """The status of the answer; None where there was none."""
    error: str | None
    """What went wrong, in words for people; None where nothing did."""
    answer: str | None
    """The beginning of the answer's body."""
    latency_us: int


class Delivery(msgspec.Struct, frozen=True):
    """An event on its way to a webhook, with its latest attempt."""

    id: int
    webhook_id: str
    """Where it is sent."""
    event_id: str
    type: str
    order_id: str | None
    number: int
    state: DeliveryState
    attempts: int
    created_us: int
    due_us: int | None
    """When it is sent next; None where it waits for an earlier one, or is over."""
    ended_us: int | None
    latest: Attempt | None


class Tried(NamedTuple):
    """From the sender to the recorder: how an attempt went, and what follows."""

    delivery: int
    number: int
    """Which attempt it was, 1 for the first."""
    attempt: Attempt
    due_us: int | None
    """When it is tried again; None where it is over."""
    is_delivered: bool
    is_gone: bool = False
    """Whether the receiver wants nothing more, ever."""


class CreateWebhook(NamedTuple):
    """Send events to a further address."""

    url: str
    events: tuple[str, ...]
    description: str | None


class UpdateWebhook(NamedTuple):
    """Change a webhook; what is None stays."""

    webhook_id: str
    url: str | None
    events: tuple[str, ...] | None
    description: str | None
    is_enabled: bool | None


class DeleteWebhook(NamedTuple):
    """Send nothing more there, and forget what was sent."""

    webhook_id: str


class RotateSecret(NamedTuple):
    """Sign with a new secret; for a day, with the old one as well."""

    webhook_id: str


class ReplayDeliveries(NamedTuple):
    """Send again what was sent: one delivery, or all of a time."""

    webhook_id: str
    delivery: int | None
    from_us: int | None
    to_us: int | None
    is_failed_only: bool


class SendTestEvent(NamedTuple):
    """Send an event that only tries whether it works."""

    webhook_id: str


WebhookChange = CreateWebhook | UpdateWebhook | DeleteWebhook | RotateSecret | ReplayDeliveries | SendTestEvent
