"""Making, changing and watching webhooks."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from ....engine import DeliveryState, FieldFault, InvalidWebhook, WebhookEvent, WebhookNotFound
from ....store.domain.webhook import EVENTS_RULE
from ...framework.parameters import NoParameters
from ...framework.request import NOTHING, Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Operation, Result, Tag
from ...wire.errors import InvalidBody
from ..webhook_requests import (
    CreateWebhookRequest,
    DeliveryQuery,
    ReplayRequest,
    UpdateWebhookRequest,
    WebhookPath,
    decode_creation,
    decode_replay,
    decode_update,
)
from ..webhook_responses import (
    AttemptPayload,
    DeliveriesPayload,
    DeliveryPayload,
    SentPayload,
    WebhookPayload,
    WebhookSecretPayload,
    WebhooksPayload,
)
from .common import ASKING, asked, in_json, json_body, ok

_AT = "2026-11-23T06:39:00.090788Z"
_ID = "wh_0123456789abcdef"
_URL = "https://shop.example/hooks"
_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
_EVENTS = (WebhookEvent.COMPLETED.value, WebhookEvent.FAILED.value)
_WEBHOOK = WebhookPayload(_ID, _URL, _EVENTS, "the shop", _AT, None, None)
_NEW = WebhookSecretPayload(_ID, _URL, _EVENTS, "the shop", _AT, None, None, _SECRET)
_DISABLED = msgspec.structs.replace(_WEBHOOK, disabled_at=_AT, disabled_reason="disabled by an operator")
_DELIVERY = DeliveryPayload(
    1,
    "evt_0123456789abcdef01234567",
    WebhookEvent.COMPLETED,
    "o-1",
    DeliveryState.DELIVERED,
    1,
    _AT,
    None,
    _AT,
    AttemptPayload(_AT, 200, None, "ok", 0.012345),
)
_NONE = WebhookNotFound(_ID)
_WRONG_BODY = InvalidBody((FieldFault("/events", EVENTS_RULE),))
_TOO_MANY = InvalidWebhook((FieldFault("", "there are 100 already, which are as many as may be"),))

CREATE = Operation(
    "createWebhook",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(
            CreateWebhookRequest,
            CreateWebhookRequest(_URL, [WebhookEvent.COMPLETED, WebhookEvent.FAILED], "the shop"),
            decode_creation,
        ),
    ),
    results=(
        Result(
            HTTPStatus.CREATED,
            "Events are sent from now on. The secret is told this once.",
            in_json(WebhookSecretPayload, _NEW),
            {"Location": True},
        ),
    ),
    problems=(_WRONG_BODY, _TOO_MANY, *ASKING),
    remark="Requests are those of [Standard Webhooks](https://www.standardwebhooks.com), signed by HMAC with the "
    "secret. What is not answered with 2xx is sent again, for about three days.",
)
LIST = Operation(
    "listWebhooks",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("All of them.", WebhooksPayload, WebhooksPayload([_WEBHOOK])),),
    problems=ASKING,
)
READ = Operation(
    "readWebhook",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("The webhook.", WebhookPayload, _WEBHOOK),),
    problems=(_NONE, *ASKING),
    path=WebhookPath,
)
UPDATE = Operation(
    "updateWebhook",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(UpdateWebhookRequest, UpdateWebhookRequest(enabled=False), decode_update),
    ),
    results=(ok("The webhook as it is from now on.", WebhookPayload, _DISABLED),),
    problems=(_WRONG_BODY, _NONE, *ASKING),
    path=WebhookPath,
)
DELETE = Operation(
    "deleteWebhook",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("The webhook as it was.", WebhookPayload, _WEBHOOK),),
    problems=(_NONE, *ASKING),
    path=WebhookPath,
)
ROTATE = Operation(
    "rotateWebhookSecret",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("The webhook with its new secret, which is told this once.", WebhookSecretPayload, _NEW),),
    problems=(_NONE, *ASKING),
    path=WebhookPath,
)
TEST = Operation(
    "testWebhook",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("It is being sent: the deliveries tell how it went.", SentPayload, SentPayload(1)),),
    problems=(_NONE, *ASKING),
    path=WebhookPath,
)
REPLAY = Operation(
    "replayWebhook",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(ReplayRequest, ReplayRequest(delivery_id=1), decode_replay, is_optional=True),
    ),
    results=(ok("They are being sent, 10,000 at the most at once.", SentPayload, SentPayload(1)),),
    problems=(_WRONG_BODY, _NONE, *ASKING),
    path=WebhookPath,
    remark="Each event keeps its id.",
)
DELIVERIES = Operation(
    "listWebhookDeliveries",
    Tag.OPERATORS,
    asked(DeliveryQuery),
    results=(ok("A page.", DeliveriesPayload, DeliveriesPayload([_DELIVERY], None)),),
    problems=(_NONE, *ASKING),
    path=WebhookPath,
)
