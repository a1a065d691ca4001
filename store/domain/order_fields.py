"""An order as JSON has it, wherever it is written out: in exports and in what webhooks get."""

from __future__ import annotations

from .order import format_cents
from .record import OrderRecord, rfc3339


def order_fields(record: OrderRecord) -> dict[str, object]:
    """The fields of an order, by the names that they have over REST."""
    order = record.order
    return {
        "order_id": order.order_id,
        "user_id": order.user_id,
        "item_ids": order.item_ids,
        "total_amount": format_cents(order.total_cents),
        "status": record.status,
        "attempts": record.attempts,
        "failures": record.failures,
        "last_error": record.last_error,
        "ready_at": None if record.ready_us is None else rfc3339(record.ready_us),
        "created_at": rfc3339(record.created_us),
        "updated_at": rfc3339(record.updated_us),
    }
