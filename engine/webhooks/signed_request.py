"""A webhook's request, as Standard Webhooks 1.0 has it: the body, and the headers that prove where it comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from standardwebhooks import Webhook

from ...store.domain.record import rfc3339
from ...store.domain.webhook import TEST, DueDelivery, Target

_encode = msgspec.json.Encoder().encode


class SignedRequest(NamedTuple):
    """What is sent."""

    body: bytes
    headers: dict[str, str]


def signed_request(target: Target, due: DueDelivery, at_us: int) -> SignedRequest:
    """The request that tells a receiver of an event: the same id and body at each attempt.

    Args:
        target: whom.
        due: the event.
        at_us: when it is sent, microseconds since 1970-01-01T00:00:00Z.
    """
    subject: Any = msgspec.Raw(due.subject.encode())
    data = subject if due.type == TEST else {"sequence": due.number, "order": subject}
    body = _encode({"type": due.type, "timestamp": rfc3339(due.at_us), "data": data})
    sent_at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    # While a secret is being exchanged, receivers may know either.
    signatures = [Webhook(secret).sign(due.event_id, sent_at, body.decode()) for secret in target.secrets]
    headers = {
        "content-type": "application/json",
        "user-agent": "ordermill",
        "webhook-id": due.event_id,
        "webhook-timestamp": str(at_us // 1_000_000),
        "webhook-signature": " ".join(signatures),
    }
    if due.traceparent is not None:
        headers["traceparent"] = due.traceparent
    return SignedRequest(body, headers)
