"""Orders with defaults."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ...store.domain.order import Order


def make_order(order_id: str = "o-1", **fields: Any) -> Order:
    """An order, with defaults for whatever the test does not care about.

    Example:
        >>> make_order(user_id="u-7").user_id
        'u-7'

    Args:
        order_id: its id.
        fields: other fields of `Order`, by name.
    """
    defaults: dict[str, Any] = {"user_id": "u-1", "item_ids": ("sku-1", "sku-2"), "total_amount": Decimal("19.99")}
    return Order(order_id=order_id, **(defaults | fields))
