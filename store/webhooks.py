"""Webhooks: making and changing them, and what was sent to each."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import msgspec
from peewee import JOIN, Database, Expression, fn

from . import outbox
from .audit_log import write_acts
from .domain.act import Act, Action
from .domain.errors import FieldFault, InvalidWebhook, WebhookNotFound
from .domain.record import Cause
from .domain.webhook import (
    TEST,
    Attempt,
    CreateWebhook,
    DeleteWebhook,
    Delivery,
    DeliveryState,
    NewSecret,
    ReplayDeliveries,
    RotateSecret,
    SendTestEvent,
    UpdateWebhook,
    Webhook,
    WebhookChange,
)
from .outbox import new_event_id
from .statements import insert_one, run, write_transaction
from .tables import DeliveryAttemptModel, DeliveryModel, OrderModel, OutboxModel, WebhookModel
from .translation import translated_errors
from .writer import Turn, Writer

MAX_WEBHOOKS = 100
"""Webhooks of one database; each has a queue of its own."""
MAX_REPLAYED = 10_000
"""Deliveries that are sent again at once."""
OLD_SECRET_US = 24 * 3600 * 1_000_000
"""How long requests are signed with the secret before as well, in microseconds."""
_SECRET_BYTES = 32
_REMOVED_AT_ONCE = 1_000

_COLUMNS = (
    WebhookModel.id,
    WebhookModel.webhook_id,
    WebhookModel.url,
    WebhookModel.events,
    WebhookModel.description,
    WebhookModel.created_at,
    WebhookModel.disabled_at,
    WebhookModel.disabled_reason,
)
_IS_THERE: Expression = WebhookModel.deleted_at.is_null()
_DELIVERIES = (
    DeliveryModel.select(
        DeliveryModel.id,
        WebhookModel.webhook_id,
        OutboxModel.event_id,
        OutboxModel.type,
        OutboxModel.order_id,
        OutboxModel.number,
        DeliveryModel.is_delivered,
        DeliveryModel.attempts,
        DeliveryModel.created_at,
        DeliveryModel.due_at,
        DeliveryModel.ended_at,
        DeliveryAttemptModel.at,
        DeliveryAttemptModel.status,
        DeliveryAttemptModel.error,
        DeliveryAttemptModel.answer,
        DeliveryAttemptModel.latency,
    )
    .join(OutboxModel, on=(OutboxModel.id == DeliveryModel.event))
    .join_from(DeliveryModel, WebhookModel, on=(WebhookModel.id == DeliveryModel.webhook))
    .join_from(
        DeliveryModel,
        DeliveryAttemptModel,
        JOIN.LEFT_OUTER,
        on=(DeliveryAttemptModel.delivery == DeliveryModel.id)
        & (DeliveryAttemptModel.number == DeliveryModel.attempts),
    )
    .order_by(DeliveryModel.id.desc())
)
"""Newest first, each with its latest attempt."""
_COPY = """
INSERT INTO deliveries (webhook, event, sequence, attempts, created_at, due_at, is_delivered)
SELECT webhook, event, sequence, 0, ?, NULL, 0 FROM deliveries WHERE id IN {integers:?}
ORDER BY event
"""
# Of each order, the oldest one that is open.
_LET_GO = """
UPDATE deliveries SET due_at = ? WHERE webhook = ? AND ended_at IS NULL AND due_at IS NULL AND (sequence = 0 OR id = (
  SELECT min(id) FROM deliveries open
  WHERE open.webhook = deliveries.webhook AND open.sequence = deliveries.sequence AND open.ended_at IS NULL))
