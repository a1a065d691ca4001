"""Weights are read from the configuration."""

from __future__ import annotations

import pytest

from ordermill.engine import InvalidConfiguration, OrderEngine
from ordermill.store.domain.weight import parse_weights, weights_text


def test_weights_are_read() -> None:
    assert parse_weights("big@example.com=3, a=b=0.5,") == {"big@example.com": 3, "a=b": 0.5}
    assert parse_weights("") == {}


def test_weights_are_written_as_they_are_read() -> None:
    weights = {"big@example.com": 3.0, "a=b": 0.5, "c": 10.0, "d": 0.123457}

    assert parse_weights(weights_text(weights) or "") == weights
    assert weights_text({}) is None


@pytest.mark.parametrize("text", ["a", "a=", "=3", "a=0", "a=0.001", "a=101", "a=-1", "a=x", "a b=2", "a=1, a=2"])
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="weights"):
        parse_weights(text)
    with pytest.raises(InvalidConfiguration, match="weights"):
        OrderEngine("orders.db", weights=text)
