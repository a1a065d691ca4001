"""Orders and their transitions as rows of their tables, there and back."""

from __future__ import annotations

from typing import Any

import msgspec

from .domain.lifecycle import OrderStatus
from .domain.metadata import metadata_of
from .domain.order import DEFAULT_QUEUE, Order
from .domain.record import OrderRecord, Transition, utc
from .tables import OrderModel, TransitionModel

ORDER_COLUMNS = (
    OrderModel.order_id,
    OrderModel.user_id,
    OrderModel.item_ids,
    OrderModel.total_cents,
    OrderModel.priority,
    OrderModel.not_before,
    OrderModel.complete_by,
    OrderModel.serial_key,
    OrderModel.queue,
    OrderModel.metadata,
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
ORDER_COLUMN_NAMES = ", ".join(column.column_name for column in ORDER_COLUMNS)
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
FOR_KEY = "key"
"""What an order is parked for that waits for others of its key. It sorts before the names of all limits."""
_KEY, _USER = "key:", "user:"
_encode_items = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(tuple[str, ...]).decode


def items_text(item_ids: tuple[str, ...]) -> str:
    """The items of an order as their column has them."""
    return _encode_items(item_ids).decode()


def serial_key(order: Order, *, by_user: bool) -> str | None:
    """What an order is stored with: orders of one such key run one after another; None where it may run beside any.

    Args:
        order: it.
        by_user: whether the user is the key of orders that have none.
    """
    if order.key is not None:
        return _KEY + order.key
    return _USER + order.user_id if by_user else None


def queue_column(order: Order) -> str | None:
    """The queue of an order as its column has it: nothing for the default one, as of nearly all."""
    return None if order.queue == DEFAULT_QUEUE else order.queue


def key_of(stored: str | None) -> str | None:
    """The key that the client has given the order; None where it has not."""
    return stored[len(_KEY) :] if stored is not None and stored.startswith(_KEY) else None


def order_of(row: Any) -> OrderRecord:
    """The order of a row of `ORDER_COLUMNS`."""
    (
        order_id,
        user_id,
        item_ids,
        total_cents,
        priority,
        not_before,
        complete_by,
        serial_key,
        queue,
        metadata,
        sequence,
        status,
        attempts,
        failures,
        created_us,
        updated_us,
        ready_us,
        last_error,
    ) = row
    order = Order.stored(
        order_id,
        user_id,
        _decode_items(item_ids),
        total_cents,
        priority,
        None if not_before is None else utc(not_before),
        None if complete_by is None else utc(complete_by),
        None if serial_key is None else key_of(serial_key),
        queue,
        None if metadata is None else metadata_of(metadata),
    )
    return OrderRecord(
        order, sequence, STATUSES[status], attempts, failures, created_us, updated_us, ready_us, last_error
    )


def transition_of(row: Any) -> Transition:
    """The transition of a row of `TRANSITION_COLUMNS`."""
    source, target, *more = row
    return Transition(None if source is None else STATUSES[source], STATUSES[target], *more)