"""


def all_webhooks(database: Database) -> list[Webhook]:
    """Every webhook, oldest first."""
    query = WebhookModel.select(*_COLUMNS).where(_IS_THERE).order_by(WebhookModel.id)
    return [_webhook(row) for row in query.tuples().execute(database)]


def find_webhook(database: Database, webhook_id: str) -> Webhook:
    """One of them.

    Raises:
        WebhookNotFound: there is none of that id.
    """
    query = WebhookModel.select(*_COLUMNS).where(_IS_THERE & (WebhookModel.webhook_id == webhook_id))
    for row in query.tuples().execute(database):
        return _webhook(row)
    raise WebhookNotFound(webhook_id)


def deliveries(
    database: Database, webhook_id: str, *, state: DeliveryState | None = None, before: int | None = None, limit: int
) -> list[Delivery]:
    """What is sent and was sent to a webhook, newest first, each with its latest attempt.

    Args:
        database: connected in this thread.
        webhook_id: which webhook.
        state: only these.
        before: only those with an id below this one.
        limit: how many at the most.

    Raises:
        WebhookNotFound: there is no such webhook.
    """
    query = _DELIVERIES.where(DeliveryModel.webhook == find_webhook(database, webhook_id).number).limit(limit)
    if before is not None:
        query = query.where(DeliveryModel.id < before)
    if state is not None:
        query = query.where(_is_in(state))
    return [_delivery(row) for row in query.tuples().execute(database)]


def deliveries_of_order(database: Database, order_id: str, *, before: int | None = None, limit: int) -> list[Delivery]:
    """What is sent and was sent of an order's events, as `deliveries`; to webhooks that are there.

    Args:
        database: connected in this thread.
        order_id: which order; one that is not there has none.
        before: only those with an id below this one.
        limit: how many at the most.
    """
    sequence = OrderModel.select(OrderModel.sequence).where(OrderModel.order_id == order_id)
    query = _DELIVERIES.where(_IS_THERE & (DeliveryModel.sequence == sequence)).limit(limit)
    if before is not None:
        query = query.where(DeliveryModel.id < before)
    return [_delivery(row) for row in query.tuples().execute(database)]


def change_webhooks(database: Writer, change: WebhookChange, cause: Cause, at_us: int, now_us: int) -> Any:
    """Do what somebody wants, in one transaction, and write down who did.

    Args:
        database: a connection that may write.
        change: what is wanted.
        cause: who wants it.
        at_us: the time, microseconds since 1970-01-01T00:00:00Z.
        now_us: the queue's time, likewise.

    Returns:
        What has come of it: for a new webhook and a new secret, `NewSecret`; for another change, the `Webhook`; for a
        replay and a test, how many deliveries.

    Raises:
        WebhookNotFound: there is no such webhook.
        InvalidWebhook: there are too many of them.
        StoreUnavailable: the database did not take it; nothing was changed.
    """
    with translated_errors(), write_transaction(database):
        database.wait_for_turn(Turn.DELIVERIES)
        match change:
            case CreateWebhook():
                result: Any = _create(database, change, at_us)
                action, target = Action.CREATE_WEBHOOK, result.webhook.webhook_id
            case UpdateWebhook():
                result = _update(database, change, at_us, now_us)
                action, target = Action.UPDATE_WEBHOOK, change.webhook_id
            case DeleteWebhook(webhook_id):
                result = find_webhook(database, webhook_id)
                _set(database, webhook_id, {WebhookModel.deleted_at: at_us})
                action, target = Action.DELETE_WEBHOOK, webhook_id
            case RotateSecret(webhook_id):
                result = _rotate(database, webhook_id, at_us)
                action, target = Action.ROTATE_SECRET, webhook_id
            case ReplayDeliveries():
                result = _replay(database, change, now_us)
                action, target = Action.REPLAY_WEBHOOK, change.webhook_id
            case SendTestEvent(webhook_id):
                result = _test(database, webhook_id, at_us, now_us)
                action, target = Action.TEST_WEBHOOK, webhook_id
        write_acts(database, (Act(action, target, cause=cause),), at_us)
        return result


def remove_some(database: Writer) -> bool:
    """Remove some of what was sent to webhooks that were deleted, in a transaction, and such a webhook last of all.

    Returns:
        Whether there is more to remove.

    Raises:
        StoreUnavailable: the database did not take it.
    """
    with translated_errors(), write_transaction(database):
        database.wait_for_turn(Turn.DELIVERIES)
        gone = WebhookModel.select(fn.MIN(WebhookModel.id)).where(~_IS_THERE).scalar(database)
        if gone is None:
            return False
        some = DeliveryModel.select(DeliveryModel.id, DeliveryModel.event).where(DeliveryModel.webhook == gone)
        found = list(some.limit(_REMOVED_AT_ONCE).tuples().execute(database))
        outbox.forget(database, found)
        if not found:
            WebhookModel.delete().where(WebhookModel.id == gone).execute(database)
        return True


def _create(database: Database, change: CreateWebhook, at_us: int) -> NewSecret:
    if WebhookModel.select(fn.COUNT(WebhookModel.id)).where(_IS_THERE).scalar(database) >= MAX_WEBHOOKS:
        raise InvalidWebhook((FieldFault("", f"there are {MAX_WEBHOOKS} already, which are as many as may be"),))
    webhook_id, secret = f"wh_{secrets.token_hex(8)}", _new_secret()
    WebhookModel.insert(
        {
            WebhookModel.webhook_id: webhook_id,
            WebhookModel.url: change.url,
            WebhookModel.events: _events_text(change.events),
            WebhookModel.description: change.description,
            WebhookModel.secret: secret,
            WebhookModel.created_at: at_us,
        }
    ).execute(database)
    return NewSecret(find_webhook(database, webhook_id), secret)


def _update(database: Database, change: UpdateWebhook, at_us: int, now_us: int) -> Webhook:
    before = find_webhook(database, change.webhook_id)
    values: dict[Any, Any] = {}
    if change.url is not None:
        values[WebhookModel.url] = change.url
    if change.events is not None:
        values[WebhookModel.events] = _events_text(change.events)
    if change.description is not None:
        values[WebhookModel.description] = change.description or None
    if change.is_enabled is True:
        values |= {WebhookModel.disabled_at: None, WebhookModel.disabled_reason: None}
    elif change.is_enabled is False and before.disabled_us is None:
        values |= {WebhookModel.disabled_at: at_us, WebhookModel.disabled_reason: "disabled by an operator"}
    if values:
        _set(database, change.webhook_id, values)
    if change.is_enabled:  # what waits for its next attempt need not wait any longer
        run(
            database,
            "UPDATE deliveries SET due_at = ? WHERE webhook = ? AND due_at > ?",
            (now_us, before.number, now_us),
        )
    return find_webhook(database, change.webhook_id)


def _rotate(database: Database, webhook_id: str, at_us: int) -> NewSecret:
    webhook, secret = find_webhook(database, webhook_id), _new_secret()
    changes = {
        WebhookModel.old_secret: WebhookModel.secret,
        WebhookModel.old_secret_until: at_us + OLD_SECRET_US,
        WebhookModel.secret: secret,
    }
    _set(database, webhook_id, changes)
    return NewSecret(webhook, secret)


def _replay(database: Database, change: ReplayDeliveries, now_us: int) -> int:
    webhook = find_webhook(database, change.webhook_id)
    query = (
        DeliveryModel.select(DeliveryModel.id)
        .join(OutboxModel, on=(OutboxModel.id == DeliveryModel.event))
        .where((DeliveryModel.webhook == webhook.number) & DeliveryModel.ended_at.is_null(False))
        .order_by(DeliveryModel.id)
        .limit(MAX_REPLAYED)
    )
    if change.delivery is not None:
        query = query.where(DeliveryModel.id == change.delivery)
    if change.from_us is not None:
        query = query.where(OutboxModel.at >= change.from_us)
    if change.to_us is not None:
        query = query.where(OutboxModel.at <= change.to_us)
    if change.is_failed_only:
        query = query.where(DeliveryModel.is_delivered == 0)
    found = [number for (number,) in query.tuples().execute(database)]
    run(database, _COPY, (now_us, msgspec.json.encode(found).decode()))
    run(database, _LET_GO, (now_us, webhook.number))
    return len(found)


def _test(database: Database, webhook_id: str, at_us: int, now_us: int) -> int:
    webhook = find_webhook(database, webhook_id)
    values = {
        OutboxModel.event_id: new_event_id(),
        OutboxModel.sequence: 0,
        OutboxModel.number: 0,
        OutboxModel.type: TEST,
        OutboxModel.at: at_us,
        OutboxModel.subject: msgspec.json.encode({"webhook_id": webhook_id}).decode(),
    }
    event = insert_one(database, OutboxModel.insert(values), OutboxModel.id)
    DeliveryModel.insert(
        {
            DeliveryModel.webhook: webhook.number,
            DeliveryModel.event: event,
            DeliveryModel.sequence: 0,
            DeliveryModel.attempts: 0,
            DeliveryModel.created_at: now_us,
            DeliveryModel.due_at: now_us,
            DeliveryModel.is_delivered: 0,
        }
    ).execute(database)
    return 1


def _set(database: Database, webhook_id: str, values: dict[Any, Any]) -> None:
    WebhookModel.update(values).where(WebhookModel.webhook_id == webhook_id).execute(database)


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def _events_text(events: tuple[str, ...]) -> str:
    return msgspec.json.encode(events).decode()


def _webhook(row: Any) -> Webhook:
    number, webhook_id, url, events, *more = row
    return Webhook(number, webhook_id, url, msgspec.json.decode(events, type=tuple[str, ...]), *more)


def _delivery(row: Any) -> Delivery:
    number, webhook_id, event_id, kind, order_id, place, is_delivered, *more = row
    attempts, created_us, due_us, ended_us, *latest = more
    state = DeliveryState.WAITING if ended_us is None else _ENDED[bool(is_delivered)]
    attempt = None if latest[0] is None else Attempt(*latest)
    progress = (state, attempts, created_us, due_us, ended_us, attempt)
    return Delivery(number, webhook_id, event_id, kind, order_id, place, *progress)


_ENDED = {True: DeliveryState.DELIVERED, False: DeliveryState.FAILED}


def _is_in(state: DeliveryState) -> Any:
    if state is DeliveryState.WAITING:
        return DeliveryModel.ended_at.is_null()
    return DeliveryModel.ended_at.is_null(False) & (DeliveryModel.is_delivered == int(state is DeliveryState.DELIVERED))
