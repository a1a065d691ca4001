"""Orders with defaults, for users' tests of their own."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ordermill.engine import InvalidOrder, OrderStatus
from ordermill.engine.testing import make_order


def test_an_order_is_made_with_defaults() -> None:
    order = make_order("o-7", total_amount=Decimal("5"))

    assert (order.order_id, order.user_id, order.total_cents) == ("o-7", "u-1", 500)
    with pytest.raises(InvalidOrder):
        make_order("")
    with pytest.raises(TypeError):
        make_order(status=OrderStatus.COMPLETED)
