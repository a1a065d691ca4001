"""Limits are read from the configuration, and a rate is even."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermill.engine import InvalidConfiguration
from ordermill.store.domain.limit import Limit, parse_limits, value_of


def test_limits_are_read() -> None:
    limits = parse_limits("queue:mail=10 5/s, user=2,user:big@example.com=20, metadata.provider=0.5/s ,")

    assert limits == {
        "queue:mail": Limit(10, 5.0),
        "user": Limit(2),
        "user:big@example.com": Limit(20),
        "metadata.provider": Limit(None, 0.5),
    }
    assert parse_limits("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "user",
        "user=",
        "user=0",
        "user=0/s",
        "user=5 s",
        "user=5/s 2",
        "user=-1",
        "queue=5",
        "queue:=5",
        "queue:a b=5",
        "metadata=5",
        "metadata.=5",
        "user:=5",
        "priority=5",
        "user=1, user=2",
        "user=1;user=2",
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="limits"):
        parse_limits(text)


@given(
    rate=st.floats(0.01, 10_000),
    waits=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=60),
    wanted=st.integers(1, 100),
)
def test_any_span_sees_as_many_as_the_rate_lets_and_a_tenth_of_a_second_more(
    rate: float, waits: list[int], wanted: int
) -> None:
    limit, next_us, now_us = Limit(rate=rate), 0, 1_000_000
    begun: list[tuple[int, int]] = []
    for wait in waits:
        now_us += wait
        count = int(min(wanted, limit.admits(next_us, now_us)))
        next_us = limit.after(count, next_us, now_us)
        begun.append((now_us, count))

    most_at_once = max(1, round(rate / 10))
    for index, (since_us, _) in enumerate(begun):
        together = 0
        for at_us, count in begun[index:]:
            together += count
            assert together <= rate * (at_us - since_us) / 1e6 + most_at_once + 1e-6


@given(rate=st.floats(0.01, 10_000), begun=st.integers(1, 50))
def test_a_rate_opens_when_it_says(rate: float, begun: int) -> None:
    limit = Limit(rate=rate)
    next_us = limit.after(begun, 0, 1_000)
    opens_us = limit.opens_us(next_us)

    assert limit.admits(next_us, max(1_000, opens_us)) >= 1
    if opens_us > 1_001:
        assert limit.admits(next_us, opens_us - 2) < 1


def test_without_a_rate_any_number_is_let() -> None:
    assert Limit(5).admits(10**15, 0) == math.inf
    assert Limit(5).after(3, 10, 20) == 20


def test_a_limit_counts_by_a_value_of_the_order() -> None:
    metadata = {"provider": "acme", "shop": 7, "big": True, "parts": [1], "long": "x" * 200}

    assert value_of("user")("ann", metadata) == "user:ann"
    assert value_of("metadata.provider")("ann", metadata) == "metadata.provider:acme"
    assert value_of("metadata.shop")("ann", metadata) == "metadata.shop:7"
    assert value_of("metadata.big")("ann", metadata) == "metadata.big:true"
    assert value_of("metadata.long")("ann", metadata) == "metadata.long:" + "x" * 128
    assert value_of("metadata.parts")("ann", metadata) is None
    assert value_of("metadata.other")("ann", metadata) is None
    assert value_of("metadata.other")("ann", None) is None
