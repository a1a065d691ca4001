"""What clients get, beyond its shape: the entity tag of an order."""

from __future__ import annotations

import msgspec
import pytest

from ordermill.engine import OrderRecord, OrderStatus
from ordermill.engine.testing import make_order
from ordermill.http.api import responses

RECORD = OrderRecord(make_order(), 7, OrderStatus.PENDING, 0, 0, 1_000_000, 1_000_000, 1_000_000)


@pytest.mark.parametrize("change", [{"sequence": 8}, {"attempts": 1}, {"status": "Processing"}, {"updated_us": 1}])
def test_the_tag_changes_with_the_order(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(RECORD, **change)

    assert (
        responses.entity_tag(RECORD) == responses.entity_tag(msgspec.structs.replace(RECORD)) == 'W/"7-0-Pending-f4240"'
    )
    assert responses.entity_tag(changed) != responses.entity_tag(RECORD)
