"""Orders and their transitions as rows of their tables, there and back."""

from __future__ import annotations

from typing import Any

import msgspec

from .domain.lifecycle import OrderStatus
from .domain.order import Order
from .domain.record import Cause, OrderRecord, Transition
from .tables import OrderModel, TransitionModel

ORDER_COLUMNS = (
    OrderModel.order_id,
    OrderModel.user_id,
    OrderModel.item_ids,
    OrderModel.total_cents,
    OrderModel.sequence,
    OrderModel.status,
    OrderModel.attempts,
    OrderModel.failures,
    OrderModel.created_at,
    OrderModel.updated_at,
    OrderModel.ready_at,
    OrderModel.last_error,
)
"""What an `OrderRecord` is made of, in the sequence of its rows."""
TRANSITION_COLUMNS = (
    TransitionModel.from_status,
    TransitionModel.to_status,
    TransitionModel.at,
    TransitionModel.attempt,
    TransitionModel.reason,
    TransitionModel.request_id,
    TransitionModel.acted_by,
)
"""What a `Transition` is made of, in the sequence of its rows."""

STATUSES = {status.value: status for status in OrderStatus}
"""By their names."""
_encode_items = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(tuple[str, ...]).decode


def order_row(record: OrderRecord) -> tuple[object, ...]:
    """An order as a row of `ORDER_COLUMNS`."""
    order = record.order
    return (
        order.order_id,
        order.user_id,
        _encode_items(order.item_ids).decode(),
        order.total_cents,
        record.sequence,
        record.status.value,
        record.attempts,
        record.failures,
        record.created_us,
        record.updated_us,
        record.ready_us,
        record.last_error,
    )


def order_of(row: Any) -> OrderRecord:
    """The order of a row of `ORDER_COLUMNS`."""
    order_id, user_id, item_ids, total_cents, sequence, status, *more = row
    order = Order.stored(order_id, user_id, _decode_items(item_ids), total_cents)
    return OrderRecord(order, sequence, STATUSES[status], *more)


def transition_row(before: OrderRecord | None, after: OrderRecord, reason: str, cause: Cause) -> tuple[object, ...]:
    """An order's step from one state to the next, as a row of `TRANSITION_COLUMNS`."""
    return (
        None if before is None else before.status.value,
        after.status.value,
        after.updated_us,
        after.attempts,
        reason,
        *cause,
    )


def transition_of(row: Any) -> Transition:
    """The transition of a row of `TRANSITION_COLUMNS`."""
    source, target, *more = row
    return Transition(None if source is None else STATUSES[source], STATUSES[target], *more)
