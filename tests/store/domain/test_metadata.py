"""Metadata is JSON that comes out as it went in, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ordermill.engine.testing import make_order
from ordermill.store.domain.errors import InvalidOrder
from ordermill.store.domain.metadata import MAX_METADATA_BYTES, metadata_of, metadata_text
from ordermill.store.domain.order import is_same


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth - 1):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": [1, 2.5, True, None, {"b": ["ü", "\u2028", '"']}]},
        {"": -(2**63), "b": 2**63 - 1, "c": 1e300},
        {"a": "x" * (MAX_METADATA_BYTES - len('{"a":""}'))},
        nested(16),
    ],
    ids=["empty", "all kinds", "large numbers", "longest", "deepest"],
)
def test_metadata_comes_out_as_it_went_in(metadata: dict[str, Any]) -> None:
    order = make_order(metadata=metadata)

    assert order.metadata == metadata_of(metadata_text(order.metadata)) == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "text",
        {1: 2},
        {"a": (1, 2)},
        {"a": Decimal(1)},
        {"a": datetime(2026, 1, 1, tzinfo=UTC)},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**63},
        {"a": "\ud800"},
        {"a": b"x"},
        {"a": "x" * MAX_METADATA_BYTES},
        nested(17),
    ],
    ids=repr,
)
def test_what_json_cannot_say_in_4_kib_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidOrder, match="/metadata: must be a JSON object"):
        make_order(metadata=metadata)


def test_a_circle_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle

    with pytest.raises(InvalidOrder, match="/metadata"):
        make_order(metadata=circle)


def test_an_order_keeps_a_copy() -> None:
    given: dict[str, Any] = {"a": [1]}
    order = make_order(metadata=given)

    given["a"].append(2)

    assert order.metadata == {"a": [1]}


@pytest.mark.parametrize(
    ("metadata", "other", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, None, False),
        (None, None, True),
    ],
)
def test_metadata_tells_orders_apart(metadata: Any, other: Any, expected: bool) -> None:
    assert is_same(make_order(metadata=metadata), make_order(metadata=other)) is expected
