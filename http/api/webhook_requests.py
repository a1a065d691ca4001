"""What operators send about webhooks: its shapes, and how it is decoded."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import DeliveryState, WebhookEvent
from ...store.domain.webhook import DESCRIPTION, DESCRIPTION_RULE, EVENTS_RULE, MAX_URL, URL, URL_RULE
from ..framework.parameters import matching, told_rule
from ..wire.message import BodyContent
from .fields import CURSOR
from .parameters import DEFAULT_PAGE, MAX_PAGE
from .steering_requests import decode_fields

WEBHOOK_ID = re.compile(r"wh_[0-9a-f]{16}")
_TIME_RULE = "must be a time of RFC 3339 with an offset, such as 2026-11-23T06:39:00Z"

WebhookId = Annotated[str, matching(WEBHOOK_ID, "The webhook.", "is the id of no webhook", "wh_0123456789abcdef")]
Url = Annotated[
    str,
    matching(URL, "Where events are sent to: http or https.", URL_RULE, "https://shop.example/hooks"),
    Meta(max_length=MAX_URL),
]
Events = Annotated[
    list[WebhookEvent],
    Meta(min_length=1, description="Those that it is told of; all by default.", extra=told_rule(EVENTS_RULE)),
]
Description = Annotated[
    str, matching(DESCRIPTION, "What it is for, in words for people.", DESCRIPTION_RULE, "the shop")
]
Enabled = Annotated[bool, Meta(description="Whether events are sent.", extra=told_rule("must be true or false"))]
DeliveryNumber = Annotated[
    int,
    Meta(ge=1, lt=2**60, description="This delivery only.", extra=told_rule("must be the id of a delivery")),
]
Since = Annotated[
    datetime, Meta(tz=True, description="Only events that happened then or later.", extra=told_rule(_TIME_RULE))
]
Until = Annotated[
    datetime, Meta(tz=True, description="Only events that happened then or before.", extra=told_rule(_TIME_RULE))
]
FailedOnly = Annotated[bool, Meta(description="Only what was given up.", extra=told_rule("must be true or false"))]
State = Annotated[
    DeliveryState,
    Meta(
        description="Only deliveries in this state.",
        extra=told_rule(f"must be one of {', '.join(DeliveryState)}"),
        examples=[DeliveryState.DELIVERED],
    ),
]
DeliveryLimit = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PAGE,
        description="Deliveries on a page at the most.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_PAGE}"),
        examples=[1],
    ),
]
DeliveryCursor = Annotated[
    str,
    matching(
        CURSOR,
        "Where the page begins: `next_cursor` of the page before.",
        "is none that a page has given: start without one",
        "3",
    ),
]


class WebhookPath(msgspec.Struct, frozen=True):
    """What stands for `{webhook_id}` in a path."""

    webhook_id: WebhookId


class DeliveryQuery(msgspec.Struct, frozen=True):
    """The parameters of listing deliveries."""

    state: State | UnsetType = UNSET
    limit: DeliveryLimit = DEFAULT_PAGE
    cursor: DeliveryCursor | UnsetType = UNSET


class CreateWebhookRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A further webhook."""

    url: Url
    events: Events | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class UpdateWebhookRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to change of a webhook; what is left out stays."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be sent again; everything that is kept, where nothing is said."""

    delivery_id: DeliveryNumber | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    failed_only: FailedOnly | UnsetType = UNSET


def decode_creation(body: BodyContent) -> CreateWebhookRequest:
    """A further webhook. Raises as `decode_fields`."""
    return decode_fields(body, CreateWebhookRequest)


def decode_update(body: BodyContent) -> UpdateWebhookRequest:
    """What is to change. Raises as `decode_fields`."""
    return decode_fields(body, UpdateWebhookRequest)


def decode_replay(body: BodyContent) -> ReplayRequest:
    """What is to be sent again; an empty body says nothing of it. Raises as `decode_fields`."""
    return decode_fields(body or b"{}", ReplayRequest)
