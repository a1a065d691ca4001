"""An order as JSON has it, wherever it is written out: in exports and in what webhooks get."""

from __future__ import annotations

from .order import DEFAULT_QUEUE, PRIORITY, Order, format_amount
from .record import OrderRecord, microseconds_of, rfc3339


def order_fields(record: OrderRecord) -> dict[str, object]:
    """The fields of an order, by the names that they have over REST."""
    order = record.order
    return {
        "order_id": order.order_id,
        "user_id": order.user_id,
        "item_ids": order.item_ids,
        "total_amount": format_amount(order.total_amount),
        "status": record.status,
        "attempts": record.attempts,
        "failures": record.failures,
        "last_error": record.last_error,
        "ready_at": None if record.ready_us is None else rfc3339(record.ready_us),
        "created_at": rfc3339(record.created_us),
        "updated_at": rfc3339(record.updated_us),
        **given_fields(order),
    }


def given_fields(order: Order) -> dict[str, object]:
    """The fields that most orders do not have, as JSON has them: those that say more than their defaults."""
    given: dict[str, object] = {}
    if order.priority != PRIORITY:
        given["priority"] = order.priority
    if order.not_before is not None:
        given["not_before"] = rfc3339(microseconds_of(order.not_before))
    if order.complete_by is not None:
        given["complete_by"] = rfc3339(microseconds_of(order.complete_by))
    if order.key is not None:
        given["key"] = order.key
    if order.queue != DEFAULT_QUEUE:
        given["queue"] = order.queue
    if order.metadata is not None:
        given["metadata"] = order.metadata
    return given
