"""Errors that differ in details only have one name, and only what is not over counts as a failure."""

from __future__ import annotations

import msgspec
import pytest

from ordermill.engine.testing import make_order
from ordermill.store.domain.failure import MAX_ERROR, ErrorName, error_name, is_failure
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord

ORDER = make_order("o-17", user_id="ann@example.org")


@pytest.mark.parametrize(
    ("error", "kind", "name"),
    [
        ("ProviderDown: no answer", "ProviderDown", "ProviderDown: no answer"),
        ("ProviderDown", "ProviderDown", "ProviderDown"),
        ("requests.exceptions.Timeout: 5", "requests.exceptions.Timeout", "requests.exceptions.Timeout: #"),
        ("Http404Error: gone", "Http404Error", "Http404Error: gone"),
        ("rejected: the card was declined", "rejected", "rejected: the card was declined"),
        ("the engine died while it was in hand", *["the engine died while it was in hand"] * 2),
        ("TimeoutError: no answer within 5.25 s", "TimeoutError", "TimeoutError: no answer within # s"),
        ("E: at 2026-11-23T06:39:00.090788Z", "E", "E: at #-#-#T#Z"),
        ("E: 10.0.0.1:8443 refused", "E", "E: # refused"),
        ("E: 3f2504e0-4f89-11d3-9a0c-0305e82c3301 gone", "E", "E: # gone"),
        ("E: 0xDEADBEEF and 5f1d09a3c2b7de", "E", "E: # and #"),
        ("E: facade and decade stay", "E", "E: facade and decade stay"),
        ("E: order o-17 of ann@example.org", "E", "E: order {order_id} of {user_id}"),
        ("E: order o-171 is another", "E", "E: order o-# is another"),
        ("KeyError: 'sku-1'", "KeyError", "KeyError: 'sku-#'"),
        ("", "", ""),
        (": 5", ": #", ": #"),
    ],
)
def test_what_varies_is_left_out_of_the_name(error: str, kind: str, name: str) -> None:
    assert error_name(error, ORDER) == ErrorName(kind, name)


def test_a_long_error_has_a_short_name() -> None:
    name = error_name("E: " + "word " * 100, ORDER)

    assert name.kind == "E"
    assert len(name.name) == MAX_ERROR


def record(status: OrderStatus, failures: int, last_error: str | None) -> OrderRecord:
    return OrderRecord(ORDER, 1, status, 3, failures, 1, 2, None, last_error)


@pytest.mark.parametrize(
    ("status", "failures", "expected"),
    [
        (OrderStatus.PENDING, 0, False),
        (OrderStatus.PENDING, 1, True),
        (OrderStatus.PROCESSING, 0, False),
        (OrderStatus.PROCESSING, 1, True),
        (OrderStatus.COMPLETED, 1, False),
        (OrderStatus.CANCELLED, 1, False),
        (OrderStatus.FAILED, 1, True),
        (OrderStatus.FAILED, 0, True),
        (OrderStatus.REVIEW, 0, True),
    ],
)
def test_what_has_failed_and_is_not_over_is_a_failure(status: OrderStatus, failures: int, expected: bool) -> None:
    assert is_failure(record(status, failures, "boom")) is expected
    assert not is_failure(msgspec.structs.replace(record(status, 0, None)))
